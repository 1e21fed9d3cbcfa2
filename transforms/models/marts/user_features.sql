{{ config(materialized='incremental', incremental_strategy='replace_history', unique_key='user_id') }}
{#
    Cumulative: a user whose days changed starts from the stored row before the first changed day and is
    computed again from there; nobody else is read.
#}
{%- set half_lives = var('half_lives_days') -%}
{%- set decayed = {
    'spend': 'spend', 'orders': 'order_count', 'units': 'unit_count', 'views': 'view_count',
    'carts': 'cart_count', 'events': 'event_count', 'returns': 'return_count'
} -%}
{%- set counts = ['order_count', 'order_day_count', 'return_count', 'active_day_count', 'event_count_total'] -%}
{%- set sums = ['unit_count', 'spend_total', 'return_total'] -%}
with

{% if is_windowed() -%}
changed as (

    {{ changed_histories(ref('user_daily'), this, 'user_id') }}

),

opening_days as (

    select history.user_id, max(history.event_date) as event_date
    from {{ this }} as history
    inner join changed on history.user_id = changed.user_id and history.event_date < changed.first_day
    group by history.user_id

),

{% endif -%}
activity as (

    select
        daily.user_id,
        daily.event_date,
        false as is_opening,
        daily.recent_items,
        daily.recent_categories,
        case when daily.order_count > 0 then daily.event_date end as order_date,
        daily.order_count,
        case when daily.order_count > 0 then 1 else 0 end as order_day_count,
        daily.return_count,
        1 as active_day_count,
        daily.event_count as event_count_total,
        daily.unit_count,
        daily.spend as spend_total,
        daily.return_amount as return_total,
        daily.max_order_amount,
        cast(null as double) as opening_gap_days_sum,
        cast(null as double) as opening_gap_days_sumsq,
        daily.first_event_at,
        daily.last_event_at,
        daily.first_order_at,
        {% for name, column in decayed.items() -%}
        {% for days in half_lives -%}
        cast(daily.{{ column }} as double) as {{ name }}_{{ days }}d,
        {% endfor -%}
        {% endfor -%}
        daily.last_order_at
    from {{ ref('user_daily') }} as daily
    {% if is_windowed() -%}
    inner join changed on daily.user_id = changed.user_id and daily.event_date >= changed.first_day
    where {{ since_window('daily.event_date') }}

    union all

    select
        history.user_id,
        history.event_date,
        true as is_opening,
        history.recent_items,
        history.recent_categories,
        {{ utc_date('history.last_order_at') }} as order_date,
        history.order_count,
        history.order_day_count,
        history.return_count,
        history.active_day_count,
        history.event_count_total,
        history.unit_count,
        history.spend_total,
        history.return_total,
        history.max_order_amount,
        history.order_gap_days_sum as opening_gap_days_sum,
        history.order_gap_days_sumsq as opening_gap_days_sumsq,
        history.first_event_at,
        history.last_event_at,
        history.first_order_at,
        {% for name, column in decayed.items() -%}
        {% for days in half_lives -%}
        history.{{ name }}_decay_{{ days }}d as {{ name }}_{{ days }}d,
        {% endfor -%}
        {% endfor -%}
        history.last_order_at
    from {{ this }} as history
    inner join opening_days
        on history.user_id = opening_days.user_id and history.event_date = opening_days.event_date
    {%- endif %}

),

placed as (

    select
        *,
        min(event_date) over (partition by user_id) as first_date,
        max(order_date) over (
            partition by user_id order by event_date rows between unbounded preceding and 1 preceding
        ) as previous_order_date
    from activity

),

counted as (

    select
        *,
        {{ days_between('first_date', 'event_date') }} as days_from_first
    from placed

),

weighted as (

    select
        *,
        {% for days in half_lives -%}
        {{ growth_weight('days_from_first', days) }} as growth_{{ days }}d,
        {% endfor -%}
        cast({{ days_between('previous_order_date', 'order_date') }} as double) as gap_days
    from counted

),

running as (

    select
        user_id,
        event_date,
        is_opening,
        recent_items,
        recent_categories
        {%- for column in counts + sums %},
        sum({{ column }}) over so_far as {{ column }}
        {%- endfor %},
        max(max_order_amount) over so_far as max_order_amount,
        coalesce(sum(case when is_opening then opening_gap_days_sum else gap_days end) over so_far, 0.0)
            as order_gap_days_sum,
        coalesce(
            sum(case when is_opening then opening_gap_days_sumsq else gap_days * gap_days end) over so_far, 0.0
        ) as order_gap_days_sumsq,
        min(first_event_at) over so_far as first_event_at,
        max(last_event_at) over so_far as last_event_at,
        min(first_order_at) over so_far as first_order_at,
        {% for name, column in decayed.items() -%}
        {% for days in half_lives -%}
        sum({{ name }}_{{ days }}d * growth_{{ days }}d) over so_far / growth_{{ days }}d
            as {{ name }}_decay_{{ days }}d,
        {% endfor -%}
        {% endfor -%}
        max(last_order_at) over so_far as last_order_at
    from weighted
    window so_far as (partition by user_id order by event_date rows unbounded preceding)

)

select
    -- ids
    user_id,

    -- lists
    recent_items,
    recent_categories,

    -- numerics
    {%- for column in counts %}
    cast({{ column }} as bigint) as {{ column }},
    {%- endfor %}
    {%- for column in sums %}
    {{ column }},
    {%- endfor %}
    max_order_amount,
    order_gap_days_sum,
    order_gap_days_sumsq,
    {%- for name in decayed %}{% for days in half_lives %}
    {{ name }}_decay_{{ days }}d,
    {%- endfor %}{% endfor %}

    -- dates and timestamps
    event_date,
    {{ day_end('event_date') }} as feature_at,
    first_event_at,
    last_event_at,
    first_order_at,
    last_order_at
from running
where not is_opening
