{# The adapter's own, but for a table that is rebuilt in parts: made from the first one, the others are added. #}
{% macro duckdb__create_table_as(
    temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none
) -%}
    {%- set parts = [] if temporary else rebuilt_parts() -%}
    {%- if parts | length > 1 %}
        {{ use_part(parts[0]) }}
    {%- endif %}
    {{ dbt.duckdb__create_table_as(
        temporary, relation, compiled_code, language, partitioned_by, sorted_by
    ) }}
    {%- for part in parts[1:] %}
        {{ use_part(part) }}
        insert into {{ relation }} {{ get_column_names() }} (
            {{ get_select_subquery(compiled_code) }}
        );
    {%- endfor %}
{%- endmacro %}
