"""Who is on which list of campaigns, from tiny published tables."""

from datetime import UTC, date, datetime, timedelta
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
            behaviour("wavering", 3, 1.0, 80),
            behaviour("lost", 2, 1.0, 300),
            behaviour("faded", 12, 8.0, 300),  # VIP once: eight decayed orders are less than one by now
            behaviour("faded", 1, 1.0, 900),
        ],
    )
    days = [date(2026, 1, 6), date(2026, 1, 20), date(2026, 2, 3), date(2026, 2, 17)]
    put(
        home.mart("interactions_daily"),
        [
            {"user_id": f"u{other}", "item_id": "coffee", "event_date": day, "purchase_count": 1}
            for other in ("", 1, 2, 3, 4)
            for day in days
        ]
        + [{"user_id": "loyal", "item_id": "coffee", "event_date": day, "purchase_count": 1} for day in days],
    )
    return home


def predict(home: Home) -> None:
    columns = ("user_id", "churn_probability", "value_segment")
    known = [("loyal", 0.1, "high"), ("wavering", 0.7, "at_risk"), ("lost", 0.95, "churned")]
    common = {"clv_90d": 50.0, "feature_at": AS_OF}
    put(home.prediction("user_predictions"), [common | dict(zip(columns, row, strict=True)) for row in known])


def test_predictions_and_loyalty_make_the_lists_and_habits_what_is_due(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    predict(home)
    table = campaign_customers(home, AS_OF)
    assert table.schema.equals(CUSTOMERS_SCHEMA, check_metadata=False)
    rows = {row["user_id"]: row for row in table.to_pylist()}
    assert {name: row["list"] for name, row in rows.items()} == {
        "loyal": "loyal", "wavering": "at_risk", "lost": "win_back", "faded": ""
    }  # fmt: skip
    assert (rows["loyal"]["replenish_item_id"], rows["loyal"]["replenish_in_days"]) == ("coffee", 2.0)
    assert rows["wavering"]["replenish_item_id"] is None
    assert rows["wavering"]["days_since_order"] == 80.0
    assert rows["lost"]["expected_saving"] > 0 > rows["loyal"]["expected_saving"]
    assert rows["faded"]["loyalty_tier"] == "Standard"


def test_without_predictions_loyalty_alone_makes_a_list(tmp_path: Path) -> None:
    rows = {row["user_id"]: row for row in campaign_customers(make_home(tmp_path), AS_OF).to_pylist()}
    assert {name: row["list"] for name, row in rows.items() if row["list"]} == {"loyal": "loyal"}
    assert rows["loyal"]["churn_probability"] is None
