{# Growth of interaction strength from 2020-01-01 to a date (before it: below one); see `growth_weight`. #}
{% macro strength_growth(day) -%}
    power(
        2.0,
        {{ days_between("cast('2020-01-01' as date)", day) }} / {{ var('strength_half_life_days') }}.0
    )
{%- endmacro %}
