{#
    The days in the file that var `window_file` names (one column, `day`), [] without one. Read when the SQL is
    compiled, not when the project is parsed: so the days may differ from run to run and the parse is reused.
#}
{% macro read_window() -%}
    {%- set path = var('window_file', '') -%}
    {%- if not execute or not path -%} {{ return([]) }} {%- endif -%}
    {{ return(run_query(adapter.dispatch('select_window', 'attune')(path)).columns[0].values() | list) }}
{%- endmacro %}

{% macro duckdb__select_window(path) -%}
    select day from read_csv('{{ path }}', header = true, columns = {'day': 'varchar'})
{%- endmacro %}

{% macro spark__select_window(path) -%}
    select _c0 as day from csv.`{{ path }}` where _c0 <> 'day'
{%- endmacro %}
