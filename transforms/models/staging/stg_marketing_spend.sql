with

landed as (

    select * from {{ source('landing', 'marketing_spend') }}

)

select
    -- ids
    coalesce(campaign_id, '') as campaign_id,

    -- strings
    channel,

    -- numerics
    amount,

    -- dates
    day as event_date
from landed
