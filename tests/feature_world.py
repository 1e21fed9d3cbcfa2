"""A tiny world of published feature rows, and the check that both stores of any home agree."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView

from feature_repo.definitions import VIEWS
from feature_repo.layout import Home
from feature_repo.offline_store import file_source, has_files, parquet, query, source_pattern
from feature_repo.predictions import arrow_schema, write_predictions
from feature_repo.store import EVENT_TIMESTAMP, OnlineReader
from feature_repo.user_features import user_behavior

DAY = timedelta(days=1)


def day(number: int) -> datetime:
    """00:00 UTC of a day in March 2024."""
    return datetime(2024, 3, number, tzinfo=UTC)


def publish(home: Home, view: FeatureView, at: datetime, rows: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write one file of a view's mart: for each id its fields, all as known from `at`; others are null."""
    schema = arrow_schema(view)
    columns = {
        field.name: pa.array([row.get(field.name) for row in rows.values()], field.type)
        for field in schema
        if field.name not in (view.join_keys[0], "feature_at")
    }
    table = pa.table({view.join_keys[0]: list(rows), "feature_at": [at] * len(rows), **columns})
    path = home.root / Path(file_source(view).path).parent / f"{at - DAY:%Y-%m-%d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.select(schema.names).cast(schema), path)
    return path


def user_row(orders: int, at: datetime, **more: Any) -> dict[str, Any]:
    """Behaviour of a user with this many orders, the last an hour and a fraction before `at`."""
    return {
        "order_count": orders,
        "order_day_count": min(orders, 2),
        "unit_count": orders * 1.1,
        "spend_total": orders * 10.1,
        "return_total": 0.0,
        "active_day_count": orders + 1,
        "order_gap_days_sum": 3.0 if orders > 1 else 0.0,
        "order_gap_days_sumsq": 9.0 if orders > 1 else 0.0,
        "first_event_at": datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC),
        "last_event_at": at - timedelta(hours=1, microseconds=1),
        "first_order_at": at - timedelta(days=3, hours=2) if orders else None,
        "last_order_at": at - timedelta(hours=1, microseconds=999_999) if orders else None,
        "spend_decay_7d": orders * 10.1 / 3,
        "recent_items": ["mug", "tea pot"],
        "recent_categories": [],
        **more,
    }


def make_world(root: Path) -> Home:
    """Users that come and go, one with an odd id, an item, predictions and candidates of two scorings."""
    home = Home(root)
    for number, users in ((2, {"anna": 1, "bert": 0}), (3, {"carl": 3}), (5, {"anna": 4, "o'neil ☃": 2})):
        rows = {user: user_row(orders, day(number)) for user, orders in users.items()}
        publish(home, user_behavior, day(number), rows)
    item = next(view for view in VIEWS if view.name == "item_behavior")
    prices = {"purchase_count": 3, "unit_count": 4.5, "last_price": 2.99, "last_sold_at": day(2) - DAY / 3}
    publish(home, item, day(2), {"mug": prices, "never sold": {"view_count": 9}})
    for number, users in ((3, ["anna"]), (5, ["anna", "bert"])):
        write_predictions(home, "user_predictions", predictions(users), day(number))
        write_predictions(home, "user_outlook", outlook(users), day(number))
        write_predictions(home, "user_candidates", candidates(users, day(number)), day(number))
    return home


def predictions(users: Sequence[str]) -> pa.Table:
    """A row of `user_predictions` for each user."""
    return pa.table(
        {
            "user_id": users,
            "clv_90d": [100.0 / (1 + place) for place in range(len(users))],
            "clv_90d_low": [0.0] * len(users),
            "clv_90d_high": [1e300] * len(users),
            "churn_probability": [0.1 + 0.2] * len(users),
            "value_segment": pa.array([None] * len(users), pa.string()),
            "clv_version": ["3"] * len(users),
            "churn_version": [""] * len(users),
        }
    )


def outlook(users: Sequence[str]) -> pa.Table:
    """A row of `user_outlook` for each user."""
    count = len(users)
    texts = ("next_category", "audience", "segment", "segment_before")
    return pa.table(
        {
            "user_id": users,
            "clv_horizons": [[40.0, 0.0, 90.0, 400.0, 50.0, 1200.0]] * count,
            "clv_parts": [[0.9, 2.0, 66.5]] * count,
            "churn_drivers": [["recent spend", "number of orders"]] * count,
            "churn_driver_effects": [[0.5, -0.25]] * count,
            "expected_saving": [1.5] * count,
            "next_order_days": pa.array([None] * count, pa.list_(pa.float32())),
            "due_items": pa.array([None, ["mug", "cup"]][-count:], pa.list_(pa.string())),
            "due_in_days": pa.array([None, [-1.5, 3.0]][-count:], pa.list_(pa.float32())),
            "price_habits": [[0.5, 0.125]] * count,
            **{name: pa.array([name] * count, pa.string()) for name in texts},
        }
    )


def candidates(users: Sequence[str], at: datetime) -> pa.Table:
    """A row of `user_candidates` for each user."""
    return pa.table(
        {
            "user_id": users,
            "item_ids": [["mug", "tea pot"]] * len(users),
            "scores": pa.array([[0.1, -3.4e38]] * len(users), pa.list_(pa.float32())),
            "algorithms": [["collaborative", "buy_again"]] * len(users),
            "seen": pa.array([[]] * len(users), pa.list_(pa.string())),
            "release_id": ["20240304-abc"] * len(users),
            "generated_at": [at + timedelta(seconds=1.75)] * len(users),
        }
    )


def assert_parity(store: FeatureStore, home: Home, sample: int, seed: int) -> dict[str, int]:
    """For sampled entities of every view, each online value equals the point-in-time value, exactly.

    The instant is the latest `feature_at` that is published. Works on any home that was applied and
    materialized to its end; how many entities were compared in each view.
    """
    reader = OnlineReader(store)
    compared = {}
    for view in VIEWS:
        pattern = source_pattern(home.root, file_source(view))
        if not has_files(pattern):
            continue
        key, fields = view.join_keys[0], [field.name for field in view.features]
        known = query(f'select distinct "{key}" as id from {parquet(pattern)} order by id')["id"].to_pylist()
        ids = random.Random(seed).sample(known, min(sample, len(known)))
        [end] = query(f"select max(feature_at) as at from {parquet(pattern)}")["at"].to_pylist()
        entities = pd.DataFrame({key: ids, EVENT_TIMESTAMP: pd.Timestamp(end)})
        refs = [f"{view.name}:{name}" for name in fields]
        offline = store.get_historical_features(entity_df=entities, features=refs).to_df()
        assert offline[key].tolist() == ids
        for (_, past), row in zip(offline.iterrows(), reader.read(view.name, ids, fields), strict=True):
            assert row is not None, f"{view.name} of {past[key]} is not online"
            if view.ttl and end - row["feature_at"] > view.ttl:
                row = dict.fromkeys(fields)
            different = {name: (row[name], past[name]) for name in fields if not same(row[name], past[name])}
            assert not different, f"{view.name} of {past[key]}: (online, point in time) {different}"
        compared[view.name] = len(ids)
    reader.close()
    return compared


def same(online: Any, past: Any) -> bool:
    """Whether an online value and one of a frame are equal; missing equals missing."""
    if isinstance(past, np.ndarray):
        return online is not None and np.array_equal(np.asarray(online, dtype=past.dtype), past)
    if past is None or pd.isna(past):
        return online is None
    return bool(online == past)
