with

landed as (

    select * from {{ source('landing', 'events') }}

),

categorized as (

    select
        -- ids
        event_id,
        user_id,
        item_id,
        session_id,
        recommendation_id,
        campaign_id,
        experiment_id,
        coalesce(
            user_id,
            'anonymous:' || anonymous_id,
            'session:' || session_id,
            'order:' || order_id,
            'event:' || event_id
        ) as visitor_id,
        case when event_type = 'purchase' then coalesce(order_id, event_id) end as order_id,

        -- strings
        event_type,
        channel,
        device_type,
        currency,
        query,
        context,

        -- numerics
        case when event_type in ('purchase', 'return') then coalesce(quantity, 1.0) end as unit_count,
        case
            when event_type in ('purchase', 'return') then coalesce(quantity, 1.0) * coalesce(price, 0.0)
        end as amount,
        price,

        -- booleans
        event_type in ({{ quoted_list(var('outbound_event_types')) }}) as is_outbound,

        -- dates and timestamps
        event_date,
        event_at,
        received_at
    from landed

)

select * from categorized
