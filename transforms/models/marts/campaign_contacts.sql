{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    incremental_predicates=['since_window(event_date, ' ~ var('campaign_window_days') ~ ')']
) }}
{%- set days = var('campaign_window_days') -%}
{%- set prior = var('campaign_prior_days') -%}
{%- set starts = var('campaign_response_days') -%}
{%- set sends = ['email_sent', 'push_notification', 'sms_sent'] -%}
{%- set opens = ['email_open', 'push_open'] -%}
{%- set clicks = ['email_click', 'sms_click', 'push_open'] -%}
{#
    One customer of a campaign on a day is one unit: what they did within the window after it, and what they
    had spent before it, which tells much of what they spend anyway (Deng et al., WSDM 2013). Visits and revenue
    stand by stretches of days as well, which tell when customers react.
#}
with

events as (

    select
        user_id, campaign_id, event_type, channel, event_date, event_at
    from {{ ref('stg_events') }}
    where
        {{ since_window('event_date', days) }}
        and campaign_id is not null
        and user_id is not null
        and event_type in ({{ quoted_list(sends + opens + clicks + ['campaign_holdout']) }})

),

units as (

    select
        campaign_id,
        user_id,
        event_date,
        max(case when event_type = 'campaign_holdout' then 'held_out' else 'treated' end) as arm,
        min(channel) as channel,
        min(event_at) as begun_at
    from events
    where event_type in ({{ quoted_list(sends + ['campaign_holdout']) }})
    group by campaign_id, user_id, event_date

),

answers as (

    select
        units.campaign_id,
        units.user_id,
        units.event_date,
        {{ count_where("events.event_type in (" ~ quoted_list(opens) ~ ")") }} as open_count,
        {{ count_where("events.event_type in (" ~ quoted_list(clicks) ~ ")") }} as click_count
    from units
    inner join events
        on
            units.campaign_id = events.campaign_id
            and units.user_id = events.user_id
            and events.event_type in ({{ quoted_list(opens + clicks) }})
            and {{ days_between('units.event_date', 'events.event_date') }} between 0 and {{ days }}
    group by units.campaign_id, units.user_id, units.event_date

),

orders as (

    {{ order_days() }}

),

bought as (

    select
        units.campaign_id,
        units.user_id,
        units.event_date,
        count(*) as order_count,
        {% for start in starts -%}
        {{ sum_where('orders.amount', in_stretch('units.event_date', 'orders.event_date', starts, loop.index0)) }}
            as revenue_from_day_{{ start }},
        {% endfor -%}
        sum(orders.amount) as revenue
    from units
    inner join orders
        on
            units.user_id = orders.user_id
            and orders.ordered_at >= units.begun_at
            and {{ seconds_between('units.begun_at', 'orders.ordered_at') }} < {{ 86400 * days }}
            and {{ since_window('orders.event_date', days) }}
    group by units.campaign_id, units.user_id, units.event_date

),

around as (

    select
        units.campaign_id,
        units.user_id,
        units.event_date,
        {% for start in starts -%}
        {{ count_where(
            in_stretch('units.event_date', 'daily.event_date', starts, loop.index0)
            ~ ' and (daily.view_count > 0 or daily.order_count > 0)'
        ) }} as visits_from_day_{{ start }},
        {% endfor -%}
        {{ sum_where('daily.spend', 'daily.event_date < units.event_date') }} as prior_spend
    from units
    inner join {{ ref('user_daily') }} as daily
        on
            units.user_id = daily.user_id
            and daily.event_date >= {{ dbt.dateadd('day', -prior, 'units.event_date') }}
            and daily.event_date <= {{ dbt.dateadd('day', days, 'units.event_date') }}
            and {{ since_window('daily.event_date', days + prior) }}
    group by units.campaign_id, units.user_id, units.event_date

),

measured as (

    select
        units.campaign_id,
        units.user_id,
        units.arm,
        units.channel,
        units.event_date,
        coalesce(answers.open_count > 0, false) as is_opened,
        coalesce(answers.click_count > 0, false) as is_clicked,
        coalesce(bought.order_count, 0) as order_count,
        coalesce(bought.revenue, 0.0) as revenue,
        {% for start in starts -%}
        coalesce(bought.revenue_from_day_{{ start }}, 0.0) as revenue_from_day_{{ start }},
        coalesce(around.visits_from_day_{{ start }}, 0) as visits_from_day_{{ start }},
        {% endfor -%}
        coalesce(around.prior_spend, 0.0) as prior_spend
    from units
    left join answers
        on
            units.campaign_id = answers.campaign_id
            and units.user_id = answers.user_id
            and units.event_date = answers.event_date
    left join bought
        on
            units.campaign_id = bought.campaign_id
            and units.user_id = bought.user_id
            and units.event_date = bought.event_date
    left join around
        on
            units.campaign_id = around.campaign_id
            and units.user_id = around.user_id
            and units.event_date = around.event_date

)

select
    -- ids
    campaign_id,
    user_id,

    -- strings
    channel,
    arm,

    -- booleans
    is_opened,
    is_clicked,

    -- numerics
    order_count,
    revenue,
    prior_spend,
    {% for start in starts -%}
    visits_from_day_{{ start }},
    revenue_from_day_{{ start }},
    {% endfor %}
    -- dates
    event_date
from measured
