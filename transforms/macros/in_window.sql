{# A condition: `column` (a date) is one of the days this run rebuilds. Literal ranges, so that readers prune. #}
{% macro in_window(column='event_date') -%}
    {%- set conditions = [] -%}
    {%- for first, last in window_runs() -%}
        {%- do conditions.append(
            column ~ " between cast('" ~ first ~ "' as date) and cast('" ~ last ~ "' as date)"
        ) -%}
    {%- endfor -%}
    {{ return('(' ~ (conditions | join(' or ')) ~ ')' if conditions else '(1 = 1)') }}
{%- endmacro %}
