{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    incremental_predicates=['since_window(event_date, ' ~ var('campaign_window_days') ~ ')']
) }}
select
    -- ids
    campaign_id,

    -- strings
    channel,
    arm,

    -- numerics
    count(*) as user_count,
    {{ count_where('is_opened') }} as opened_count,
    {{ count_where('is_clicked') }} as clicked_count,
    {{ count_where('order_count > 0') }} as buyer_count,
    cast(sum(order_count) as bigint) as order_count,
    sum(revenue) as revenue,

    -- dates
    event_date
from {{ ref('campaign_contacts') }}
where {{ since_window('event_date', var('campaign_window_days')) }}
group by event_date, campaign_id, channel, arm
