{{ config(
    materialized='incremental', incremental_strategy='replace_window', meta={'rebuilt_by': 'int_visits_daily'}
) }}
{%- set visitor_days = 'partition by visitor_id, event_date order by event_at, event_id' -%}
{%- set of_visit = 'partition by visitor_id, event_date, visit_number order by event_at, event_id' -%}
{%- set steps = {
    'landing': ['page_view', 'session_start', 'login', 'signup', 'banner_click', 'email_click', 'push_open'],
    'search': ['search', 'search_click', 'filter_applied', 'sort_applied'],
    'category': ['category_browse', 'brand_browse'],
    'product': ['product_view', 'image_view', 'video_play', 'product_compare', 'wishlist_add'],
    'recommendation': ['recommendation_view', 'recommendation_click', 'bundle_view', 'bundle_click'],
    'content': ['content_view', 'content_click'],
    'cart': ['add_to_cart', 'remove_from_cart', 'cart_view', 'bundle_add'],
    'checkout': ['checkout_start', 'checkout_step', 'payment_failed'],
    'order': ['purchase']
} -%}
{#
    Visits of a day as they are cut at midnight, each as its steps in order, the same step in a row once. Days
    that have long passed are not worked out when everything is rebuilt.
#}
with

days as (

    select max(event_date) as last_day from {{ ref('int_visits_daily') }}

),

acts as (

    select
        events.visitor_id,
        events.event_id,
        events.amount,
        case
            {%- for step, types in steps.items() %}
            when events.event_type in ({{ quoted_list(types) }}) then '{{ step }}'
            {%- endfor %}
        end as step,
        events.event_type,
        events.event_date,
        events.event_at
    from {{ ref('stg_events') }} as events
    cross join days
    where
        {{ in_window('events.event_date') }}
        and not events.is_outbound
        and events.event_date > {{ dbt.dateadd('day', -var('journey_days'), 'days.last_day') }}

),

followed as (

    select *, lag(event_at) over ({{ visitor_days }}) as previous_event_at
    from acts

),

opened as (

    select
        *,
        case
            when
                {{ seconds_between('previous_event_at', 'event_at') }} <= {{ var('visit_timeout_seconds') }}
                then 0
            else 1
        end as opens_visit
    from followed

),

numbered as (

    select *, sum(opens_visit) over ({{ visitor_days }} rows unbounded preceding) as visit_number
    from opened

),

stepped as (

    select *, lag(step) over ({{ of_visit }}) as previous_step
    from numbered
    where step is not null

),

turned as (

    select
        *,
        sum(case when step = previous_step then 0 else 1 end) over ({{ of_visit }} rows unbounded preceding)
            as step_number
    from stepped

),

visits as (

    select
        visitor_id,
        event_date,
        visit_number,
        max(step_number) as step_count,
        {{ joined_path(
            'case when previous_step is null or step <> previous_step then step end',
            'step_number', var('journey_steps')
        ) }} as path,
        {{ sum_where('amount', "event_type = 'purchase'") }} as revenue,
        {{ count_where("event_type = 'purchase'") }} as line_count
    from turned
    group by visitor_id, event_date, visit_number

)

select
    -- strings
    path,

    -- numerics
    count(*) as visit_count,
    {{ count_where('line_count > 0') }} as buying_visit_count,
    cast(sum(step_count) as bigint) as step_count,
    sum(revenue) as revenue,

    -- dates
    event_date
from visits
group by event_date, path
