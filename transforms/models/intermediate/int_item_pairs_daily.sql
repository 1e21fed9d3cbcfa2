{#
    Co-occurrence of the window's days, the smaller id first; the pair of an item with itself counts the
    item's baskets. Days that have long left the trailing window of item_pairs are not worked out.
#}
with

days as (

    select max(event_date) as last_day from {{ ref('int_baskets_daily') }}

),

basket_items as (

    select baskets.relation, baskets.event_date, baskets.basket_id, baskets.item_id
    from {{ ref('int_basket_items') }} as baskets
    cross join days
    where
        {{ in_window('event_date') }}
        and baskets.basket_size <= {{ var('pair_basket_limit') }}
        and {{ in_pair_window('days.last_day', times=2) }}

)

select
    basket_items.relation,
    basket_items.item_id,
    others.item_id as other_item_id,
    count(*) as pair_count,
    basket_items.event_date
from basket_items
inner join basket_items as others
    on
        basket_items.basket_id = others.basket_id
        and basket_items.event_date = others.event_date
        and basket_items.relation = others.relation
        and basket_items.item_id <= others.item_id
group by basket_items.relation, basket_items.event_date, basket_items.item_id, others.item_id
