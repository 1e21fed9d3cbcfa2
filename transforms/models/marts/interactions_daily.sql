{{ config(materialized='view') }}
select
    -- ids
    user_id,
    item_id,

    -- numerics
    view_count,
    cart_count,
    purchase_count,
    return_count,
    unit_count,
    spend,
    strength,

    -- dates and timestamps
    event_date,
    first_event_at,
    last_event_at
from {{ ref('int_visitor_items_daily') }}
where user_id is not null
