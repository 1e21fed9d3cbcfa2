"""Who campaigns may choose from: one row per customer, from the published tables and predictions."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.erasure import NOBODY, Erased
from feature_repo.layout import Home
from feature_repo.loyalty import LoyaltyRules
from feature_repo.predictions import arrow_schema
from feature_repo.user_features import user_outlook, user_predictions
from orchestration.errors import NothingToDo
from orchestration.marts import READER_CONFIG, current_manifest
from orchestration.parquet_files import write_atomically

CUSTOMERS_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("list", pa.string(), nullable=False),
        pa.field("value_segment", pa.string()),
        pa.field("loyalty_tier", pa.string()),
        pa.field("segment", pa.string()),
        pa.field("next_category", pa.string()),
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
"""`list`: win_back, at_risk, loyal, or empty. `segment`: the behavioural one. `replenish_in_days`: until the
item is due that they buy most often of those due, below 0 overdue. `as_of`: the end of the data."""

LATEST = """
    with behaviour as (
        select user_id, order_count, orders_decay_90d, spend_total, feature_at, last_order_at
        from read_parquet($features)
        qualify row_number() over (partition by user_id order by feature_at desc) = 1
    )
    select
        behaviour.user_id,
        coalesce(audience, '') as list,
        value_segment,
        segment,
        next_category,
        churn_probability,
        clv_90d,
        expected_saving,
        order_count,
        -- half-life of 90 days: what was counted on the last active day has faded since
        orders_decay_90d
            * power(0.5, date_diff('second', behaviour.feature_at, $as_of) / 86400.0 / 90) as recent_orders,
        spend_total,
        date_diff('second', last_order_at, $as_of) / 86400.0 as days_since_order,
        due_items[1] as replenish_item_id,
        due_in_days[1] as replenish_in_days
    from behaviour
    left join predicted on behaviour.user_id = predicted.user_id
    left join outlook on behaviour.user_id = outlook.user_id
    order by behaviour.user_id
"""


def publish_audiences(home: Home, erased: Erased = NOBODY) -> dict[str, Any]:
    """Writes `campaigns/customers.parquet`; says how many are on each list. Raises NothingToDo."""
    manifest = current_manifest(home)
    if manifest is None or manifest.data_until is None:
        raise NothingToDo("no tables are published; materialize transforms/marts first.")
    as_of = datetime.combine(manifest.data_until + timedelta(days=1), time(), UTC)
    table = campaign_customers(home, as_of)
    table = table.filter(pa.array(~erased.mask(table["user_id"])))
    write_atomically(home.campaign_customers, table)
    lists = pc.value_counts(table["list"]).to_pylist()
    named = {each["values"]: each["counts"] for each in lists if each["values"]}
    due = table.num_rows - table["replenish_item_id"].null_count
    return {"customers": table.num_rows, "lists": named | {"replenishment": due}}


def campaign_customers(home: Home, as_of: datetime) -> pa.Table:
    """Rows of CUSTOMERS_SCHEMA; what is not predicted is null, and then nobody is on a list."""
    with duckdb.connect(config=READER_CONFIG) as connection:
        connection.execute("set timezone = 'UTC'")
        for name, view in (("predicted", user_predictions), ("outlook", user_outlook)):
            files = sorted(home.prediction(view.name).glob("*.parquet"))
            connection.register(
                name,
                pq.read_table(files[-1], partitioning=None) if files else arrow_schema(view).empty_table(),
            )
        values = {"features": home.mart_glob("user_features"), "as_of": as_of}
        rows = connection.execute(LATEST, values).df()
    rules = LoyaltyRules()
    pairs = zip(rows["order_count"], rows["recent_orders"], strict=True)
    rows["loyalty_tier"] = [rules.tier(orders, recent) for orders, recent in pairs]
    return pa.Table.from_pandas(
        rows.assign(as_of=pd.Timestamp(as_of)), CUSTOMERS_SCHEMA, preserve_index=False
    )
