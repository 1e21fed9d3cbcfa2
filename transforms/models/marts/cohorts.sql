{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    incremental_predicates=['since_window(month, 31)']
) }}
{# A rebuilt day may change who belongs to which cohort in its month and in all after it; none before it. #}
{%- set month = "cast(date_trunc('month', daily.event_date) as date)" -%}
with

months as (

    select
        daily.user_id,
        cast(date_trunc('month', customers.first_event_at) as date) as cohort_month,
        {{ month }} as month,
        cast(sum(daily.order_count) as bigint) as order_count,
        sum(daily.spend) as revenue
    from {{ ref('user_daily') }} as daily
    inner join {{ ref('customers') }} as customers on daily.user_id = customers.user_id
    where {{ since_window(month, 31) }}
    group by daily.user_id, cast(date_trunc('month', customers.first_event_at) as date), {{ month }}

)

select
    -- numerics
    count(*) as user_count,
    {{ count_where('order_count > 0') }} as buyer_count,
    cast(sum(order_count) as bigint) as order_count,
    sum(revenue) as revenue,

    -- dates
    cohort_month,
    month
from months
group by cohort_month, month
