{# An aggregate: the sum of a number over the rows that fulfil the condition; 0 if there are none. #}
{% macro sum_where(expression, condition) -%}
    coalesce(sum(case when {{ condition }} then {{ expression }} end), 0.0)
{%- endmacro %}
