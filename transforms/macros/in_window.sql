{#
    A condition: `column` (a date) is one of the days this run rebuilds. Literal ranges, so that readers prune; of
    a table that is rebuilt in parts (`rebuilt_parts`), those of the part at hand.
#}
{% macro in_window(column='event_date') -%}
    {%- if rebuilt_parts() | length > 1 -%}
        {{ return("(" ~ column ~ " between getvariable('part_first') and getvariable('part_last'))") }}
    {%- endif -%}
    {%- set conditions = [] -%}
    {%- for first, last in window_runs() -%}
        {%- do conditions.append(
            column ~ " between cast('" ~ first ~ "' as date) and cast('" ~ last ~ "' as date)"
        ) -%}
    {%- endfor -%}
    {{ return('(' ~ (conditions | join(' or ')) ~ ')' if conditions else '(1 = 1)') }}
{%- endmacro %}
