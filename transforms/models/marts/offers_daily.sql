{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    incremental_predicates=['since_window(event_date, ' ~ var('offer_window_days') ~ ')']
) }}
{%- set since = since_window('event_date', var('offer_window_days')) -%}
{#
    What was offered on a day, and what came of it within the window. An offer is seen, opened or used once,
    however often; whoever opens or uses one has seen it.
#}
with

events as (

    select
        event_id,
        event_type,
        {{ json_text('context', 'offer_id') }} as offer_id,
        {{ json_text('context', 'offer_type') }} as offer_type,
        try_cast({{ json_text('context', 'expected_response_rate') }} as double) as expected_response_rate,
        event_date
    from {{ ref('stg_events') }}
    where {{ since }} and event_type in ('offer_served', 'offer_view', 'offer_click', 'offer_redeem')

),

served as (

    select event_id, offer_id, offer_type, expected_response_rate, event_date
    from events
    where event_type = 'offer_served' and offer_id is not null and offer_type is not null

),

came_of_it as (

    select
        served.event_id,
        {{ count_where("events.event_type = 'offer_click'") }} as click_count,
        {{ count_where("events.event_type = 'offer_redeem'") }} as redeem_count
    from served
    inner join events
        on
            served.offer_id = events.offer_id
            and events.event_type <> 'offer_served'
            and {{ days_between('served.event_date', 'events.event_date') }}
            between 0 and {{ var('offer_window_days') }}
    group by served.event_id

)

select
    -- strings
    served.offer_type,

    -- numerics
    count(*) as served_count,
    {{ count_where('came_of_it.event_id is not null') }} as viewed_count,
    {{ count_where('came_of_it.click_count > 0') }} as clicked_count,
    {{ count_where('came_of_it.redeem_count > 0') }} as redeemed_count,
    {{ count_where('came_of_it.click_count + came_of_it.redeem_count > 0') }} as responded_count,
    {{ sum_where('served.expected_response_rate', 'came_of_it.event_id is not null') }} as expected_responses,

    -- dates
    served.event_date
from served
left join came_of_it on served.event_id = came_of_it.event_id
group by served.event_date, served.offer_type
