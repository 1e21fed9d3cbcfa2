"""A home that can be served: six items, two customers and a newcomer, real files and a real online store."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView

from feature_repo.layout import Home
from feature_repo.materialization import materialize
from feature_repo.store import apply_definitions, open_store
from feature_repo.user_features import user_behavior, user_candidates, user_outlook, user_predictions
from tests.fakes import CATALOGUE, tiny_factors, tiny_popularity, tiny_relations
from training.artifacts import point_to_release, write_release

FEATURE_AT = datetime(2024, 2, 1, tzinfo=UTC)
ARROW_TYPES = {
    "String": pa.string(),
    "Int64": pa.int64(),
    "Float64": pa.float64(),
    "UnixTimestamp": pa.timestamp("us", tz="UTC"),
    "Array(String)": pa.list_(pa.string()),
    "Array(Float32)": pa.list_(pa.float32()),
}
BEHAVIOUR = {
    "feature_at": FEATURE_AT,
    "order_count": 3,
    "order_day_count": 3,
    "unit_count": 10.0,
    "spend_total": 250.0,
    "return_total": 0.0,
    "active_day_count": 5,
    "order_gap_days_sum": 20.0,
    "order_gap_days_sumsq": 200.0,
    "orders_decay_90d": 2.0,
    "first_event_at": datetime(2024, 1, 2, 10, tzinfo=UTC),
    "last_event_at": datetime(2024, 1, 31, 9, tzinfo=UTC),
    "first_order_at": datetime(2024, 1, 2, 11, tzinfo=UTC),
    "last_order_at": datetime(2024, 1, 22, 9, tzinfo=UTC),
    "recent_items": ["mug"],
    "recent_categories": ["kitchen"],
}
NEWCOMER = {"feature_at": FEATURE_AT, "recent_items": ["cup"], "recent_categories": ["kitchen"]}
CANDIDATES = {
    "feature_at": FEATURE_AT,
    "item_ids": ["mug", "lamp", "pot"],
    "scores": [0.9, 0.5, 0.4],
    "algorithms": ["collaborative", "buy_again", "collaborative"],
    "seen": ["lamp"],
    "release_id": "20240131-candidates",
    "generated_at": FEATURE_AT,
}
PREDICTIONS = {
    "feature_at": FEATURE_AT,
    "clv_90d": 120.0,
    "clv_90d_low": 20.0,
    "clv_90d_high": 300.0,
    "churn_probability": 0.25,
    "value_segment": "low",
}


OUTLOOK = {
    "clv_horizons": [40.0, 0.0, 90.0, 400.0, 50.0, 1200.0],
    "clv_parts": [0.9, 2.0, 66.7],
    "churn_drivers": ["late by the own rhythm"],
    "churn_driver_effects": [0.5],
    "next_order_days": [20.0, 3.0, 120.0],
    "segment": "frequent, engaged",
}


def make_home(root: Path, redis_url: str | None = None, extra_customers: Sequence[str] = ()) -> Home:
    """A home with a release and an online store; `extra_customers` get the candidates of the first."""
    home = Home(root)
    put_release(home, "first")
    known = ["anna", "bert", *extra_customers]
    behaviour = {"anna": BEHAVIOUR, "bert": BEHAVIOUR, "newcomer": NEWCOMER}
    _publish(home.root / "marts" / "current" / "user_features", user_behavior, behaviour)
    _publish(home.prediction("user_candidates"), user_candidates, dict.fromkeys(known, CANDIDATES))
    _publish(home.prediction("user_predictions"), user_predictions, {"anna": PREDICTIONS})
    _publish(home.prediction("user_outlook"), user_outlook, {"anna": OUTLOOK})
    store = open_store(home, redis_url)
    apply_definitions(store)
    materialize(store, home, None, FEATURE_AT)
    return home


def put_release(home: Home, code_version: str, is_current: bool = True) -> str:
    """Write a release that differs from others by its code version; its id."""
    manifest = write_release(
        home.releases,
        items=CATALOGUE,
        popularity=tiny_popularity(),
        factors=tiny_factors(),
        relations=tiny_relations(),
        model_dirs={},
        models={"collaborative": {"version": "7"}, "clv": {"version": "3"}, "churn": {"version": "4"}},
        feature_services={"serving": "serving_v2"},
        data_until=date(2024, 1, 31),
        created_at=datetime(2024, 2, 1, tzinfo=UTC),
        code_version=code_version,
    )
    if is_current:
        point_to_release(home.current_release, manifest.release_id)
    return manifest.release_id


def _publish(folder: Path, view: FeatureView, rows: dict[str, dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    columns = {
        field.name: pa.array([row.get(field.name) for row in rows.values()], ARROW_TYPES[str(field.dtype)])
        for field in view.features
    }
    pq.write_table(pa.table({"user_id": list(rows), **columns}), folder / "rows.parquet")
