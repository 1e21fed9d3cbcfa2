{#
    Incremental strategy for a table whose rows reach over several days: what matches `incremental_predicates`
    (rows that the window may have changed, see `window_condition`) goes, as does every `unique_key` that was computed again; the
    newly computed rows come, in one transaction. Without a window every row is replaced.
#}
{% macro get_incremental_replace_touched_sql(arg_dict) -%}
    {%- set target = arg_dict['target_relation'] -%}
    {%- set fresh = arg_dict['temp_relation'] -%}
    {%- set key = arg_dict['unique_key'] or [] -%}
    {%- set key = [key] if key is string else key -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') -%}

    delete from {{ target }}
    where {% for predicate in arg_dict['incremental_predicates'] or ['1 = 1'] %}{{ window_condition(predicate) }}
        {%- if not loop.last %} and {% endif %}{% endfor %};

    {% if key and window_days() -%}
    delete from {{ target }}
    where exists (
        select 1 from {{ fresh }} as fresh
        where {% for column in key %}fresh.{{ column }} = {{ target }}.{{ column }}
            {%- if not loop.last %} and {% endif %}{% endfor %}
    );
    {%- endif %}

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ fresh }}
{%- endmacro %}
