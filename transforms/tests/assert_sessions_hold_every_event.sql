-- Joining visits past midnight neither loses nor doubles an event or an amount.
with

sessions as (

    select coalesce(sum(event_count), 0) as event_count, coalesce(sum(amount), 0.0) as amount
    from {{ ref('sessions') }}

),

visits as (

    select coalesce(sum(event_count), 0) as event_count, coalesce(sum(amount), 0.0) as amount
    from {{ ref('int_visits_daily') }}

)

select
    sessions.event_count,
    visits.event_count as expected_event_count,
    sessions.amount,
    visits.amount as expected_amount
from sessions
cross join visits
where
    sessions.event_count <> visits.event_count
    or abs(sessions.amount - visits.amount) > 1e-9 * (1 + abs(visits.amount))
