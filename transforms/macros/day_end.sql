{# The instant at which a day has ended: 00:00 UTC of the next. #}
{% macro day_end(day) -%}
    cast({{ dbt.dateadd('day', 1, day) }} as {{ var('instant_type') }})
{%- endmacro %}
