"""How popular the items are that a customer buys, as of an instant.

What customers buy says whether they come back and what they spend, beyond how often and how much they bought:
those who share the taste of many find more in the shop. Measures of this kind are known as mainstreaminess
(Bauer & Schedl, PLoS ONE 2019). This one is the mean, over a customer's items and days, of the logarithm of
each item's buyers in the last `WINDOW_DAYS`, less the same mean over all customers: a level that the season
or the shop's growth moves does not count. Rounded, so that the order in which sums are taken does not show.
"""

from collections.abc import Collection
from datetime import datetime

import pandas as pd

from training.interactions import query_interactions

ITEM_POPULARITY = "item_popularity"
WINDOW_DAYS = 90

POPULARITY = f"""
with cutoffs as (select unnest($cutoffs::date[]) as day),
bought as (select user_id, item_id, event_date from read_parquet($files) where purchase_count > 0),
reached as (
    select day, item_id, ln(1 + count(distinct user_id)) as popularity
    from bought
    inner join cutoffs on event_date < day and event_date >= day - {WINDOW_DAYS}
    group by day, item_id
),
held as (
    select day, user_id, item_id, count(*) as times
    from bought
    inner join cutoffs on event_date < day
    group by day, user_id, item_id
),
summed as (
    select day, user_id, sum(times) as times, sum(times * coalesce(popularity, 0.0)) as popularity
    from held
    left join reached using (day, item_id)
    group by day, user_id
)
select
    user_id,
    cast(day as timestamptz) as cutoff,
    round(popularity / times - sum(popularity) over of_day / sum(times) over of_day, 6) as {ITEM_POPULARITY}
from summed
window of_day as (partition by day)
"""


def item_popularity(mart_glob: str, cutoffs: Collection[datetime]) -> pd.DataFrame:
    """One row per customer and cut-off (00:00 UTC) with a purchase before it.

    Columns `user_id`, `cutoff` and `item_popularity`, in units of ln(buyers) above the mean customer's item.
    Raises `MissingMart`.
    """
    days = sorted({each.date() for each in cutoffs})
    found: pd.DataFrame = query_interactions(mart_glob, POPULARITY, {"cutoffs": days}).to_pandas()
    return found
