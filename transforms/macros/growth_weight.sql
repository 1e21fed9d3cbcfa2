{#
    The weight that turns a decayed sum into a plain running sum: sum(v * growth) over the past, divided by
    growth of the present day, is the decayed sum. `days` counts from the entity's first row. The constant
    shift leaves room for 35 years of 7-day half-lives between the smallest and the largest double.
#}
{% macro growth_weight(days, half_life_days) -%}
    power(2.0, ({{ days }}) / {{ half_life_days }}.0 - 900.0)
{%- endmacro %}
