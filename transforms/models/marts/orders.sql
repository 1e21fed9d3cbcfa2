{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    unique_key='order_id',
    incremental_predicates=['spans_window(order_date, last_line_date)']
) }}
with

order_items as (

    select * from {{ ref('int_order_items_daily') }}

),

sessions as (

    select visitor_id, started_at, ended_at from {{ ref('sessions') }}

),

{% if is_windowed() -%}
changed as (

    select order_id from order_items
    where {{ in_window('event_date') }}

    union distinct

    select order_id from {{ this }}
    where {{ spans_window('order_date', 'last_line_date') }}

    union distinct

    -- orders of other days whose session was joined or cut by a rebuilt day
    select order_items.order_id
    from order_items
    inner join sessions
        on
            order_items.visitor_id = sessions.visitor_id
            and order_items.first_line_at >= sessions.started_at
            and order_items.first_line_at <= sessions.ended_at
    where {{ near_window('sessions.started_at', 'sessions.ended_at') }}

),

changed_order_items as (

    select order_items.*
    from order_items
    inner join changed on order_items.order_id = changed.order_id

),

{%- else -%}
changed_order_items as (

    select * from order_items

),

{%- endif %}

lines_joined as (

    select
        order_id,
        max(visitor_id) as visitor_id,
        max(user_id) as user_id,
        min(channel) as channel,
        min(currency) as currency,
        cast(sum(line_count) as bigint) as line_count,
        sum(unit_count) as unit_count,
        sum(amount) as amount,
        min(first_line_at) as ordered_at,
        max(event_date) as last_line_date
    from changed_order_items
    group by order_id

),

buyers as (

    select distinct visitor_id from lines_joined

),

-- a session's start carries forward to the orders that follow it
moments as (

    select visitor_id, order_id, ordered_at as moment, 1 as place, cast(null as {{ var('instant_type') }}) as started_at
    from lines_joined

    union all

    select
        sessions.visitor_id, cast(null as {{ dbt.type_string() }}) as order_id,
        sessions.started_at as moment, 0 as place, sessions.started_at
    from sessions
    inner join buyers on sessions.visitor_id = buyers.visitor_id

),

placed as (

    select
        order_id,
        max(started_at) over (
            partition by visitor_id order by moment, place rows unbounded preceding
        ) as session_started_at
    from moments

)

select
    -- ids
    lines_joined.order_id,
    lines_joined.user_id,
    lines_joined.visitor_id,
    case
        when placed.session_started_at is not null
            then {{ session_key('lines_joined.visitor_id', 'placed.session_started_at') }}
    end as session_id,

    -- strings
    lines_joined.channel,
    lines_joined.currency,

    -- numerics
    lines_joined.line_count,
    lines_joined.unit_count,
    lines_joined.amount,

    -- booleans
    lines_joined.user_id is null as is_guest,

    -- dates and timestamps
    {{ utc_date('lines_joined.ordered_at') }} as order_date,
    lines_joined.last_line_date,
    lines_joined.ordered_at
from lines_joined
inner join placed on lines_joined.order_id = placed.order_id
