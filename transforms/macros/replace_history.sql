{#
    Incremental strategy for a cumulative table, one row per `unique_key` (one entity column) and active day:
    an entity that has, or had, a row in the window is replaced from its first such day on, in one
    transaction. The model computes exactly those rows (see `changed_histories`). Without a window every
    row is replaced.
#}
{% macro get_incremental_replace_history_sql(arg_dict) -%}
    {%- set target = arg_dict['target_relation'] -%}
    {%- set entity = arg_dict['unique_key'] -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}

    {% if window_days() -%}
    delete from {{ target }}
    where {{ since_window('event_date') }} and exists (
        select 1 from ({{ changed_histories(arg_dict['temp_relation'], target, entity) }}) as changed
        where changed.{{ entity }} = {{ target }}.{{ entity }} and {{ target }}.event_date >= changed.first_day
    );
    {%- else -%}
    delete from {{ target }} where 1 = 1;
    {%- endif %}

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{%- endmacro %}
