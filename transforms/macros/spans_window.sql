{# A condition: the days from `first_column` to `last_column` (dates) include one that this run rebuilds. #}
{% macro spans_window(first_column, last_column) -%}
    {%- set conditions = [] -%}
    {%- for first, last in window_runs() -%}
        {%- do conditions.append(
            "(" ~ first_column ~ " <= cast('" ~ last ~ "' as date) and "
            ~ last_column ~ " >= cast('" ~ first ~ "' as date))"
        ) -%}
    {%- endfor -%}
    {{ return('(' ~ (conditions | join(' or ')) ~ ')' if conditions else '(1 = 1)') }}
{%- endmacro %}
