{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    incremental_predicates=['near_window(started_at, ended_at)']
) }}
{#
    Joins day-local visits that midnight cut. A rebuilt day can change only sessions that overlap it or come
    within the timeout of it; those are taken apart into their visits and joined again.
#}
{%- set of_visitor = 'partition by visitor_id order by started_at' -%}
with

{% if is_windowed() -%}
changed as (

    select visitor_id, started_at, ended_at
    from {{ this }}
    where {{ near_window('started_at', 'ended_at') }}

),

visits as (

    select * from {{ ref('int_visits_daily') }}
    where {{ in_window('event_date') }}

    union all

    select kept.*
    from {{ ref('int_visits_daily') }} as kept
    inner join changed
        on
            kept.visitor_id = changed.visitor_id
            and kept.started_at >= changed.started_at
            and kept.started_at <= changed.ended_at
    where not {{ in_window('kept.event_date') }}

),

{%- else -%}
visits as (

    select * from {{ ref('int_visits_daily') }}

),

{%- endif %}

followed as (

    select *, lag(ended_at) over ({{ of_visitor }}) as previous_ended_at
    from visits

),

spaced as (

    select
        *,
        {{ seconds_between('previous_ended_at', 'started_at') }} as gap_seconds
    from followed

),

opened as (

    select
        *,
        case when gap_seconds <= {{ var('visit_timeout_seconds') }} then 0 else 1 end as opens_session
    from spaced

),

numbered as (

    select *, sum(opens_session) over ({{ of_visitor }} rows unbounded preceding) as session_number
    from opened

),

joined as (

    select
        visitor_id,
        max(user_id) as user_id,
        max(case when opens_session = 1 then channel end) as channel,
        max(case when opens_session = 1 then device_type end) as device_type,
        cast(sum(event_count) as bigint) as event_count,
        cast(sum(view_count) as bigint) as view_count,
        cast(sum(search_count) as bigint) as search_count,
        cast(sum(cart_count) as bigint) as cart_count,
        cast(sum(checkout_count) as bigint) as checkout_count,
        cast(sum(order_count) as bigint) as order_count,
        sum(amount) as amount,
        min(started_at) as started_at,
        max(ended_at) as ended_at
    from numbered
    group by visitor_id, session_number

)

select
    -- ids
    {{ session_key('visitor_id', 'started_at') }} as session_id,
    visitor_id,
    user_id,

    -- strings
    channel,
    device_type,

    -- numerics
    event_count,
    view_count,
    search_count,
    cart_count,
    checkout_count,
    order_count,
    amount,
    cast({{ seconds_between('started_at', 'ended_at') }} as double) as duration_seconds,

    -- booleans
    event_count = 1 as is_bounce,

    -- dates and timestamps
    {{ utc_date('started_at') }} as session_date,
    started_at,
    ended_at
from joined
