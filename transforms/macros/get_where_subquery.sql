{#
    Data tests may say `where: in_window(<date column>)`: they then read only the rows of the days being
    rebuilt, so that checking a new day does not cost a scan of all days.
#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') or '' -%}
    {%- if where -%}
        {{ return('(select * from ' ~ relation ~ ' where ' ~ window_condition(where) ~ ') as checked') }}
    {%- else -%}
        {{ return(relation) }}
    {%- endif -%}
{%- endmacro %}
