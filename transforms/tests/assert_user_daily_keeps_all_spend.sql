-- What known customers spent on each rebuilt day is what their landed purchases say.
with

landed as (

    select event_date, sum(amount) as spend
    from {{ ref('stg_events') }}
    where {{ in_window('event_date') }} and event_type = 'purchase' and user_id is not null
    group by event_date

),

daily as (

    select event_date, sum(spend) as spend
    from {{ ref('user_daily') }}
    where {{ in_window('event_date') }}
    group by event_date

)

select
    coalesce(landed.event_date, daily.event_date) as event_date,
    landed.spend as expected_spend,
    daily.spend
from landed
full outer join daily on landed.event_date = daily.event_date
where abs(coalesce(landed.spend, 0.0) - coalesce(daily.spend, 0.0)) > 1e-9 * (1 + coalesce(landed.spend, 0.0))
