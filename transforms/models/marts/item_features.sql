{{ config(materialized='incremental', incremental_strategy='replace_history', unique_key='item_id') }}
{# Cumulative like user_features: an item whose days changed starts from its stored row before them. #}
{%- set half_lives = var('half_lives_days') -%}
{%- set decayed = {
    'views': 'view_count', 'carts': 'cart_count', 'purchases': 'purchase_count', 'orders': 'order_count',
    'units': 'unit_count', 'revenue': 'revenue', 'buyers': 'buyer_count'
} -%}
{%- set counts = ['view_count', 'purchase_count', 'order_count', 'return_count', 'active_day_count'] -%}
{%- set sums = ['unit_count', 'revenue_total'] -%}
with

{% if is_windowed() -%}
changed as (

    {{ changed_histories(ref('int_items_daily'), this, 'item_id') }}

),

opening_days as (

    select history.item_id, max(history.event_date) as event_date
    from {{ this }} as history
    inner join changed on history.item_id = changed.item_id and history.event_date < changed.first_day
    group by history.item_id

),

{% endif -%}
activity as (

    select
        daily.item_id,
        daily.event_date,
        false as is_opening,
        daily.view_count,
        daily.purchase_count,
        daily.order_count,
        daily.return_count,
        1 as active_day_count,
        daily.unit_count,
        daily.revenue as revenue_total,
        daily.last_price,
        daily.min_price,
        daily.max_price,
        daily.first_sold_at,
        {% for name, column in decayed.items() -%}
        {% for days in half_lives -%}
        cast(daily.{{ column }} as double) as {{ name }}_{{ days }}d,
        {% endfor -%}
        {% endfor -%}
        daily.last_sold_at
    from {{ ref('int_items_daily') }} as daily
    {% if is_windowed() -%}
    inner join changed on daily.item_id = changed.item_id and daily.event_date >= changed.first_day
    where {{ since_window('daily.event_date') }}

    union all

    select
        history.item_id,
        history.event_date,
        true as is_opening,
        history.view_count,
        history.purchase_count,
        history.order_count,
        history.return_count,
        history.active_day_count,
        history.unit_count,
        history.revenue_total,
        history.last_price,
        history.min_price,
        history.max_price,
        history.first_sold_at,
        {% for name, column in decayed.items() -%}
        {% for days in half_lives -%}
        history.{{ name }}_decay_{{ days }}d as {{ name }}_{{ days }}d,
        {% endfor -%}
        {% endfor -%}
        history.last_sold_at
    from {{ this }} as history
    inner join opening_days
        on history.item_id = opening_days.item_id and history.event_date = opening_days.event_date
    {%- endif %}

),

placed as (

    select
        *,
        min(event_date) over (partition by item_id) as first_date
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
        {% for days in half_lives -%}
        {{ growth_weight('counted.days_from_first', days) }} as growth_{{ days }}d,
        {% endfor -%}
        counted.*
    from counted

),

running as (

    select
        item_id,
        event_date,
        is_opening
        {%- for column in counts + sums %},
        sum({{ column }}) over so_far as {{ column }}
        {%- endfor %},
        {{ last_known('last_price') }} over so_far as last_price,
        min(min_price) over so_far as min_price,
        max(max_price) over so_far as max_price,
        min(first_sold_at) over so_far as first_sold_at,
        {% for name, column in decayed.items() -%}
        {% for days in half_lives -%}
        sum({{ name }}_{{ days }}d * growth_{{ days }}d) over so_far / growth_{{ days }}d
            as {{ name }}_decay_{{ days }}d,
        {% endfor -%}
        {% endfor -%}
        max(last_sold_at) over so_far as last_sold_at
    from weighted
    window so_far as (partition by item_id order by event_date rows unbounded preceding)

)

select
    -- ids
    item_id,

    -- numerics
    {%- for column in counts %}
    cast({{ column }} as bigint) as {{ column }},
    {%- endfor %}
    {%- for column in sums %}
    {{ column }},
    {%- endfor %}
    last_price,
    revenue_total / nullif(unit_count, 0.0) as mean_price,
    min_price,
    max_price,
    {%- for name in decayed %}{% for days in half_lives %}
    {{ name }}_decay_{{ days }}d,
    {%- endfor %}{% endfor %}

    -- dates and timestamps
    event_date,
    {{ day_end('event_date') }} as feature_at,
    first_sold_at,
    last_sold_at
from running
where not is_opening
