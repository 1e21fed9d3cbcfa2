{#
    One row per entity that has activity in the window now (`activity`) or had it when `history` was last
    written, with the first such day: its rows from that day on have to be computed again.
#}
{% macro changed_histories(activity, history, entity) -%}
    select {{ entity }}, min(event_date) as first_day
    from (
        select {{ entity }}, event_date from {{ activity }} where {{ in_window('event_date') }}
        union all
        select {{ entity }}, event_date from {{ history }} where {{ in_window('event_date') }}
    ) as days_in_window
    group by {{ entity }}
{%- endmacro %}
