select
    -- ids
    order_id,
    item_id,
    max(visitor_id) as visitor_id,
    max(user_id) as user_id,

    -- strings
    min(channel) as channel,
    min(currency) as currency,

    -- numerics
    count(*) as line_count,
    sum(unit_count) as unit_count,
    sum(amount) as amount,
    min(price) as min_price,
    max(price) as max_price,

    -- dates and timestamps
    event_date,
    min(event_at) as first_line_at,
    max(event_at) as last_line_at
from {{ ref('stg_events') }}
where {{ in_window('event_date') }} and event_type = 'purchase'
group by order_id, event_date, item_id
