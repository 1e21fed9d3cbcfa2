{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    incremental_predicates=['since_window(event_date, 0)']
) }}
{%- set days = var('attribution_window_days') -%}
{# An order whose lines lie on two days is shared on each, by the touches before it, so days stand alone. #}
{%- set measures = ['orders', 'revenue', 'new_customers'] -%}
with

order_days as (

    {{ order_days() }}

),

orders as (

    select
        lines.order_id,
        lines.visitor_id,
        lines.amount,
        case when lines.ordered_at = customers.first_order_at then 1 else 0 end as is_first,
        lines.event_date,
        lines.ordered_at
    from order_days as lines
    left join {{ ref('customers') }} as customers on lines.user_id = customers.user_id
    where {{ since_window('lines.event_date') }}

),

touches as (

    select
        orders.order_id,
        orders.event_date,
        orders.amount,
        orders.is_first,
        coalesce(touchpoints.channel, 'none') as channel,
        coalesce(touchpoints.campaign_id, '') as campaign_id,
        row_number() over (
            partition by orders.order_id, orders.event_date
            order by touchpoints.touched_at, touchpoints.channel, touchpoints.campaign_id
        ) as touch_number,
        count(*) over (partition by orders.order_id, orders.event_date) as touch_count,
        case
            when touchpoints.touched_at is null then 1.0
            else
                power(
                    0.5,
                    {{ seconds_between('touchpoints.touched_at', 'orders.ordered_at') }}
                    / {{ 86400.0 * var('attribution_half_life_days') }}
                )
        end as decay
    from orders
    left join {{ ref('touchpoints') }} as touchpoints
        on
            orders.visitor_id = touchpoints.visitor_id
            and touchpoints.touched_at <= orders.ordered_at
            and touchpoints.event_date >= {{ dbt.dateadd('day', -days, 'orders.event_date') }}
            and {{ since_window('touchpoints.event_date', days) }}

),

weighted as (

    select
        *,
        sum(decay) over (partition by order_id, event_date) as decay_sum
    from touches

),

shared as (

    select
        campaign_id,
        channel,
        amount as revenue,
        1 as orders,
        is_first as new_customers,
        {%- for method, share in attribution_methods().items() %}
        {{ share }} as {{ method }},
        {%- endfor %}
        event_date
    from weighted

)

select
    -- ids
    campaign_id,

    -- strings
    channel,

    -- numerics
    {%- for method in attribution_methods() %}{% for measure in measures %}
    cast(sum({{ method }} * {{ measure }}) as double) as {{ method }}_{{ measure }},
    {%- endfor %}{% endfor %}

    -- dates
    event_date
from shared
group by event_date, channel, campaign_id
