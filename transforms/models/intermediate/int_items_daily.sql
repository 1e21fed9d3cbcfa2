with

touches as (

    select
        item_id,
        event_date,
        cast(sum(view_count) as bigint) as view_count,
        cast(sum(cart_count) as bigint) as cart_count,
        cast(sum(return_count) as bigint) as return_count,
        count(case when purchase_count > 0 then visitor_id end) as buyer_count,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at
    from {{ ref('int_visitor_items_daily') }}
    where {{ in_window('event_date') }}
    group by item_id, event_date

),

order_items as (

    select
        *,
        row_number() over (
            partition by item_id, event_date order by last_line_at desc, order_id asc
        ) as recency_rank
    from {{ ref('int_order_items_daily') }}
    where {{ in_window('event_date') }}

),

sales as (

    select
        item_id,
        event_date,
        cast(sum(line_count) as bigint) as purchase_count,
        count(*) as order_count,
        sum(unit_count) as unit_count,
        sum(amount) as revenue,
        min(min_price) as min_price,
        max(max_price) as max_price,
        max(case when recency_rank = 1 then amount / unit_count end) as last_price,
        min(first_line_at) as first_sold_at,
        max(last_line_at) as last_sold_at
    from order_items
    group by item_id, event_date

)

select
    -- ids
    touches.item_id,

    -- numerics
    touches.view_count,
    touches.cart_count,
    touches.return_count,
    touches.buyer_count,
    coalesce(sales.purchase_count, 0) as purchase_count,
    coalesce(sales.order_count, 0) as order_count,
    coalesce(sales.unit_count, 0.0) as unit_count,
    coalesce(sales.revenue, 0.0) as revenue,
    sales.min_price,
    sales.max_price,
    sales.last_price,

    -- dates and timestamps
    touches.event_date,
    touches.first_event_at,
    touches.last_event_at,
    sales.first_sold_at,
    sales.last_sold_at
from touches
left join sales on touches.item_id = sales.item_id and touches.event_date = sales.event_date
