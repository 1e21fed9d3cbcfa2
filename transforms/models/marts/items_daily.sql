{{ config(materialized='incremental', incremental_strategy='replace_window') }}
with

touched as (

    select item_id, event_date, view_count, cart_count, order_count, unit_count, revenue, 0 as served_count
    from {{ ref('int_items_daily') }}
    where {{ in_window('event_date') }}

    union all

    select
        item_id, event_date, 0 as view_count, 0 as cart_count, 0 as order_count, 0.0 as unit_count,
        0.0 as revenue, count(*) as served_count
    from {{ ref('stg_events') }}
    where {{ in_window('event_date') }} and event_type = 'recommendation_served'
    group by item_id, event_date

)

select
    -- ids
    item_id,

    -- numerics
    cast(sum(view_count) as bigint) as view_count,
    cast(sum(cart_count) as bigint) as cart_count,
    cast(sum(order_count) as bigint) as order_count,
    sum(unit_count) as unit_count,
    sum(revenue) as revenue,
    cast(sum(served_count) as bigint) as served_count,

    -- dates
    event_date
from touched
group by item_id, event_date
