{#
    The SQL of a window condition that a configuration names as text: `in_window(day)`, `since_window(day, 7)`,
    `spans_window(first_day, last_day)` or `near_window(start, end)`. Configurations are rendered when the
    project is parsed, this when it runs, so a parsed project serves every window. Other text stays as it is.
#}
{% macro window_condition(text) -%}
    {%- set named = modules.re.fullmatch('(in|since|spans|near)_window\\(([^()]*)\\)', text) -%}
    {%- if not named -%}
        {{ return(text) }}
    {%- endif -%}
    {%- set arguments = [] -%}
    {%- for argument in named.group(2).split(',') -%}
        {%- do arguments.append(argument | trim) -%}
    {%- endfor -%}
    {%- if named.group(1) == 'in' -%}
        {{ return(in_window(arguments[0])) }}
    {%- elif named.group(1) == 'since' -%}
        {{ return(since_window(arguments[0], arguments[1] | int)) }}
    {%- elif named.group(1) == 'spans' -%}
        {{ return(spans_window(arguments[0], arguments[1])) }}
    {%- else -%}
        {{ return(near_window(arguments[0], arguments[1])) }}
    {%- endif -%}
{%- endmacro %}
