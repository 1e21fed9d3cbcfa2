{#
    Incremental strategy for a table with one row per something and day: the window's rows go, the newly
    computed ones come, in one transaction. Without a window every row is replaced.
#}
{% macro get_incremental_replace_window_sql(arg_dict) -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    delete from {{ arg_dict['target_relation'] }} where {{ in_window('event_date') }};

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{%- endmacro %}
