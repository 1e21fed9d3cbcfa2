"""What is expected of every customer beyond value and churn, put together from the models and the tables.

Value over further horizons and its parts, why somebody may leave and what keeping them would save, when and
where the next order comes, what is due, prices, the segment and whether they moved. One row per scored
customer goes to the view `user_outlook`; lists for campaigns and for whoever reads files go beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.layout import Home
from feature_repo.loyalty import LoyaltyRules
from orchestration.data import Data
from orchestration.settings import Settings
from training.artifacts import Release
from training.churn import read_churn
from training.clusters import Clusters, find_clusters, moves, read_clusters, write_clusters
from training.clv import read_clv
from training.drivers import churn_contributions
from training.errors import NotEnoughData
from training.horizons import score_horizons
from training.next_purchase import read_next_purchase, score_next_purchase
from training.prevention import audience, expected_saving, retention_list
from training.price_sensitivity import estimate_elasticities, price_habits
from training.replenishment import due_items, item_intervals, next_categories, user_intervals

VIEW = "user_outlook"
DRIVERS_SHOWN = 3
CLV_HORIZONS = ("clv_30d", "clv_30d_low", "clv_30d_high", "clv_365d", "clv_365d_low", "clv_365d_high")
CLV_PARTS = ("p_alive", "expected_orders_90d", "expected_order_value")
NEXT_ORDER = ("next_order_days", "next_order_days_low", "next_order_days_high")
PRICE_HABITS = ("price_level", "discount_share")


@dataclass(frozen=True)
class Outlook:
    """`rows`: columns of the view without its instant. `tables`: further files by name.

    `clusters` is None where there are too few customers; `moved` counts who changed their segment.
    """

    rows: pa.Table
    tables: dict[str, pa.Table]
    clusters: Clusters | None
    moved: pd.DataFrame


def build_outlook(
    data: Data, settings: Settings, release: Release, frame: pd.DataFrame, values: pd.DataFrame
) -> Outlook:
    """From the scoring frame and the values of the same customers in the same order."""
    home, until = data.home, data.as_of.date()
    days, items = home.mart_glob("interactions_daily"), home.mart_glob("items")
    habits = price_habits(days, items, until)
    categories = next_categories(days, items, until).to_pandas()
    columns = pd.DataFrame({"user_id": frame["user_id"]})
    intervals = user_intervals(days, until)
    for known in (habits, categories, due_items(intervals, until).to_pandas()):
        columns = columns.merge(known, on="user_id", how="left", validate="one_to_one")
    columns = columns.assign(**_value(release, frame), **_next_order(release, frame))
    rules = LoyaltyRules()
    orders = zip(frame["order_count"], frame["orders_decay_90d"], strict=True)
    tiers = np.array([rules.tier(ever, recent) or "" for ever, recent in orders], dtype=object)
    churn = values["churn_probability"].to_numpy(dtype=np.float64)
    columns["expected_saving"] = expected_saving(
        churn, values["clv_90d"], 1.0 - churn, settings.retention_offer
    )
    columns["audience"] = audience(values["value_segment"].to_numpy(dtype=object), tiers)
    clusters = _clusters(home, settings, frame, columns)
    before = segments_before(home, data)
    columns["segment"] = None if clusters is None else clusters.assign(cluster_frame(frame, columns))
    columns["segment_before"] = columns["user_id"].map(before)
    names, effects = _drivers(release, frame)
    rows = pa.table(
        {
            "user_id": pa.array(columns["user_id"], pa.string()),
            "clv_horizons": _packed(columns, CLV_HORIZONS),
            "clv_parts": _packed(columns, CLV_PARTS),
            "churn_drivers": pa.array(names, pa.list_(pa.string())),
            "churn_driver_effects": pa.array(effects, pa.list_(pa.float32())),
            "expected_saving": pa.array(columns["expected_saving"], pa.float64(), from_pandas=True),
            "next_order_days": _packed(columns, NEXT_ORDER),
            "due_items": pa.array(columns["due_items"], pa.list_(pa.string()), from_pandas=True),
            "due_in_days": pa.array(columns["due_in_days"], pa.list_(pa.float32()), from_pandas=True),
            "price_habits": _packed(columns, PRICE_HABITS),
            **{
                name: pa.array(columns[name], pa.string(), from_pandas=True)
                for name in ("next_category", "audience", "segment", "segment_before")
            },
        }
    )
    moved = moves(before, columns.set_index("user_id")["segment"])
    listed = values[["churn_probability", "clv_90d"]].join(
        columns[["user_id", "audience", "expected_saving"]]
    )
    elasticities = estimate_elasticities(str(home.events / "*" / "*.parquet"), items, data.as_of)
    tables = {
        "retention_list": pa.Table.from_pandas(retention_list(listed), preserve_index=False),
        "item_replenishment": item_intervals(days, until),
        "user_replenishment": intervals,
        "category_elasticity": pa.Table.from_pandas(elasticities.categories, preserve_index=False),
        "segment_moves": pa.Table.from_pandas(moved, preserve_index=False),
    }
    return Outlook(rows, tables, clusters, moved)


def cluster_frame(frame: pd.DataFrame, columns: pd.DataFrame) -> pd.DataFrame:
    """The columns of `training.clusters` for each row of a scoring frame."""
    tenure = np.maximum(frame["tenure_days"].to_numpy(dtype=np.float64), 30.0)
    return frame[["order_day_count", "mean_order_value", "inactivity_days", "events_decay_90d"]].assign(
        order_rate=30.0 * frame["order_day_count"].to_numpy(dtype=np.float64) / tenure,
        item_count=columns["item_count"].to_numpy(dtype=np.float64),
        price_level=columns["price_level"].to_numpy(dtype=np.float64),
        discount_share=columns["discount_share"].to_numpy(dtype=np.float64),
    )


def segments_before(home: Home, data: Data) -> pd.Series:
    """Each customer's segment in the latest outlook before this instant; empty before the first."""
    files = sorted(home.prediction(VIEW).glob("*.parquet"))
    earlier = [path for path in files if path.stem < f"{data.as_of:%Y-%m-%d}"]
    if not earlier:
        return pd.Series(dtype=object)
    table = pq.read_table(earlier[-1], columns=["user_id", "segment"])
    return pd.Series(table["segment"].to_pylist(), index=table["user_id"].to_pylist(), dtype=object)


def keep_clusters(home: Home, outlook: Outlook) -> None:
    """The segments that later runs measure moves against."""
    if outlook.clusters is not None:
        write_clusters(outlook.clusters, home.segments_file)


def _clusters(home: Home, settings: Settings, frame: pd.DataFrame, columns: pd.DataFrame) -> Clusters | None:
    try:
        return find_clusters(cluster_frame(frame, columns), settings.seed, read_clusters(home.segments_file))
    except NotEnoughData:
        return None


def _value(release: Release, frame: pd.DataFrame) -> dict[str, Any]:
    wanted = (*CLV_HORIZONS, *CLV_PARTS)
    if release.clv_dir is None:
        return dict.fromkeys(wanted, np.nan)
    scored = score_horizons(read_clv(release.clv_dir), frame)
    return {name: scored[name].to_numpy() for name in wanted}


def _next_order(release: Release, frame: pd.DataFrame) -> dict[str, Any]:
    if release.next_purchase_dir is None:
        return dict.fromkeys(NEXT_ORDER, np.nan)
    scored = score_next_purchase(read_next_purchase(release.next_purchase_dir), frame)
    return {name: scored[name].to_numpy() for name in NEXT_ORDER}


def _drivers(
    release: Release, frame: pd.DataFrame
) -> tuple[list[list[str] | None], list[list[float] | None]]:
    if release.churn_dir is None:
        return [None] * len(frame), [None] * len(frame)
    found = churn_contributions(read_churn(release.churn_dir).purchase, frame).top(DRIVERS_SHOWN)
    return [names for names, _ in found], [effects for _, effects in found]


def _packed(columns: pd.DataFrame, names: tuple[str, ...]) -> pa.Array:
    """One list per row; null where any of its numbers is unknown."""
    numbers: npt.NDArray[np.float64] = columns[list(names)].to_numpy(dtype=np.float64)
    rows = [row if all(map(isfinite, row)) else None for row in numbers.tolist()]
    return pa.array(rows, pa.list_(pa.float32()))
