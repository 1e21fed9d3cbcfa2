"""The arms of each campaign, added up from their contacts; revenue counts by when customers react."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import numpy as np
import pandas as pd

from feature_repo.layout import Home
from orchestration.marts import READER_CONFIG
from training.attribution import FEWEST_IN_ARM, Arm
from training.campaign_results import HELD_OUT, TREATED
from training.response_days import ArmDays, CausedDays, Counting, caused_days, countings, together

RESPONSE_DAYS = (0, 1, 2, 4)
"""As var `campaign_response_days` of the transforms."""

UNIT = ["event_date", "campaign_id", "channel"]
ARM_COLUMNS = (
    "user_count",
    "revenue",
    "revenue_squared",
    "prior_spend",
    "prior_spend_squared",
    "prior_spend_by_revenue",
)
VISITS = [f"visits_from_day_{day}" for day in RESPONSE_DAYS]
REVENUE = [f"revenue_from_day_{day}" for day in RESPONSE_DAYS]

DAY_SUMS = f"""
    select
        event_date, campaign_id, channel, arm, count(*) as user_count,
        {", ".join(f"sum({name}) as {name}" for name in VISITS + REVENUE)},
        {", ".join(f"sum({name} * {name}) as {name}_squared" for name in VISITS + REVENUE)}
    from read_parquet($contacts)
    group by all
"""
ARM_SUMS = f"""
    with counted as (
        select
            event_date, campaign_id, channel, arm, order_count, prior_spend,
            {" + ".join(f"contacts.{name} * counting.{name}" for name in VISITS + REVENUE)} as revenue
        from read_parquet($contacts) as contacts
        inner join counting using (channel)
    )
    select
        event_date, campaign_id, channel, arm, count(*) as user_count,
        count(*) filter (order_count > 0) as buyer_count,
        sum(revenue) as revenue, sum(revenue * revenue) as revenue_squared,
        sum(prior_spend) as prior_spend, sum(prior_spend * prior_spend) as prior_spend_squared,
        sum(prior_spend * revenue) as prior_spend_by_revenue
    from counted
    group by all
    order by all
"""


def campaign_arms(home: Home, counting: Mapping[str, Counting] | None = None) -> pd.DataFrame:
    """One row per day of sending, campaign, channel and arm: ARM_COLUMNS and `buyer_count`.

    `revenue` is counted by channel as `counting` says (default: as `response_countings` finds); channels that
    it does not name are left out.
    """
    counting = response_countings(home) if counting is None else counting
    names = ["channel", *VISITS, *REVENUE]
    rows = [[channel, *found.visits, *found.orders] for channel, found in counting.items()]
    with duckdb.connect(config=READER_CONFIG) as connection:
        connection.register("counting", pd.DataFrame(rows, columns=names).astype({"channel": "str"}))
        return connection.execute(ARM_SUMS, {"contacts": home.mart_glob("campaign_contacts")}).df()


def response_countings(home: Home) -> dict[str, Counting]:
    """How revenue counts in each channel that held customers out, by all campaigns so far."""
    with duckdb.connect(config=READER_CONFIG) as connection:
        sums = connection.execute(DAY_SUMS, {"contacts": home.mart_glob("campaign_contacts")}).df()
    sums = sums[sums["user_count"] >= FEWEST_IN_ARM]
    treated, held_out = (sums[sums["arm"] == arm].set_index(UNIT) for arm in (TREATED, HELD_OUT))
    caused: dict[str, list[CausedDays]] = {}
    for unit in treated.index.intersection(held_out.index).sort_values():
        days = caused_days(_days(treated.loc[unit]), _days(held_out.loc[unit]))
        caused.setdefault(str(unit[2]), []).append(days)
    return countings({channel: together(parts) for channel, parts in caused.items()})


def _days(row: pd.Series[float]) -> ArmDays:
    sums = (
        np.asarray(row[[name + ending for name in names]], dtype=np.float64)
        for names in (VISITS, REVENUE)
        for ending in ("", "_squared")
    )
    return ArmDays(int(row["user_count"]), *sums)


def added_up(rows: pd.DataFrame) -> dict[str, Arm]:
    """Arm -> its sums over these rows of `campaign_arms`."""
    totals = rows.groupby("arm")[list(ARM_COLUMNS)].sum()
    return {
        str(arm): Arm(int(row["user_count"]), *row[list(ARM_COLUMNS[1:])]) for arm, row in totals.iterrows()
    }
