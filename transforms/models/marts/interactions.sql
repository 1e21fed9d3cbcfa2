{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    unique_key=['user_id', 'item_id'],
    incremental_predicates=['spans_window(first_date, last_date)']
) }}
{#
    A pair whose stored history lies wholly before the window goes on from its stored row; a pair whose
    history may include a rebuilt day is added up again from its days. A pair that is not stored has no day
    outside the window. The days are named in each place: as one CTE they would all be copied.
#}
with

{% if is_windowed() -%}
changed as (

    select user_id, item_id from {{ ref('interactions_daily') }}
    where {{ in_window('event_date') }}

    union distinct

    select user_id, item_id from {{ this }}
    where {{ spans_window('first_date', 'last_date') }}

),

stored as (

    select stored.*
    from {{ this }} as stored
    inner join changed on stored.user_id = changed.user_id and stored.item_id = changed.item_id

),

replayed as (

    select user_id, item_id, first_date from stored
    where {{ since_window('last_date') }}

),

parts as (

    select
        user_id, item_id, strength, view_count, cart_count, purchase_count, unit_count, spend,
        first_date, last_date, first_at, last_at
    from stored
    where not {{ since_window('last_date') }}

    union all

    select
        user_id, item_id, strength, view_count, cart_count, purchase_count, unit_count, spend,
        event_date, event_date, first_event_at, last_event_at
    from {{ ref('interactions_daily') }}
    where {{ in_window('event_date') }}

    union all

    select
        user_id, item_id, strength, view_count, cart_count, purchase_count, unit_count, spend,
        event_date, event_date, first_event_at, last_event_at
    from {{ ref('interactions_daily') }}
    where
        not {{ in_window('event_date') }}
        and event_date >= (select min(first_date) from replayed)
        and (user_id, item_id) in (select user_id, item_id from replayed)

),

{%- else -%}
parts as (

    select
        user_id, item_id, strength, view_count, cart_count, purchase_count, unit_count, spend,
        event_date as first_date, event_date as last_date, first_event_at as first_at, last_event_at as last_at
    from {{ ref('interactions_daily') }}

),

{%- endif %}

-- sum(strength * growth) / growth of the last day is the strength decayed to that day; growth counts from
-- a fixed day, so that one pass without a window is enough
totals as (

    select
        user_id,
        item_id,
        cast(sum(view_count) as bigint) as view_count,
        cast(sum(cart_count) as bigint) as cart_count,
        cast(sum(purchase_count) as bigint) as purchase_count,
        sum(unit_count) as unit_count,
        sum(spend) as spend,
        sum(strength * {{ strength_growth('last_date') }}) / max({{ strength_growth('last_date') }}) as strength,
        min(first_date) as first_date,
        max(last_date) as last_date,
        min(first_at) as first_at,
        max(last_at) as last_at
    from parts
    group by user_id, item_id

)

select
    -- ids
    user_id,
    item_id,

    -- numerics
    view_count,
    cart_count,
    purchase_count,
    unit_count,
    spend,
    strength,

    -- dates and timestamps
    first_date,
    last_date,
    {{ day_end('last_date') }} as strength_at,
    first_at,
    last_at
from totals
