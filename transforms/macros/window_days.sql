{#
    The days this run rebuilds, sorted, as 'YYYY-MM-DD' strings; an empty list means every landed day. Those of
    the environment are read when the SQL is compiled, not when the project is parsed: so they may differ from
    run to run and the parse is reused.
#}
{% macro window_days() -%}
    {%- set days = [] -%}
    {%- if not flags.FULL_REFRESH -%}
        {%- for day in (var('days', []) or (env_var('ATTUNE_WINDOW', '').split() if execute else [])) -%}
            {%- if not modules.re.fullmatch('[0-9]{4}-[0-9]{2}-[0-9]{2}', day | string) -%}
                {{ exceptions.raise_compiler_error(
                    "the days to rebuild hold '" ~ day ~ "'; give days as YYYY-MM-DD strings, for example ['2024-05-01']"
                ) }}
            {%- endif -%}
            {%- do days.append(day | string) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(days | unique | sort) }}
{%- endmacro %}
