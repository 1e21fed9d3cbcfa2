{# True when this run replaces a window inside a table that is already there. #}
{% macro is_windowed() -%}
    {{ return(window_days() | length > 0 and is_incremental()) }}
{%- endmacro %}
