{{ config(materialized='incremental', incremental_strategy='replace_touched') }}
{#
    A rebuilt day may move sessions, orders and first visits of customers to other days, so these are counted
    again; visits, of which there are most, belong to their own day, and other days keep their counts.
#}
with

visits as (

    select
        event_date,
        cast(sum(event_count) as bigint) as event_count,
        count(distinct visitor_id) as visitor_count,
        cast(sum(view_count) as bigint) as view_count,
        cast(sum(cart_count) as bigint) as cart_count,
        cast(sum(return_count) as bigint) as return_count,
        sum(return_amount) as return_amount
    from {{ ref('int_visits_daily') }}
    where {{ in_window('event_date') }}
    group by event_date
    {%- if is_windowed() %}

    union all

    select event_date, event_count, visitor_count, view_count, cart_count, return_count, return_amount
    from {{ this }}
    where not {{ in_window('event_date') }}
    {%- endif %}

),

sessions as (

    select
        session_date as event_date,
        count(*) as session_count,
        {{ count_where('order_count > 0') }} as buying_session_count,
        {{ count_where('is_bounce') }} as bounce_count
    from {{ ref('sessions') }}
    group by session_date

),

orders as (

    select
        order_date as event_date,
        count(*) as order_count,
        {{ count_where('is_guest') }} as guest_order_count,
        sum(unit_count) as unit_count,
        sum(amount) as revenue
    from {{ ref('orders') }}
    group by order_date

),

users as (

    select
        event_date,
        count(*) as active_user_count,
        {{ count_where('order_count > 0') }} as buyer_count
    from {{ ref('user_daily') }}
    group by event_date

),

newcomers as (

    select {{ utc_date('first_event_at') }} as event_date, count(*) as new_user_count
    from {{ ref('customers') }}
    where first_event_at is not null
    group by {{ utc_date('first_event_at') }}

)

select
    -- numerics
    visits.event_count,
    visits.visitor_count,
    coalesce(users.active_user_count, 0) as active_user_count,
    coalesce(newcomers.new_user_count, 0) as new_user_count,
    coalesce(users.buyer_count, 0) as buyer_count,
    coalesce(sessions.session_count, 0) as session_count,
    coalesce(sessions.buying_session_count, 0) as buying_session_count,
    coalesce(sessions.bounce_count, 0) as bounce_count,
    visits.view_count,
    visits.cart_count,
    coalesce(orders.order_count, 0) as order_count,
    coalesce(orders.guest_order_count, 0) as guest_order_count,
    coalesce(orders.unit_count, 0.0) as unit_count,
    coalesce(orders.revenue, 0.0) as revenue,
    visits.return_count,
    visits.return_amount,
    orders.revenue / nullif(orders.order_count, 0) as average_order_value,
    cast(1.0 * sessions.buying_session_count / nullif(sessions.session_count, 0) as double) as conversion_rate,

    -- dates
    visits.event_date
from visits
left join users on visits.event_date = users.event_date
left join newcomers on visits.event_date = newcomers.event_date
left join sessions on visits.event_date = sessions.event_date
left join orders on visits.event_date = orders.event_date
