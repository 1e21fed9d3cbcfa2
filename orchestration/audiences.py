"""Who campaigns may choose from: one row per customer, from the published tables and predictions."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.erasure import NOBODY, Erased
from feature_repo.layout import Home
from feature_repo.loyalty import LoyaltyRules
from orchestration.errors import NothingToDo
from orchestration.marts import READER_CONFIG, current_manifest
from orchestration.parquet_files import write_atomically
from training.prevention import audience, expected_saving
from training.replenishment import user_intervals
from training.value_config import RetentionConfig

REPLENISHED_WITHIN_DAYS = 7
FEWEST_GAPS = 2
"""An item that a customer bought twice may be chance; from the third purchase on it is a habit."""

CUSTOMERS_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("list", pa.string(), nullable=False),
        pa.field("value_segment", pa.string()),
        pa.field("loyalty_tier", pa.string()),
        pa.field("churn_probability", pa.float64()),
        pa.field("clv_90d", pa.float64()),
        pa.field("expected_saving", pa.float64()),
        pa.field("order_count", pa.int64()),
        pa.field("spend_total", pa.float64()),
        pa.field("days_since_order", pa.float64()),
        pa.field("replenish_item_id", pa.string()),
        pa.field("replenish_in_days", pa.float64()),
        pa.field("as_of", pa.timestamp("us", "UTC"), nullable=False),
    ]
)
"""`list`: win_back, at_risk, loyal, or empty. `replenish_in_days`: until the item is due that is due nearest
to now, negative where it is overdue; null where nothing is within a week. Instants: `as_of` ends the data."""

LATEST = """
    with behaviour as (
        select user_id, order_count, orders_decay_90d, spend_total, feature_at, last_order_at
        from read_parquet($features)
        qualify row_number() over (partition by user_id order by feature_at desc) = 1
    ),
    predicted as (
        select user_id, clv_90d, churn_probability, value_segment
        from read_parquet($predictions)
        qualify row_number() over (partition by user_id order by feature_at desc) = 1
    )
    select
        behaviour.user_id,
        value_segment,
        churn_probability,
        clv_90d,
        order_count,
        -- half-life of 90 days: what was counted on the last active day has faded since
        orders_decay_90d
            * power(0.5, date_diff('second', feature_at, $as_of) / 86400.0 / 90) as recent_orders,
        spend_total,
        date_diff('second', last_order_at, $as_of) / 86400.0 as days_since_order
    from behaviour left join predicted on behaviour.user_id = predicted.user_id
    order by behaviour.user_id
"""

NOBODY_PREDICTED = """
    select
        null::varchar as user_id,
        null::double as clv_90d,
        null::double as churn_probability,
        null::varchar as value_segment,
        null::timestamptz as feature_at
"""


def publish_audiences(home: Home, offer: RetentionConfig, erased: Erased = NOBODY) -> dict[str, Any]:
    """Writes `campaigns/customers.parquet`; says how many are on each list. Raises NothingToDo."""
    manifest = current_manifest(home)
    if manifest is None or manifest.data_until is None:
        raise NothingToDo("no tables are published; materialize transforms/marts first.")
    as_of = datetime.combine(manifest.data_until + timedelta(days=1), time(), UTC)
    table = campaign_customers(home, as_of, offer)
    table = table.filter(pa.array(~erased.mask(table["user_id"])))
    write_atomically(home.campaign_customers, table)
    lists = pc.value_counts(table["list"]).to_pylist()
    due = table.num_rows - table["replenish_item_id"].null_count
    return {
        "customers": table.num_rows,
        "lists": {each["values"]: each["counts"] for each in lists if each["values"]}
        | {"replenishment": due},
    }


def campaign_customers(home: Home, as_of: datetime, offer: RetentionConfig | None = None) -> pa.Table:
    """Rows of CUSTOMERS_SCHEMA. Without predictions their columns are null and only loyalty makes a list."""
    has_predictions = any(home.prediction("user_predictions").glob("*.parquet"))
    query = (
        LATEST
        if has_predictions
        else LATEST.replace("from read_parquet($predictions)", f"from ({NOBODY_PREDICTED})")
    )
    values: dict[str, object] = {"features": home.mart_glob("user_features"), "as_of": as_of}
    if has_predictions:
        values["predictions"] = home.prediction_glob("user_predictions")
    with duckdb.connect(config=READER_CONFIG) as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.execute(query, values).df()
    rules = LoyaltyRules()
    pairs = zip(rows["order_count"], rows["recent_orders"], strict=True)
    rows["loyalty_tier"] = [rules.tier(orders, recent) for orders, recent in pairs]
    rows["list"] = audience(rows["value_segment"].fillna(""), rows["loyalty_tier"].fillna(""))
    churn = rows["churn_probability"].to_numpy(dtype=np.float64)
    # Churn is no order in the very horizon of the value, so its complement is the chance of one.
    value = rows["clv_90d"].to_numpy(dtype=np.float64)
    rows["expected_saving"] = expected_saving(churn, value, 1.0 - churn, offer)
    rows = rows.merge(due_items(home, as_of), on="user_id", how="left").assign(as_of=pd.Timestamp(as_of))
    return pa.Table.from_pandas(rows, CUSTOMERS_SCHEMA, preserve_index=False)


def due_items(home: Home, as_of: datetime) -> pd.DataFrame:
    """One row per customer: the item that runs out nearest to now, if any does within a week."""
    intervals = user_intervals(home.mart_glob("interactions_daily"), as_of.date()).to_pandas()
    bought = pd.to_datetime(intervals["last_bought_on"], utc=True)
    due = bought + pd.to_timedelta(intervals["interval_days"], unit="D")
    days = (due - pd.Timestamp(as_of)).dt.total_seconds() / 86400
    near = intervals.assign(replenish_in_days=days, distance=days.abs())
    near = near[(near["distance"] <= REPLENISHED_WITHIN_DAYS) & (near["gap_count"] >= FEWEST_GAPS)]
    near = near.sort_values(["user_id", "distance", "item_id"]).drop_duplicates("user_id")
    found: pd.DataFrame = near.rename(columns={"item_id": "replenish_item_id"})
    return found[["user_id", "replenish_item_id", "replenish_in_days"]]
