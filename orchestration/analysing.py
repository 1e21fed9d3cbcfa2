"""What the analysis assets work out from the published marts, written as small Parquet for the service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.layout import Home
from orchestration.campaign_arms import UNIT, added_up, campaign_arms
from orchestration.errors import NothingToDo
from orchestration.marts import current_manifest
from orchestration.parquet_files import write_atomically
from training.attribution import count_transitions, incremental_revenue, removal_effects, shares
from training.campaign_results import HELD_OUT, TREATED, campaign_result
from training.errors import NotEnoughData

JOURNEY_DAYS = 90
CAMPAIGN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
WINDOW_DAYS = 30
"""As var `attribution_window_days` of the transforms."""

CREDIT_SCHEMA = pa.schema(
    [
        pa.field("channel", pa.string(), nullable=False),
        pa.field("removal_effect", pa.float64(), nullable=False),
        pa.field("share", pa.float64(), nullable=False),
        pa.field("revenue", pa.float64(), nullable=False),
        pa.field("first_date", pa.date32(), nullable=False),
        pa.field("last_date", pa.date32(), nullable=False),
    ]
)
"""One row per channel: its removal effect over the journeys of the last 90 days, its share of all effects,
and that share of the revenue of the orders with a touch."""

EFFECTS_SCHEMA = pa.schema(
    [
        pa.field("event_date", pa.date32(), nullable=False),
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("treated_users", pa.int64(), nullable=False),
        pa.field("held_out_users", pa.int64(), nullable=False),
        pa.field("incremental_revenue", pa.float64(), nullable=False),
        pa.field("variance", pa.float64(), nullable=False),
    ]
)
"""One row per campaign and day of sending with a held-out arm: what it earned in the window after, over what
its customers spend anyway. Rows, and variances, may be added."""

RESULTS_SCHEMA = pa.schema(
    [
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("first_date", pa.date32(), nullable=False),
        pa.field("last_date", pa.date32(), nullable=False),
        pa.field("treated_users", pa.int64(), nullable=False),
        pa.field("held_out_users", pa.int64(), nullable=False),
        pa.field("treated_conversion", pa.float64(), nullable=False),
        pa.field("held_out_conversion", pa.float64(), nullable=False),
        pa.field("conversion_difference", pa.float64(), nullable=False),
        pa.field("conversion_low", pa.float64(), nullable=False),
        pa.field("conversion_high", pa.float64(), nullable=False),
        pa.field("conversion_always_low", pa.float64()),
        pa.field("conversion_always_high", pa.float64()),
        pa.field("p_value", pa.float64(), nullable=False),
        pa.field("incremental_revenue", pa.float64(), nullable=False),
        pa.field("revenue_low", pa.float64(), nullable=False),
        pa.field("revenue_high", pa.float64(), nullable=False),
        pa.field("is_ratio_as_planned", pa.bool_()),
    ]
)
"""One row per campaign and channel with a held-out arm, over all days of sending whose window is over."""

MESSAGE_DAYS = 7
"""As var `campaign_window_days` of the transforms."""


def analyse_attribution(home: Home) -> dict[str, Any]:
    """Writes `channel_credit`, `campaign_effects` and `campaign_results`. Raises NothingToDo."""
    manifest = current_manifest(home)
    if manifest is None or manifest.data_until is None:
        raise NothingToDo("no tables are published; materialize transforms/marts first.")
    credit = channel_credit(home)
    arms = campaign_arms(home)
    effects = campaign_effects(arms)
    write_atomically(home.analysis("channel_credit"), credit)
    write_atomically(home.analysis("campaign_effects"), effects)
    results = campaign_results(home, arms, manifest.data_until)
    write_atomically(home.analysis("campaign_results"), results)
    return {
        "channels": credit.num_rows,
        "campaigns": effects.num_rows,
        "campaigns_measured": results.num_rows,
        "incremental_revenue": round(sum(effects["incremental_revenue"].to_pylist()), 2),
    }


def channel_credit(home: Home) -> pa.Table:
    """The Markov credit of the last 90 days; empty where no journey ends in an order."""
    manifest = current_manifest(home)
    assert manifest is not None and manifest.data_until is not None
    last = manifest.data_until
    first = last - timedelta(days=JOURNEY_DAYS - 1)
    touches = _days(home, "touchpoints", first, ["visitor_id", "channel", "touched_at"])
    orders = _days(home, "orders", first, ["visitor_id", "ordered_at"])
    chain = count_transitions(
        touches.assign(at=_micros(touches["touched_at"])),
        orders.assign(at=_micros(orders["ordered_at"])),
        WINDOW_DAYS,
    )
    try:
        effects = removal_effects(chain)
    except NotEnoughData:
        return CREDIT_SCHEMA.empty_table()
    credited = pq.read_table(
        home.mart("attribution_daily"),
        columns=["linear_revenue"],
        filters=[("event_date", ">=", first), ("channel", "!=", "none")],
    )
    revenue = sum(credited["linear_revenue"].to_pylist())
    return pa.Table.from_pylist(
        [
            {
                "channel": channel,
                "removal_effect": effects[channel],
                "share": share,
                "revenue": share * revenue,
                "first_date": first,
                "last_date": last,
            }
            for channel, share in shares(effects).items()
        ],
        CREDIT_SCHEMA,
    )


def campaign_effects(arms: pd.DataFrame) -> pa.Table:
    """The incremental revenue of each campaign with a held-out arm, from rows of `campaign_arms`."""
    return pa.Table.from_pylist(list(_effects(arms)), EFFECTS_SCHEMA)


def _effects(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for (day, campaign, channel), of_campaign in rows.groupby(UNIT, sort=True):
        arms = added_up(of_campaign)
        try:
            effect = incremental_revenue(arms[TREATED], arms[HELD_OUT])
        except (KeyError, NotEnoughData):
            continue
        yield {
            "event_date": day,
            "campaign_id": campaign,
            "channel": channel,
            "treated_users": arms[TREATED].users,
            "held_out_users": arms[HELD_OUT].users,
            "incremental_revenue": effect.incremental_revenue,
            "variance": effect.variance,
        }


def campaign_results(home: Home, rows: pd.DataFrame, data_until: date) -> pa.Table:
    """What each campaign caused, over the days of sending whose window is over by then."""
    closed = rows[
        pd.to_datetime(rows["event_date"]) <= pd.Timestamp(data_until - timedelta(days=MESSAGE_DAYS))
    ]
    results = []
    for (campaign, channel), days in closed.groupby(["campaign_id", "channel"], sort=True):
        buyers = {str(arm): int(count) for arm, count in days.groupby("arm")["buyer_count"].sum().items()}
        found = campaign_result(added_up(days), buyers, planned_share(home, str(campaign)))
        if found is not None:
            span = {"first_date": days["event_date"].min(), "last_date": days["event_date"].max()}
            results.append({"campaign_id": campaign, "channel": channel, **span, **found})
    return pa.Table.from_pylist(results, RESULTS_SCHEMA)


def planned_share(home: Home, campaign: str) -> float | None:
    """The control share of our own campaign's plans, if it was one share all the time."""
    if not CAMPAIGN_NAME.fullmatch(campaign):  # an event may name anything, and this becomes a folder
        return None
    plans = list((home.campaign_runs / campaign).glob("*.parquet"))
    shares = {
        share for path in plans for share in pq.read_table(path, columns=["control_share"])[0].to_pylist()
    }
    return shares.pop() if len(shares) == 1 else None


def _days(home: Home, mart: str, first: Any, columns: list[str]) -> pd.DataFrame:
    """These columns of the files of a mart's days from `first` on."""
    files = sorted(path for path in home.mart(mart).glob("*.parquet") if _is_since(path, first))
    tables = [pq.read_table(path, columns=columns, partitioning=None) for path in files]
    return pa.concat_tables(tables).to_pandas() if tables else pd.DataFrame(columns=columns)


def _is_since(path: Path, first: Any) -> bool:
    # A mart without rows has one empty file, whose name is no day; it sorts after the days and does no harm.
    return path.stem >= str(first)


def _micros(instants: pd.Series) -> pd.Series:
    return pd.to_datetime(instants, utc=True).dt.as_unit("us").astype("int64")
