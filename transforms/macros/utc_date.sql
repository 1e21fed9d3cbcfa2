{# The UTC day of an instant; sessions of every target run in UTC (profiles.yml). #}
{% macro utc_date(instant) -%}
    cast({{ instant }} as date)
{%- endmacro %}
