{# The text at a key of a JSON object; null where there is none. #}
{% macro json_text(column, key) -%}
    {{ return(adapter.dispatch('json_text', 'attune')(column, key)) }}
{%- endmacro %}

{% macro duckdb__json_text(column, key) -%}
    json_extract_string({{ column }}, '$.{{ key }}')
{%- endmacro %}

{% macro spark__json_text(column, key) -%}
    get_json_object({{ column }}, '$.{{ key }}')
{%- endmacro %}
