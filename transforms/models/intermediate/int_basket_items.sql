{{ config(materialized='view') }}
with

basket_items as (

    select 'bought' as relation, event_date, order_id as basket_id, item_id
    from {{ ref('int_order_items_daily') }}
    where item_id is not null

    union all

    select 'viewed' as relation, event_date, visitor_id as basket_id, item_id
    from {{ ref('int_visitor_items_daily') }}
    where view_count > 0

)

select
    relation,
    basket_id,
    item_id,
    count(*) over (partition by relation, event_date, basket_id) as basket_size,
    event_date
from basket_items
