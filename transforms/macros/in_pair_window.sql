{# A condition: `event_date` lies in the trailing window of its `relation` (`times` as long) before `last_day`. #}
{% macro in_pair_window(last_day, times=1) -%}
    {%- set conditions = [] -%}
    {%- for relation, days in var('pair_window_days').items() -%}
        {%- do conditions.append(
            "(relation = '" ~ relation ~ "' and event_date > " ~ dbt.dateadd('day', -times * days, last_day) ~ ")"
        ) -%}
    {%- endfor -%}
    {{ return('(' ~ (conditions | join(' or ')) ~ ')') }}
{%- endmacro %}
