{#
    Whole passes over tables of visits, orders and items by day, never over events: a rebuilt day may move a
    session to another day, a customer's first order changes what the later sessions count as, a new cost
    changes every margin.
#}
{%- set measures = {
    'session_count': 'bigint', 'viewing_session_count': 'bigint', 'carting_session_count': 'bigint',
    'checkout_session_count': 'bigint', 'buying_session_count': 'bigint', 'bounce_count': 'bigint',
    'session_seconds': 'double', 'event_count': 'bigint', 'order_count': 'bigint', 'revenue': 'double',
    'basket_count': 'bigint', 'multi_item_basket_count': 'bigint', 'basket_amount': 'double',
    'multi_item_basket_amount': 'double', 'new_user_count': 'bigint', 'new_customer_count': 'bigint',
    'return_amount': 'double', 'unit_count': 'double', 'costed_revenue': 'double', 'cost_of_goods': 'double'
} -%}
{%- set of_sessions = (measures | list)[:10] -%}
{%- set of_orders = (measures | list)[10:14] -%}
{%- set of_items = (measures | list)[17:] -%}
with

sessions as (

    select
        sessions.session_date as event_date,
        sessions.channel,
        sessions.device_type,
        {{ customer_type('sessions.user_id', 'customers.first_order_at', 'sessions.session_date') }} as customer_type,
        count(*) as session_count,
        {{ count_where('sessions.view_count > 0') }} as viewing_session_count,
        {{ count_where('sessions.cart_count > 0') }} as carting_session_count,
        {{ count_where('sessions.checkout_count > 0 or sessions.order_count > 0') }} as checkout_session_count,
        {{ count_where('sessions.order_count > 0') }} as buying_session_count,
        {{ count_where('sessions.is_bounce') }} as bounce_count,
        sum(sessions.duration_seconds) as session_seconds,
        sum(sessions.event_count) as event_count,
        sum(sessions.order_count) as order_count,
        sum(sessions.amount) as revenue
    from {{ ref('sessions') }} as sessions
    left join {{ ref('customers') }} as customers on sessions.user_id = customers.user_id
    group by
        sessions.session_date, sessions.channel, sessions.device_type,
        {{ customer_type('sessions.user_id', 'customers.first_order_at', 'sessions.session_date') }}

),

order_sums as (

    select
        order_date as event_date,
        count(*) as basket_count,
        {{ count_where('line_count > 1') }} as multi_item_basket_count,
        sum(amount) as basket_amount,
        {{ sum_where('amount', 'line_count > 1') }} as multi_item_basket_amount
    from {{ ref('orders') }}
    group by order_date

),

newcomers as (

    select
        {{ utc_date('first_event_at') }} as event_date,
        count(*) as new_user_count,
        0 as new_customer_count
    from {{ ref('customers') }}
    where first_event_at is not null
    group by {{ utc_date('first_event_at') }}

    union all

    select
        {{ utc_date('first_order_at') }} as event_date,
        0 as new_user_count,
        count(*) as new_customer_count
    from {{ ref('customers') }}
    where first_order_at is not null
    group by {{ utc_date('first_order_at') }}

),

sales as (

    select
        sales.event_date,
        items.category,
        sum(sales.unit_count) as unit_count,
        {{ sum_where('sales.revenue', 'items.cost is not null') }} as costed_revenue,
        coalesce(sum(sales.unit_count * items.cost), 0.0) as cost_of_goods,
        sum(sales.revenue) as revenue
    from {{ ref('int_items_daily') }} as sales
    left join {{ ref('stg_items') }} as items on sales.item_id = items.item_id
    where sales.unit_count > 0
    group by sales.event_date, items.category

),

-- one part for each pair of a table and a dimension; what it does not know adds nothing
parts as (

    {% for table, dimension, member, known in [
        ('sessions', 'all', "'all'", of_sessions),
        ('sessions', 'channel', 'channel', of_sessions),
        ('sessions', 'device_type', 'device_type', of_sessions),
        ('sessions', 'customer_type', 'customer_type', of_sessions),
        ('order_sums', 'all', "'all'", of_orders),
        ('newcomers', 'all', "'all'", ['new_user_count', 'new_customer_count']),
        (ref('daily_kpis'), 'all', "'all'", ['return_amount']),
        ('sales', 'all', "'all'", of_items),
        ('sales', 'category', 'category', of_items + ['revenue'])
    ] -%}
    select
        event_date,
        '{{ dimension }}' as dimension,
        {%- for name in measures %}
        {{ name if name in known else '0 as ' ~ name }},
        {%- endfor %}
        coalesce({{ member }}, 'unknown') as member
    from {{ table }}

    {% if not loop.last -%}
    union all

    {% endif -%}
    {% endfor %}
)

select
    -- strings
    dimension,
    member,

    -- numerics
    {%- for name, type in measures.items() %}
    cast(sum({{ name }}) as {{ type }}) as {{ name }},
    {%- endfor %}

    -- dates
    event_date
from parts
group by event_date, dimension, member
