{# The window as runs of consecutive days: [(first, last), ...], as date objects. #}
{% macro window_runs() -%}
    {%- set runs = [] -%}
    {%- for text in window_days() -%}
        {%- set day = modules.datetime.datetime.strptime(text, '%Y-%m-%d').date() -%}
        {%- if runs and (day - runs[-1][1]).days == 1 -%}
            {%- set first = runs.pop()[0] -%}
            {%- do runs.append((first, day)) -%}
        {%- else -%}
            {%- do runs.append((day, day)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(runs) }}
{%- endmacro %}
