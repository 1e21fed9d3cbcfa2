{#
    The parts, as [(first day, last day), ...], in which a rebuild of everything works out a table of one row per
    something and day, so that memory does not grow with history: each of at most `rows_in_a_part` rows of the
    table that the model's `meta: {rebuilt_by: ...}` names. [] for any other run or model.
#}
{% macro rebuilt_parts() -%}
    {{ return(adapter.dispatch('rebuilt_parts', 'attune')()) }}
{%- endmacro %}

{% macro default__rebuilt_parts() -%}
    {{ return([]) }}
{%- endmacro %}

{% macro duckdb__rebuilt_parts() -%}
    {%- set name = config.get('meta', {}).get('rebuilt_by') if execute else none -%}
    {%- if not name or window_days() or load_relation(ref(name)) is none -%}
        {{ return([]) }}
    {%- endif -%}
    {%- set query = 'select event_date, count(*) from ' ~ ref(name) ~ ' group by event_date order by event_date' -%}
    {%- set parts = [] -%}
    {%- set sizes = [] -%}
    {%- for day, count in run_query(query).rows -%}
        {%- if parts and sizes[-1] + count <= var('rows_in_a_part') -%}
            {%- do parts.append((parts.pop()[0], day)) -%}
            {%- do sizes.append(sizes.pop() + count) -%}
        {%- else -%}
            {%- do parts.append((day, day)) -%}
            {%- do sizes.append(count) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(parts) }}
{%- endmacro %}

{# Sets the part that `in_window` speaks of in the statements that follow. #}
{% macro use_part(part) -%}
    set variable part_first = cast('{{ part[0] }}' as date);
    set variable part_last = cast('{{ part[1] }}' as date);
{%- endmacro %}
