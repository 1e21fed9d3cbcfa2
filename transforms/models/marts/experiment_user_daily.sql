{{ config(materialized='incremental', incremental_strategy='replace_window') }}
{#
    Day-local, so that any day can be rebuilt alone: who met an experiment that day, and what they did in the
    rest of it. What they did on later days is in user_daily, where guests are not.
#}
with

events as (

    select
        event_id, order_id, experiment_id, event_type, channel, device_type, context, is_outbound, unit_count,
        amount, event_date, event_at,
        visitor_id as user_id
    from {{ ref('stg_events') }}
    where {{ in_window('event_date') }} and (user_id is not null or visitor_id like 'anonymous:%')

),

experiment_events as (

    select
        *,
        {{ json_text('context', 'variant') }} as variant,
        try_cast({{ json_text('context', 'propensity') }} as double) as propensity,
        try_cast({{ json_text('context', 'value') }} as double) as reported_value,
        case when event_type = 'experiment_exposure' then event_at end as exposed_at,
        row_number() over (
            partition by experiment_id, user_id, event_date, event_type order by event_at, event_id
        ) as occurrence
    from events
    where experiment_id is not null and event_type in ('experiment_exposure', 'experiment_conversion')

),

exposed as (

    select
        *,
        min(exposed_at) over (partition by experiment_id, user_id, event_date) as first_exposed_at
    from experiment_events

),

meetings as (

    select
        experiment_id,
        user_id,
        event_date,
        max(case when exposed_at is not null and occurrence = 1 then variant end) as variant,
        max(
            case
                when exposed_at is not null and occurrence = 1 and propensity > 0 and propensity <= 1 then propensity
            end
        ) as propensity,
        max(first_exposed_at) as first_exposed_at,
        -- a report from before that day's exposure counts only if there was an exposure on a day before
        {{ count_where("exposed_at is null and event_at >= first_exposed_at") }} as reported_after_count,
        {{ count_where("exposed_at is null") }} as reported_count,
        {{ sum_where('reported_value', "exposed_at is null and event_at >= first_exposed_at") }}
            as reported_after_value,
        {{ sum_where('reported_value', "exposed_at is null") }} as reported_value
    from exposed
    group by experiment_id, user_id, event_date

),

met as (

    select
        meetings.experiment_id,
        meetings.user_id,
        meetings.event_date,
        events.device_type,
        events.is_outbound,
        {{ json_text('events.context', 'traffic_source') }} as traffic_source,
        case when events.channel <> 'api' then events.channel end as visit_channel,
        case when events.event_at >= meetings.first_exposed_at then events.event_type end as later_type,
        case when events.event_at >= meetings.first_exposed_at then events.order_id end as later_order_id,
        case
            when events.event_at >= meetings.first_exposed_at
                then {{ given_rating('events.event_type', 'events.context') }}
        end as later_rating,
        events.unit_count,
        events.amount
    from meetings
    inner join events on meetings.user_id = events.user_id and meetings.event_date = events.event_date

),

acts as (

    select
        experiment_id,
        user_id,
        event_date,
        max(device_type) as device_type,
        coalesce(min(traffic_source), min(visit_channel)) as traffic_source,
        {{ count_where("not is_outbound and later_type not like 'experiment%'") }} as event_count,
        {{ count_where("later_type = 'product_view'") }} as view_count,
        {{ count_where("later_type = 'add_to_cart'") }} as cart_count,
        {{ count_where("later_type = 'recommendation_view'") }} as recommendation_view_count,
        {{ count_where("later_type = 'recommendation_click'") }} as recommendation_click_count,
        count(distinct later_order_id) as order_count,
        {{ sum_where('unit_count', "later_type = 'purchase'") }} as unit_count,
        {{ sum_where('amount', "later_type = 'purchase'") }} as spend,
        {{ sum_where('amount', "later_type = 'return'") }} as return_amount,
        count(later_rating) as rating_count,
        coalesce(sum(later_rating), 0.0) as rating_sum
    from met
    group by experiment_id, user_id, event_date

)

select
    -- ids
    meetings.experiment_id,
    meetings.user_id,

    -- strings
    meetings.variant,
    acts.device_type,
    acts.traffic_source,

    -- numerics
    meetings.propensity,
    acts.event_count,
    acts.view_count,
    acts.cart_count,
    acts.recommendation_view_count,
    acts.recommendation_click_count,
    acts.order_count,
    acts.unit_count,
    acts.spend,
    acts.return_amount,
    acts.rating_count,
    acts.rating_sum,
    meetings.reported_count,
    meetings.reported_value,
    meetings.reported_after_count,
    meetings.reported_after_value,

    -- dates and timestamps
    meetings.event_date,
    meetings.first_exposed_at
from meetings
inner join acts
    on
        meetings.experiment_id = acts.experiment_id
        and meetings.user_id = acts.user_id
        and meetings.event_date = acts.event_date
