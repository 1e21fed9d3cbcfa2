{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    incremental_predicates=['since_window(event_date, ' ~ var('recommendation_window_days') ~ ')']
) }}
{%- set since = since_window('event_date', var('recommendation_window_days')) -%}
{%- set clicks = [
    'recommendation_click', 'product_view', 'search_click', 'click', 'email_click', 'content_click', 'offer_click'
] -%}
{#
    What was served on a day, and what came of it within the window. An item of an answer is viewed, clicked,
    added or bought once, however often; a bundle's events count on their own day.
#}
with

events as (

    select
        event_id, recommendation_id, item_id, user_id, event_type, amount, context, event_date, event_at
    from {{ ref('stg_events') }}
    where
        {{ since }}
        and (recommendation_id is not null or event_type in ('bundle_view', 'bundle_click', 'bundle_add'))

),

served as (

    select
        events.event_id,
        events.recommendation_id,
        events.item_id,
        events.event_date,
        events.event_at,
        coalesce({{ json_text('events.context', 'kind') }}, 'recommendations') as kind,
        coalesce({{ json_text('events.context', 'algorithm') }}, 'unknown') as algorithm,
        coalesce({{ json_text('events.context', 'slot') }}, 'list') as slot,
        coalesce({{ json_text('events.context', 'release') }}, 'unknown') as release,
        {{ customer_type('events.user_id', 'customers.first_order_at', 'events.event_date') }} as customer_type,
        {{ json_text('events.context', 'position') }} as place
    from events
    left join {{ ref('customers') }} as customers on events.user_id = customers.user_id
    where events.event_type = 'recommendation_served'

),

came_of_it as (

    select
        served.event_id,
        {{ count_where("events.event_type = 'recommendation_view'") }} as view_count,
        {{ count_where("events.event_type in (" ~ quoted_list(clicks) ~ ")") }} as click_count,
        {{ count_where("events.event_type = 'add_to_cart'") }} as cart_count,
        {{ count_where("events.event_type = 'purchase'") }} as purchase_count,
        {{ sum_where('events.amount', "events.event_type = 'purchase'") }} as revenue
    from served
    inner join events
        on
            served.recommendation_id = events.recommendation_id
            and served.item_id = events.item_id
            and events.event_type <> 'recommendation_served'
            and {{ days_between('served.event_date', 'events.event_date') }}
            between 0 and {{ var('recommendation_window_days') }}
    group by served.event_id

),

parts as (

    select
        served.kind,
        served.algorithm,
        served.slot,
        served.release,
        served.customer_type,
        case when served.place = '1' then 1 else 0 end as answers,
        1 as served,
        case when came_of_it.view_count > 0 then 1 else 0 end as viewed,
        case when came_of_it.click_count > 0 then 1 else 0 end as clicked,
        case when came_of_it.cart_count > 0 then 1 else 0 end as carted,
        case when came_of_it.purchase_count > 0 then 1 else 0 end as bought,
        coalesce(came_of_it.revenue, 0.0) as revenue,
        served.event_date
    from served
    left join came_of_it on served.event_id = came_of_it.event_id

    union all

    select
        'bundle_events' as kind,
        coalesce({{ json_text('events.context', 'bundle_type') }}, 'unknown') as algorithm,
        'bundle' as slot,
        'unknown' as release,
        {{ customer_type('events.user_id', 'customers.first_order_at', 'events.event_date') }} as customer_type,
        0 as answers,
        0 as served,
        case when events.event_type = 'bundle_view' then 1 else 0 end as viewed,
        case when events.event_type = 'bundle_click' then 1 else 0 end as clicked,
        case when events.event_type = 'bundle_add' then 1 else 0 end as carted,
        0 as bought,
        0.0 as revenue,
        events.event_date
    from events
    left join {{ ref('customers') }} as customers on events.user_id = customers.user_id
    where events.event_type in ('bundle_view', 'bundle_click', 'bundle_add')

)

select
    -- strings
    kind,
    algorithm,
    slot,
    release,
    customer_type,

    -- numerics
    cast(sum(answers) as bigint) as answer_count,
    cast(sum(served) as bigint) as served_count,
    cast(sum(viewed) as bigint) as viewed_count,
    cast(sum(clicked) as bigint) as clicked_count,
    cast(sum(carted) as bigint) as carted_count,
    cast(sum(bought) as bigint) as bought_count,
    sum(revenue) as revenue,

    -- dates
    event_date
from parts
group by event_date, kind, algorithm, slot, release, customer_type
