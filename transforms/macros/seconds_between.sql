{# Seconds (double, exact to the microsecond) from one instant to another. #}
{% macro seconds_between(earlier, later) -%}
    (({{ epoch_micros(later) }} - {{ epoch_micros(earlier) }}) / 1000000.0)
{%- endmacro %}
