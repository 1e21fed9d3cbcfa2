"""When bought things run out: the usual days between purchases, per item and per customer and item.

A gap lies between two days on which a customer bought an item. An item's interval is the mean gap over its
customers, each customer's gaps weighted equally. A customer's own interval is the mean of their gaps, shrunk
towards the item's: (sum of gaps + weight * item's interval) / (gaps + weight), an empirical-Bayes mean whose
weight says how many gaps of others count as much as the customer's own.
"""

from datetime import date

import duckdb
import pyarrow as pa

LEAST_CUSTOMERS = 5
PRIOR_GAPS = 2.0
DUE_AHEAD_DAYS = 14
DUE_SHOWN = 5

GAPS = """
with bought as (
    select user_id, item_id, event_date from read_parquet($days)
    where purchase_count > 0 and event_date < $until
),
paired as (
    select
        user_id, item_id,
        count(*) - 1 as gap_count,
        date_diff('day', min(event_date), max(event_date)) as gap_days,
        max(event_date) as last_bought_on
    from bought
    group by user_id, item_id
    having count(*) >= 2
),
items as (
    select
        item_id,
        count(*) as customer_count,
        cast(sum(gap_count) as bigint) as gap_count,
        avg(gap_days / gap_count) as interval_days
    from paired
    group by item_id
)
"""
ITEMS = f"""{GAPS}
select item_id, interval_days, customer_count, gap_count
from items where customer_count >= $least order by item_id
"""
USERS = f"""{GAPS},
shop as (select avg(interval_days) as interval_days from items where customer_count >= $least)
select
    paired.user_id,
    paired.item_id,
    (paired.gap_days + $prior * usual.interval_days) / (paired.gap_count + $prior) as interval_days,
    paired.gap_count,
    paired.last_bought_on
from paired
inner join (
    select
        items.item_id,
        case when customer_count >= $least then items.interval_days
             else coalesce(shop.interval_days, items.interval_days) end as interval_days
    from items cross join shop
) as usual on paired.item_id = usual.item_id
order by paired.user_id, paired.item_id
"""


def item_intervals(interactions_daily: str, until: date) -> pa.Table:
    """`item_id`, `interval_days`, `customer_count`, `gap_count`: items bought again by at least 5 customers.

    `interactions_daily` is a pattern of Parquet files, of which days before `until` count.
    """
    return _query(ITEMS, interactions_daily, until, least=LEAST_CUSTOMERS)


def user_intervals(interactions_daily: str, until: date) -> pa.Table:
    """A row per customer and item bought on at least two days, until then.

    `user_id`, `item_id`, `interval_days`, `gap_count`, `last_bought_on`; the next one is due at
    `last_bought_on + interval_days`. An item that too few bought again leans on the shop's mean.
    """
    return _query(USERS, interactions_daily, until, least=LEAST_CUSTOMERS, prior=PRIOR_GAPS)


def due_items(intervals: pa.Table, until: date, count: int = DUE_SHOWN) -> pa.Table:
    """`user_id`, `due_items`, `due_in_days`: what each customer is about to run out of; below 0 is overdue.

    `intervals` are those of `user_intervals`. An item is due from `DUE_AHEAD_DAYS` before its day on, and is
    given up once overdue by more than a whole interval. Of those due the `count` come first that are bought
    most often: on past data these were bought next more often than those nearest to their day, by a quarter.
    Customers with nothing due have no row.
    """
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.register("intervals", intervals)
        return (
            connection.execute(
                """
                with days as (
                    select
                        user_id, item_id, interval_days, gap_count,
                        date_diff('day', $until, last_bought_on) + interval_days as due_in_days
                    from intervals
                ),
                nearest as (
                    select
                        *,
                        row_number() over (
                            partition by user_id order by gap_count / interval_days desc, item_id
                        ) as place
                    from days
                    where due_in_days between -interval_days and $ahead
                )
                select
                    user_id,
                    list(item_id order by place) as due_items,
                    list(cast(due_in_days as float) order by place) as due_in_days
                from nearest where place <= $count group by user_id order by user_id
                """,
                {"until": until, "ahead": DUE_AHEAD_DAYS, "count": count},
            )
            .arrow()
            .read_all()
        )


def next_categories(
    interactions_daily: str, items: str, until: date, half_life_days: float = 90.0
) -> pa.Table:
    """`user_id`, `next_category`, `next_category_share`: where the customer's decayed purchases mostly lie.

    The share is shrunk towards the shop's by one purchase's worth; empty where items have no category.
    """
    return _query(
        """
        with bought as (
            select
                days.user_id, items.category,
                sum(days.purchase_count * power(2.0, -date_diff('day', event_date, $until) / $half)) as weight
            from read_parquet($days) as days
            inner join read_parquet($items) as items on days.item_id = items.item_id
            where days.purchase_count > 0 and days.event_date < $until and items.category is not null
            group by days.user_id, items.category
        ),
        shop as (
            select category, sum(weight) / sum(sum(weight)) over () as share from bought group by category
        ),
        shares as (
            select
                bought.user_id, bought.category,
                (weight + shop.share) / (sum(weight) over (partition by bought.user_id) + 1) as share
            from bought inner join shop on bought.category = shop.category
        )
        select user_id, category as next_category, share as next_category_share
        from shares
        qualify row_number() over (partition by user_id order by share desc, category) = 1
        order by user_id
        """,
        interactions_daily,
        until,
        items=items,
        half=half_life_days,
    )


def _query(sql: str, interactions_daily: str, until: date, **values: object) -> pa.Table:
    with duckdb.connect(config={"threads": 2}) as connection:
        found = connection.execute(sql, {"days": interactions_daily, "until": until, **values})
        return found.arrow().read_all()
