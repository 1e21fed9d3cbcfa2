"""Who is on which list of campaigns, from tiny published tables."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.layout import Home
from orchestration.audiences import CUSTOMERS_SCHEMA, campaign_customers

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)


def put(folder: Path, rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")


def behaviour(user_id: str, orders: int, recent: float, ago_days: int) -> dict[str, object]:
    at = AS_OF - timedelta(days=ago_days)
    return {
        "user_id": user_id,
        "order_count": orders,
        "orders_decay_90d": recent,
        "spend_total": 10.0 * orders,
        "feature_at": at,
        "last_order_at": at,
    }


def make_home(root: Path) -> Home:
    home = Home(root)
    put(
        home.mart("user_features"),
        [
            behaviour("loyal", 12, 8.0, 3),
            behaviour("lost", 2, 1.0, 300),
            behaviour("faded", 12, 8.0, 300),  # VIP once: eight decayed orders are less than one by now
            behaviour("faded", 1, 1.0, 900),
        ],
    )
    return home


def predict(home: Home) -> None:
    values = {"value_segment": "churned", "churn_probability": 0.95, "clv_90d": 50.0, "feature_at": AS_OF}
    put(home.prediction("user_predictions"), [{"user_id": "lost", **values}])
    outlook = {
        "expected_saving": 2.5,
        "segment": "rare buyers",
        "next_category": "coffee",
        "feature_at": AS_OF,
    }
    due = {"due_items": ["beans", "milk"], "due_in_days": [-2.0, 5.0]}
    nothing = {"due_items": None, "due_in_days": None}
    put(
        home.prediction("user_outlook"),
        [
            {"user_id": "lost", "audience": "win_back", **outlook, **due},
            {"user_id": "loyal", "audience": "loyal", **outlook, **nothing},
        ],
    )


def test_a_row_says_what_is_known_and_predicted_of_a_customer(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    predict(home)
    table = campaign_customers(home, AS_OF)
    assert table.schema.equals(CUSTOMERS_SCHEMA, check_metadata=False)
    rows = {row["user_id"]: row for row in table.to_pylist()}
    assert {name: row["list"] for name, row in rows.items()} == {
        "loyal": "loyal", "lost": "win_back", "faded": ""
    }  # fmt: skip
    lost = rows["lost"]
    assert (lost["replenish_item_id"], lost["replenish_in_days"]) == ("beans", -2.0)
    assert (lost["value_segment"], lost["expected_saving"], lost["days_since_order"]) == (
        "churned",
        2.5,
        300.0,
    )
    assert rows["loyal"]["replenish_item_id"] is None
    assert (rows["loyal"]["loyalty_tier"], rows["faded"]["loyalty_tier"]) == ("VIP", "Standard")


def test_without_predictions_nobody_is_on_a_list(tmp_path: Path) -> None:
    rows = campaign_customers(make_home(tmp_path), AS_OF).to_pylist()
    assert {row["list"] for row in rows} == {""} and len(rows) == 3
    assert {row["churn_probability"] for row in rows} == {None}
