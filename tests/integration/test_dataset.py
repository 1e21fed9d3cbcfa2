"""Customer frames from published tables through real Feast."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.derived import DERIVED_USER_FEATURES
from feature_repo.layout import Home
from feature_repo.store import apply_definitions, open_store
from feature_repo.user_features import user_behavior
from tests.feature_world import DAY, day, publish, user_row
from training.dataset import LABELS, customer_frame, data_range, frame_hash, known_at, scoring_frame
from training.errors import MissingMart, NotEnoughData
from training.value_config import PURCHASE_FEATURES

pytestmark = pytest.mark.integration

# day of March 2024 -> user -> (lines bought, orders, spend)
BOUGHT: dict[int, Mapping[str, tuple[int, int, float]]] = {
    1: {"ann": (2, 1, 20.0), "bob": (1, 1, 5.0)},
    2: {"eve": (0, 0, 0.0)},
    9: {"ann": (1, 1, 7.0)},
    10: {"ann": (3, 2, 30.0), "eve": (1, 1, 4.0)},
    14: {"bob": (1, 1, 11.0)},
    15: {"ann": (1, 1, 100.0)},
}


def write_day(home: Home, number: int, rows: Mapping[str, tuple[int, int, float]]) -> None:
    """One day of `user_daily`, with the columns that labels need."""
    table = pa.table(
        {
            "user_id": list(rows),
            "event_date": pa.array([day(number).date()] * len(rows), pa.date32()),
            "purchase_line_count": pa.array([row[0] for row in rows.values()], pa.int64()),
            "order_count": pa.array([row[1] for row in rows.values()], pa.int64()),
            "spend": [row[2] for row in rows.values()],
        }
    )
    bought = [user for user, row in rows.items() if row[0]]
    items = pa.table(
        {
            "user_id": bought,
            "item_id": ["lamp" if user == "ann" else "vase" for user in bought],
            "event_date": pa.array([day(number).date()] * len(bought), pa.date32()),
            "purchase_count": pa.array([1] * len(bought), pa.int64()),
        }
    )
    for mart, content in (("user_daily", table), ("interactions_daily", items)):
        path = home.mart(mart) / f"{day(number):%Y-%m-%d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(content, path)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    orders: dict[str, int] = {}
    for number, rows in BOUGHT.items():
        write_day(home, number, rows)
        for user, row in rows.items():
            orders[user] = orders.get(user, 0) + row[1]
        at = day(number) + DAY
        publish(home, user_behavior, at, {user: user_row(orders[user], at) for user in rows})
    apply_definitions(open_store(home))
    return home


def frame(home: Home, cutoffs: list[datetime], horizon_days: int = 5) -> pd.DataFrame:
    return customer_frame(open_store(home), home.current_marts, cutoffs, horizon_days)


def test_labels_cover_the_days_from_the_cutoff_up_to_the_horizon(home: Home) -> None:
    found = frame(home, [day(10)]).set_index("user_id")
    assert found[["spend_next", "orders_next", "days_to_next_order", "spend_last_90d"]].to_dict("index") == {
        "ann": {"spend_next": 30.0, "orders_next": 2, "days_to_next_order": 0.0, "spend_last_90d": 27.0},
        "bob": {"spend_next": 11.0, "orders_next": 1, "days_to_next_order": 4.0, "spend_last_90d": 5.0},
    }


def test_labels_known_before_the_horizon_ends_hold_what_had_happened_by_then(home: Home) -> None:
    then = known_at(frame(home, [day(10)]), day(12), 5).set_index("user_id")
    assert then["orders_next"].to_dict() == {"ann": 1, "bob": 0}
    assert then["days_to_next_order"].fillna(-1).to_dict() == {"ann": 0.0, "bob": -1.0}
    assert then["spend_next"].isna().all()


def test_only_customers_with_an_order_before_the_cutoff_are_in(home: Home) -> None:
    found = frame(home, [day(2), day(11)])
    assert [(f"{row.cutoff:%d}", row.user_id) for row in found.itertuples()] == [
        ("02", "ann"),
        ("02", "bob"),
        ("11", "ann"),
        ("11", "bob"),
        ("11", "eve"),
    ]


def test_features_are_those_known_at_the_cutoff(home: Home) -> None:
    found = frame(home, [day(2), day(10), day(11)]).set_index(["user_id", "cutoff"])
    orders = [int(found.loc[("ann", each), "order_count"]) for each in (day(2), day(10), day(11))]
    assert orders == [1, 2, 4]
    assert found.loc[("bob", day(11)), "recency_days"] == pytest.approx(9.0, abs=0.1)
    assert (found["feature_at"] <= found.index.get_level_values("cutoff")).all()


def test_every_input_of_the_value_models_is_there(home: Home) -> None:
    found = frame(home, [day(10)])
    assert set(PURCHASE_FEATURES) | set(DERIVED_USER_FEATURES) <= set(found.columns)


def test_the_scoring_frame_has_the_same_columns_but_no_labels(home: Home) -> None:
    scored = scoring_frame(open_store(home), home.current_marts, day(16))
    assert list(scored["user_id"]) == ["ann", "bob", "eve"]
    assert set(frame(home, [day(10)]).columns) - set(scored.columns) == set(LABELS)


def test_equal_frames_hash_alike_in_any_column_order(home: Home) -> None:
    found = frame(home, [day(10)])
    assert frame_hash(found) == frame_hash(found[sorted(found.columns, reverse=True)])
    assert frame_hash(found) != frame_hash(found.assign(spend_next=0.0))


def test_labels_that_are_not_complete_are_refused(home: Home) -> None:
    with pytest.raises(NotEnoughData, match="after cut-off 2024-03-12: found 4, needed 5"):
        frame(home, [day(12)])


def test_a_cutoff_before_the_first_order_is_refused(home: Home) -> None:
    with pytest.raises(NotEnoughData, match="order before the cut-offs"):
        frame(home, [day(1)])


def test_a_cutoff_within_a_day_is_refused(home: Home) -> None:
    with pytest.raises(ValueError, match="00:00 UTC"):
        frame(home, [datetime(2024, 3, 10, 12, tzinfo=UTC)])


def test_missing_tables_and_columns_are_named(home: Home, tmp_path: Path) -> None:
    with pytest.raises(MissingMart, match="user_daily"):
        data_range(tmp_path)
    path = home.mart("user_daily") / "2024-03-01.parquet"
    for each in path.parent.iterdir():
        each.unlink()
    pq.write_table(pa.table({"event_date": pa.array([day(1).date()], pa.date32())}), path)
    with pytest.raises(MissingMart, match="lacks a column"):
        scoring_frame(open_store(home), home.current_marts, day(10))
