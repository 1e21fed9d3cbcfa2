{# A window function call (without its OVER): the latest value that is not null. #}
{% macro last_known(column) -%}
    {{ return(adapter.dispatch('last_known', 'attune')(column)) }}
{%- endmacro %}

{% macro duckdb__last_known(column) -%}
    last_value({{ column }} ignore nulls)
{%- endmacro %}

{% macro spark__last_known(column) -%}
    last_value({{ column }}, true)
{%- endmacro %}
