{{ config(materialized='incremental', incremental_strategy='replace_window') }}
{%- set message = {
    'email_open': 'email', 'email_click': 'email', 'push_open': 'push', 'sms_click': 'sms',
    'offer_click': 'offers', 'bundle_click': 'bundles', 'banner_click': 'content', 'content_click': 'content',
    'recommendation_click': 'recommendations'
} -%}
{%- set arrivals = ['page_view', 'session_start', 'product_view'] -%}
with

acts as (

    select
        visitor_id,
        coalesce(campaign_id, '') as campaign_id,
        case
            {%- for type, channel in message.items() %}
            when event_type = '{{ type }}' then '{{ channel }}'
            {%- endfor %}
            when recommendation_id is not null then 'recommendations'
            else lower({{ json_text('context', 'traffic_source') }})
        end as channel,
        event_date,
        event_at
    from {{ ref('stg_events') }}
    where
        {{ in_window('event_date') }}
        and event_type in ({{ quoted_list(message | list + arrivals) }})
        and (
            event_type not in ({{ quoted_list(arrivals) }})
            or recommendation_id is not null
            or context is not null
        )

)

select
    -- ids
    visitor_id,
    campaign_id,

    -- strings
    case when channel in ('email_campaign', 'newsletter') then 'email' else channel end as channel,

    -- dates and timestamps
    event_date,
    min(event_at) as touched_at
from acts
where channel is not null and channel <> 'direct'
group by
    visitor_id, event_date, campaign_id,
    case when channel in ('email_campaign', 'newsletter') then 'email' else channel end
