{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    incremental_predicates=['since_window(event_date, 0)']
) }}
{#
    Distinct users of any period from sums: whoever acts in a period does so there for the first time on exactly
    one day, and on that day the gap reaches back beyond the period's beginning. A rebuilt day changes the gaps of
    the days after it, so those are computed again; of older days only each user's last is looked up.
#}
with

recent as (

    select user_id, event_date, order_count
    from {{ ref('user_daily') }}
    where {{ since_window('event_date') }}

),

days as (

    select user_id, 'active' as activity, event_date from recent

    union all

    select user_id, 'bought' as activity, event_date from recent where order_count > 0

    {% if is_windowed() -%}
    union all

    select user_id, 'active' as activity, max(event_date) as event_date
    from {{ ref('user_daily') }}
    where not {{ since_window('event_date') }} and user_id in (select user_id from recent)
    group by user_id

    union all

    select user_id, 'bought' as activity, max(event_date) as event_date
    from {{ ref('user_daily') }}
    where
        not {{ since_window('event_date') }}
        and order_count > 0
        and user_id in (select user_id from recent)
    group by user_id
    {%- endif %}

),

followed as (

    select
        activity,
        event_date,
        lag(event_date) over (partition by activity, user_id order by event_date) as previous_date
    from days

)

select
    -- strings
    activity,

    -- numerics
    coalesce(cast({{ days_between('previous_date', 'event_date') }} as bigint), 0) as gap_days,
    count(*) as user_count,

    -- dates
    event_date
from followed
where {{ since_window('event_date') }}
group by activity, event_date, coalesce(cast({{ days_between('previous_date', 'event_date') }} as bigint), 0)
