{# The one pass over events that touch an item; users, items, interactions and pairs all read this table. #}
select
    -- ids
    visitor_id,
    item_id,
    max(user_id) as user_id,

    -- numerics
    count(*) as event_count,
    {{ count_where("event_type = 'product_view'") }} as view_count,
    {{ count_where("event_type = 'add_to_cart'") }} as cart_count,
    {{ count_where("event_type = 'purchase'") }} as purchase_count,
    {{ count_where("event_type = 'return'") }} as return_count,
    {{ sum_where('unit_count', "event_type = 'purchase'") }} as unit_count,
    {{ sum_where('amount', "event_type = 'purchase'") }} as spend,
    cast(sum({{ strength_of_event('event_type') }}) as double) as strength,

    -- dates and timestamps
    event_date,
    min(event_at) as first_event_at,
    max(event_at) as last_event_at
from {{ ref('stg_events') }}
where {{ in_window('event_date') }} and not is_outbound and item_id is not null
group by visitor_id, event_date, item_id
