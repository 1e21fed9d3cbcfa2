{# The rating that a rating or a review gives, from 0 to 100 on the shop's own scale; null where none is given.
   What is no number in these bounds, NaN and infinity among them, is none: one would spoil every mean. #}
{% macro given_rating(event_type, context) -%}
    {%- set given -%} try_cast({{ json_text(context, 'rating') }} as double) {%- endset -%}
    case
        when {{ event_type }} in ('rating', 'review') and {{ given }} between 0 and 100
            then {{ given }}
    end
{%- endmacro %}
