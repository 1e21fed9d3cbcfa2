with

catalogue as (

    select * from {{ ref('stg_items') }}

),

totals as (

    select
        item_id,
        cast(sum(view_count) as bigint) as view_count,
        cast(sum(cart_count) as bigint) as cart_count,
        cast(sum(purchase_count) as bigint) as purchase_count,
        cast(sum(order_count) as bigint) as order_count,
        cast(sum(return_count) as bigint) as return_count,
        sum(unit_count) as unit_count,
        sum(revenue) as revenue_total,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at,
        max(last_sold_at) as last_sold_at
    from {{ ref('int_items_daily') }}
    group by item_id

)

select
    -- ids
    coalesce(catalogue.item_id, totals.item_id) as item_id,

    -- strings
    catalogue.title,
    catalogue.category_path,
    catalogue.category,
    catalogue.leaf_category,
    catalogue.brand,
    catalogue.description,
    catalogue.attributes,

    -- numerics
    catalogue.price,
    catalogue.cost,
    catalogue.stock,
    coalesce(totals.view_count, 0) as view_count,
    coalesce(totals.cart_count, 0) as cart_count,
    coalesce(totals.purchase_count, 0) as purchase_count,
    coalesce(totals.order_count, 0) as order_count,
    coalesce(totals.return_count, 0) as return_count,
    coalesce(totals.unit_count, 0.0) as unit_count,
    coalesce(totals.revenue_total, 0.0) as revenue_total,

    -- booleans
    catalogue.item_id is not null as is_catalogued,

    -- timestamps
    catalogue.first_seen_at,
    totals.first_event_at,
    totals.last_event_at,
    totals.last_sold_at
from catalogue
full outer join totals on catalogue.item_id = totals.item_id
