select
    -- ids
    campaign_id,

    -- strings
    channel,

    -- numerics
    sum(amount) as amount,

    -- dates
    event_date
from {{ ref('stg_marketing_spend') }}
group by event_date, channel, campaign_id
