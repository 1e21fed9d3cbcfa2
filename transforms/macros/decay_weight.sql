{# What is left after `days` (a number expression) of a quantity that halves every `half_life_days`. #}
{% macro decay_weight(days, half_life_days) -%}
    power(0.5, ({{ days }}) / {{ half_life_days }}.0)
{%- endmacro %}
