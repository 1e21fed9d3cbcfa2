{# The rating that a rating or a review gives, on the shop's own scale; null where none is given. #}
{% macro given_rating(event_type, context) -%}
    case
        when {{ event_type }} in ('rating', 'review')
            then try_cast({{ json_text(context, 'rating') }} as double)
    end
{%- endmacro %}
