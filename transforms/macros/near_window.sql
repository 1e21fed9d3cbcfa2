{#
    A condition: the interval from `start_column` to `end_column` (instants) overlaps a rebuilt day or comes
    within the visit timeout of one, so that its session may change.
#}
{% macro near_window(start_column, end_column) -%}
    {%- set margin = modules.datetime.timedelta(seconds=var('visit_timeout_seconds')) -%}
    {%- set one_day = modules.datetime.timedelta(days=1) -%}
    {%- set parse = modules.datetime.datetime.strptime -%}
    {%- set conditions = [] -%}
    {%- for first, last in window_runs() -%}
        {%- set opens = parse(first | string, '%Y-%m-%d') - margin -%}
        {%- set closes = parse(last | string, '%Y-%m-%d') + one_day + margin -%}
        {%- do conditions.append(
            "(" ~ start_column ~ " <= cast('" ~ closes ~ "' as " ~ var('instant_type') ~ ") and "
            ~ end_column ~ " >= cast('" ~ opens ~ "' as " ~ var('instant_type') ~ "))"
        ) -%}
    {%- endfor -%}
    {{ return('(' ~ (conditions | join(' or ')) ~ ')' if conditions else '(1 = 1)') }}
{%- endmacro %}
