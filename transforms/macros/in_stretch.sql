{# Whether a date lies in one of the stretches that begin so many days after another; the last has no end. #}
{% macro in_stretch(origin, day, starts, number) -%}
    {{ days_between(origin, day) }} >= {{ starts[number] }}
    {%- if number + 1 < starts | length %} and {{ days_between(origin, day) }} < {{ starts[number + 1] }}{% endif %}
{%- endmacro %}
