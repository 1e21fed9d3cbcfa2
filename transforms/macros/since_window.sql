{#
    A condition: `column` (a date) is no earlier than `days` days before the first day that this run rebuilds:
    for tables in which a day says something of that many days after it.
#}
{% macro since_window(column='event_date', days=0) -%}
    {%- set rebuilt = window_days() -%}
    {%- if not rebuilt -%}
        {{ return('(1 = 1)') }}
    {%- endif -%}
    {%- set first = modules.datetime.datetime.strptime(rebuilt[0], '%Y-%m-%d').date() -%}
    {%- set first = first - modules.datetime.timedelta(days=days) -%}
    {{ return("(" ~ column ~ " >= cast('" ~ first ~ "' as date))") }}
{%- endmacro %}
