{# Microseconds since 1970-01-01 00:00 UTC of an instant, as a whole number. #}
{% macro epoch_micros(instant) -%}
    {{ return(adapter.dispatch('epoch_micros', 'attune')(instant)) }}
{%- endmacro %}

{% macro duckdb__epoch_micros(instant) -%}
    epoch_us({{ instant }})
{%- endmacro %}

{% macro spark__epoch_micros(instant) -%}
    unix_micros({{ instant }})
{%- endmacro %}
