{# An aggregate: how many rows fulfil the condition (bigint). #}
{% macro count_where(condition) -%}
    count(case when {{ condition }} then 1 end)
{%- endmacro %}
