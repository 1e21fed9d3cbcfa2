with

known as (

    select * from {{ ref('stg_customers') }}

),

totals as (

    select
        user_id,
        count(*) as active_day_count,
        cast(sum(event_count) as bigint) as event_count,
        cast(sum(order_count) as bigint) as order_count,
        sum(unit_count) as unit_count,
        sum(spend) as spend_total,
        cast(sum(return_count) as bigint) as return_count,
        sum(return_amount) as return_total,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at,
        min(first_order_at) as first_order_at,
        max(last_order_at) as last_order_at
    from {{ ref('user_daily') }}
    group by user_id

)

select
    -- ids
    coalesce(known.user_id, totals.user_id) as user_id,

    -- strings
    known.gender,
    known.location,
    known.attributes,

    -- numerics
    known.age,
    coalesce(totals.active_day_count, 0) as active_day_count,
    coalesce(totals.event_count, 0) as event_count,
    coalesce(totals.order_count, 0) as order_count,
    coalesce(totals.unit_count, 0.0) as unit_count,
    coalesce(totals.spend_total, 0.0) as spend_total,
    coalesce(totals.return_count, 0) as return_count,
    coalesce(totals.return_total, 0.0) as return_total,

    -- timestamps
    known.created_at,
    totals.first_event_at,
    totals.last_event_at,
    totals.first_order_at,
    totals.last_order_at
from known
full outer join totals on known.user_id = totals.user_id
