{#
    Day-local visits: the only pass over events that needs their order. A visit that goes on past midnight is
    cut here and joined again in the sessions mart, so each day can be rebuilt alone.
#}
{%- set visitor_days = 'partition by visitor_id, event_date order by event_at, event_id' %}
with

events as (

    select
        event_id, visitor_id, user_id, order_id, event_type, channel, device_type, unit_count, amount,
        event_date, event_at,
        {{ given_rating('event_type', 'context') }} as rating
    from {{ ref('stg_events') }}
    where {{ in_window('event_date') }} and not is_outbound

),

followed as (

    select *, lag(event_at) over ({{ visitor_days }}) as previous_event_at
    from events

),

spaced as (

    select
        *,
        {{ seconds_between('previous_event_at', 'event_at') }} as gap_seconds
    from followed

),

opened as (

    select
        *,
        case when gap_seconds <= {{ var('visit_timeout_seconds') }} then 0 else 1 end as opens_visit
    from spaced

),

numbered as (

    select
        *,
        sum(opens_visit) over ({{ visitor_days }} rows unbounded preceding) as visit_number
    from opened

)

select
    -- ids
    visitor_id,
    cast(visit_number as bigint) as visit_number,
    max(user_id) as user_id,

    -- strings
    max(case when opens_visit = 1 then channel end) as channel,
    max(case when opens_visit = 1 then device_type end) as device_type,

    -- numerics
    count(*) as event_count,
    {{ count_where("event_type = 'product_view'") }} as view_count,
    {{ count_where("event_type = 'add_to_cart'") }} as cart_count,
    {{ count_where("event_type = 'checkout_start'") }} as checkout_count,
    {{ count_where("event_type = 'search'") }} as search_count,
    {{ count_where("event_type = 'email_open'") }} as email_open_count,
    {{ count_where("event_type = 'recommendation_view'") }} as recommendation_view_count,
    {{ count_where("event_type = 'recommendation_click'") }} as recommendation_click_count,
    {{ count_where("event_type = 'return'") }} as return_count,
    count(distinct order_id) as order_count,
    {{ sum_where('amount', "event_type = 'purchase'") }} as amount,
    {{ sum_where('amount', "event_type = 'return'") }} as return_amount,
    count(rating) as rating_count,
    coalesce(sum(rating), 0.0) as rating_sum,

    -- dates and timestamps
    event_date,
    min(event_at) as started_at,
    max(event_at) as ended_at
from numbered
group by visitor_id, event_date, visit_number
