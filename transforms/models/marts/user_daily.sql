{{ config(
    materialized='incremental', incremental_strategy='replace_window', meta={'rebuilt_by': 'int_visits_daily'}
) }}
with

visits as (

    select * from {{ ref('int_visits_daily') }}
    where {{ in_window('event_date') }} and user_id is not null

),

touches as (

    select * from {{ ref('int_visitor_items_daily') }}
    where {{ in_window('event_date') }} and user_id is not null

),

order_items as (

    select * from {{ ref('int_order_items_daily') }}
    where {{ in_window('event_date') }} and user_id is not null

),

items as (

    select item_id, category from {{ ref('stg_items') }}

),

visit_totals as (

    select
        user_id,
        event_date,
        count(*) as visit_count,
        cast(sum(event_count) as bigint) as event_count,
        cast(sum(view_count) as bigint) as view_count,
        cast(sum(cart_count) as bigint) as cart_count,
        cast(sum(search_count) as bigint) as search_count,
        cast(sum(email_open_count) as bigint) as email_open_count,
        cast(sum(recommendation_view_count) as bigint) as recommendation_view_count,
        cast(sum(recommendation_click_count) as bigint) as recommendation_click_count,
        cast(sum(return_count) as bigint) as return_count,
        sum(return_amount) as return_amount,
        cast(sum(rating_count) as bigint) as rating_count,
        sum(rating_sum) as rating_sum,
        min(started_at) as first_event_at,
        max(ended_at) as last_event_at
    from visits
    group by user_id, event_date

),

item_lists as (

    select
        user_id,
        event_date,
        count(*) as distinct_item_count,
        {{ ordered_array('item_id', 'last_event_at', var('recent_items_limit')) }} as recent_items
    from touches
    group by user_id, event_date

),

category_touches as (

    select
        touches.user_id,
        touches.event_date,
        items.category,
        max(touches.last_event_at) as last_event_at
    from touches
    inner join items on touches.item_id = items.item_id
    where items.category is not null
    group by touches.user_id, touches.event_date, items.category

),

category_lists as (

    select
        user_id,
        event_date,
        {{ ordered_array('category', 'last_event_at', var('recent_categories_limit')) }} as recent_categories
    from category_touches
    group by user_id, event_date

),

orders as (

    select
        user_id,
        event_date,
        order_id,
        sum(line_count) as line_count,
        sum(unit_count) as unit_count,
        sum(amount) as amount,
        min(first_line_at) as first_line_at,
        max(last_line_at) as last_line_at
    from order_items
    group by user_id, event_date, order_id

),

order_totals as (

    select
        user_id,
        event_date,
        cast(sum(line_count) as bigint) as purchase_line_count,
        count(*) as order_count,
        sum(unit_count) as unit_count,
        sum(amount) as spend,
        max(amount) as max_order_amount,
        min(first_line_at) as first_order_at,
        max(last_line_at) as last_order_at
    from orders
    group by user_id, event_date

)

select
    -- ids
    visit_totals.user_id,

    -- lists
    item_lists.recent_items,
    category_lists.recent_categories,

    -- numerics
    visit_totals.event_count,
    visit_totals.visit_count,
    visit_totals.view_count,
    visit_totals.cart_count,
    visit_totals.search_count,
    visit_totals.email_open_count,
    visit_totals.recommendation_view_count,
    visit_totals.recommendation_click_count,
    coalesce(order_totals.purchase_line_count, 0) as purchase_line_count,
    coalesce(order_totals.order_count, 0) as order_count,
    coalesce(item_lists.distinct_item_count, 0) as distinct_item_count,
    visit_totals.return_count,
    coalesce(order_totals.unit_count, 0.0) as unit_count,
    coalesce(order_totals.spend, 0.0) as spend,
    coalesce(order_totals.max_order_amount, 0.0) as max_order_amount,
    visit_totals.return_amount,
    visit_totals.rating_count,
    visit_totals.rating_sum,

    -- dates and timestamps
    visit_totals.event_date,
    visit_totals.first_event_at,
    visit_totals.last_event_at,
    order_totals.first_order_at,
    order_totals.last_order_at
from visit_totals
left join item_lists
    on visit_totals.user_id = item_lists.user_id and visit_totals.event_date = item_lists.event_date
left join category_lists
    on visit_totals.user_id = category_lists.user_id and visit_totals.event_date = category_lists.event_date
left join order_totals
    on visit_totals.user_id = order_totals.user_id and visit_totals.event_date = order_totals.event_date
