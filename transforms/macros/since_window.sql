{# A condition: `column` (a date) is no earlier than the first day that this run rebuilds. #}
{% macro since_window(column='event_date') -%}
    {%- set days = window_days() -%}
    {{ return("(" ~ column ~ " >= cast('" ~ days[0] ~ "' as date))" if days else '(1 = 1)') }}
{%- endmacro %}
