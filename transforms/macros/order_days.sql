{# One row per order and UTC day with lines of it: who ordered, what its lines of the day cost, when they began. #}
{% macro order_days() -%}
    select
        order_id,
        max(visitor_id) as visitor_id,
        max(user_id) as user_id,
        sum(amount) as amount,
        event_date,
        min(first_line_at) as ordered_at
    from {{ ref('int_order_items_daily') }}
    group by order_id, event_date
{%- endmacro %}
