{#
    The SQL of a window condition that a configuration names as text: `in_window(day)`,
    `spans_window(first_day, last_day)` or `near_window(start, end)`. Configurations are rendered when the
    project is parsed, this when it runs, so a parsed project serves every window. Other text stays as it is.
#}
{% macro window_condition(text) -%}
    {%- set named = modules.re.fullmatch('(in_window|spans_window|near_window)\\(([^()]*)\\)', text) -%}
    {%- if not named -%}
        {{ return(text) }}
    {%- endif -%}
    {%- set columns = [] -%}
    {%- for column in named.group(2).split(',') -%}
        {%- do columns.append(column | trim) -%}
    {%- endfor -%}
    {%- if named.group(1) == 'in_window' -%}
        {{ return(in_window(columns[0])) }}
    {%- elif named.group(1) == 'spans_window' -%}
        {{ return(spans_window(columns[0], columns[1])) }}
    {%- else -%}
        {{ return(near_window(columns[0], columns[1])) }}
    {%- endif -%}
{%- endmacro %}
