"""Point-in-time frames of customers, with labels.

One row per customer and cut-off T, for customers with an order before T. Features come from Feast, joined as
of T, and from `derive_user` at T; labels cover the days [T, T + horizon). Past and future money are read from
the `user_daily` mart, whose days never mix what happened before midnight with what happened after (an order
that runs past midnight would).

Spend is purchases at the price paid, before returns: a return within the window may belong to an order from
before it, so netting would mix two windows.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from feast import FeatureStore

from feature_repo.derived import derive_user
from feature_repo.entities import USER_ID
from feature_repo.store import EVENT_TIMESTAMP, retrieve
from training.errors import MissingMart, NotEnoughData
from training.interactions import MART as INTERACTIONS
from training.item_popularity import item_popularity

MART = "user_daily"
CUTOFF = "cutoff"
SPEND_NEXT = "spend_next"
ORDERS_NEXT = "orders_next"
DAYS_TO_NEXT = "days_to_next_order"
LABELS = (SPEND_NEXT, ORDERS_NEXT, DAYS_TO_NEXT)
SPEND_LAST_90D = "spend_last_90d"
BASELINE_WINDOW_DAYS = 90
DEFAULT_SERVICE = "clv_v1"


def customer_frame(
    store: FeatureStore,
    marts: Path,
    cutoffs: Sequence[datetime],
    horizon_days: int,
    service: str = DEFAULT_SERVICE,
) -> pd.DataFrame:
    """Features and labels, one row per customer and cut-off, in order of cut-off and user id.

    Columns: `user_id`, `cutoff` (UTC instant), the service's fields and `DERIVED_USER_FEATURES` as of the
    cut-off, `item_popularity` of what they bought, `spend_last_90d` (for a baseline), and the labels
    `spend_next` (currency units), `orders_next` (order days' orders) and `days_to_next_order` (whole days
    from the cut-off to the first order day of the horizon, NaN if it has none). `marts` is the folder of the
    published marts.

    Raises `MissingMart`, and `NotEnoughData` if nobody had ordered before the cut-offs or if the marts end
    before the last label window does.
    """
    if not cutoffs:
        raise NotEnoughData("cut-offs", 0, 1, "hand in at least one cut-off")
    last = max(cutoffs) + timedelta(days=horizon_days)
    until = data_range(marts)[1]
    if until + timedelta(days=1) < last:
        raise NotEnoughData(
            f"days of labels after cut-off {max(cutoffs):%Y-%m-%d}",
            max((until + timedelta(days=1) - max(cutoffs)).days, 0),
            horizon_days,
            "use an earlier cut-off",
        )
    customers = _customers(marts, cutoffs, horizon_days)
    return with_features(store, _with_item_popularity(marts, customers, cutoffs), service)


def known_at(frame: pd.DataFrame, at: datetime, horizon_days: int) -> pd.DataFrame:
    """The rows with their labels as they were known at `at`.

    Where the label window had not ended, an order after `at` has not happened and the spend is unknown (NaN).
    """
    elapsed = (at - frame[CUTOFF]).dt.days
    is_open = elapsed < horizon_days
    happened = frame[DAYS_TO_NEXT] < elapsed
    return frame.assign(
        **{
            SPEND_NEXT: frame[SPEND_NEXT].where(~is_open),
            ORDERS_NEXT: frame[ORDERS_NEXT].where(~is_open, happened.astype(np.int64)),
            DAYS_TO_NEXT: frame[DAYS_TO_NEXT].where(~is_open | happened),
        }
    )


def scoring_frame(
    store: FeatureStore, marts: Path, at: datetime, service: str = DEFAULT_SERVICE
) -> pd.DataFrame:
    """The same without labels: every customer with an order before `at`. `at` is 00:00 UTC."""
    customers = _customers(marts, [at], 0).drop(columns=list(LABELS))
    return with_features(store, _with_item_popularity(marts, customers, [at]), service)


def data_range(marts: Path) -> tuple[datetime, datetime]:
    """The first and the last day of `user_daily`, as their 00:00 UTC."""
    first, last = _query(
        marts,
        "select cast(min(event_date) as timestamp) as first, cast(max(event_date) as timestamp) as last"
        " from days",
    ).iloc[0]
    if pd.isna(first):
        raise NotEnoughData("days with events of known customers", 0, 1, "land days with events")
    return (
        pd.Timestamp(first).tz_localize("UTC").to_pydatetime(),
        pd.Timestamp(last).tz_localize("UTC").to_pydatetime(),
    )


def realized(marts: Path, at: datetime, horizon_days: int) -> pd.DataFrame:
    """What every customer with an order before `at` did in the horizon from it: `spend_next`, `orders_next`.

    Raises `NotEnoughData` if nobody had ordered by then.
    """
    return _customers(marts, [at], horizon_days)


def last_orders(marts: Path, cutoffs: Sequence[datetime]) -> pd.DataFrame:
    """When each customer last ordered before each cut-off, from the daily mart alone.

    Columns `user_id`, `cutoff`, `last_order_days`: whole days from the end of that day to the cut-off.
    """
    frame = _query(
        marts,
        """
        with cutoffs as (select unnest($cutoffs::date[]) as day)
        select
            user_id,
            cast(day as timestamp) as cutoff,
            cast(date_diff('day', max(event_date), day) - 1 as double) as last_order_days
        from days
        inner join cutoffs on event_date < day
        where order_count > 0
        group by user_id, day
        """,
        cutoffs=sorted({each.date() for each in cutoffs}),
    )
    frame[CUTOFF] = _instants(frame[CUTOFF])
    return frame


def frame_hash(frame: pd.DataFrame) -> str:
    """Sixteen hex digits that name a frame's contents; equal frames, in any column order, hash alike."""
    ordered = frame.reindex(columns=sorted(frame.columns))
    rows = pd.util.hash_pandas_object(ordered, index=False).to_numpy()
    return sha256(",".join(ordered.columns).encode() + rows.tobytes()).hexdigest()[:16]


def with_features(
    store: FeatureStore, customers: pd.DataFrame, service: str = DEFAULT_SERVICE
) -> pd.DataFrame:
    """The rows of `customers` (`user_id`, `cutoff`, any others) with features as of their cut-offs.

    In order of cut-off and user id; who was not known by then is left out.
    """
    entities = customers[[USER_ID, CUTOFF]].rename(columns={CUTOFF: EVENT_TIMESTAMP})
    known = retrieve(store, service, entities)
    known = known.rename(columns={EVENT_TIMESTAMP: CUTOFF})
    derived = pd.DataFrame(
        derive_user({str(name): known[name] for name in known}, known[CUTOFF]), index=known.index
    )
    keep = [name for name in known.columns if name not in derived.columns]
    features = pd.concat([known[keep], derived], axis=1)
    features[CUTOFF] = _instants(features[CUTOFF])
    joined = features.merge(customers, on=[USER_ID, CUTOFF], how="inner", validate="one_to_one")
    return joined.sort_values([CUTOFF, USER_ID], ignore_index=True)


def _customers(marts: Path, cutoffs: Sequence[datetime], horizon_days: int) -> pd.DataFrame:
    """Who had ordered before each cut-off, what they spent in the 90 days before it and do in the horizon."""
    dates = sorted({each.date() for each in cutoffs})
    if any(each != datetime(each.year, each.month, each.day, tzinfo=each.tzinfo) for each in cutoffs):
        raise ValueError(f"cut-offs are instants at 00:00 UTC, got {[str(each) for each in cutoffs]}")
    frame = _query(
        marts,
        f"""
        with cutoffs as (select unnest($cutoffs::date[]) as day),
        bought as (
            select user_id, event_date, spend, order_count from days where purchase_line_count > 0
        )
        select
            bought.user_id,
            cast(cutoffs.day as timestamp) as cutoff,
            coalesce(sum(spend) filter (
                event_date < day and event_date >= day - {BASELINE_WINDOW_DAYS}
            ), 0.0) as {SPEND_LAST_90D},
            coalesce(sum(spend) filter (event_date >= day), 0.0) as {SPEND_NEXT},
            cast(coalesce(sum(order_count) filter (event_date >= day), 0) as bigint) as {ORDERS_NEXT},
            cast(min(event_date) filter (event_date >= day) - day as double) as {DAYS_TO_NEXT}
        from bought
        inner join cutoffs on bought.event_date < cutoffs.day + $horizon
        group by 1, 2, cutoffs.day
        having min(event_date) < cutoffs.day
        order by 2, 1
        """,
        cutoffs=dates,
        horizon=horizon_days,
    )
    if frame.empty:
        raise NotEnoughData("customers with an order before the cut-offs", 0, 1, "use later cut-offs")
    frame[CUTOFF] = _instants(frame[CUTOFF])
    return frame


def _with_item_popularity(marts: Path, customers: pd.DataFrame, cutoffs: Sequence[datetime]) -> pd.DataFrame:
    found = item_popularity(str(marts / INTERACTIONS / "*.parquet"), cutoffs)
    return customers.merge(found, on=[USER_ID, CUTOFF], how="left", validate="one_to_one")


def _query(marts: Path, sql: str, **parameters: object) -> pd.DataFrame:
    pattern = str(marts / MART / "*.parquet")
    with duckdb.connect(config={"threads": 2}) as connection:
        try:
            connection.read_parquet(pattern).create_view("days")
            return connection.execute(sql, parameters or None).df()
        except duckdb.IOException as error:
            raise MissingMart(MART, f"cannot be read at {pattern}: {error}") from error
        except duckdb.BinderException as error:
            raise MissingMart(MART, f"lacks a column: {error}") from error


def _instants(column: pd.Series) -> pd.Series:
    return pd.to_datetime(column, utc=True).dt.as_unit("us")


def fold_days(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Each row's cut-off as days since 1970."""
    return np.asarray(
        _instants(frame[CUTOFF]).dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype(np.int64)
        / 86_400_000_000
    )
