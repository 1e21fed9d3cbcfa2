"""Intervals between purchases of the same item, counted by hand."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.replenishment import due_items, item_intervals, next_categories, user_intervals

START = date(2026, 1, 1)


def write(path: Path, bought: list[tuple[str, str, int]]) -> str:
    """Purchases of (user, item, day number)."""
    table = pa.table(
        {
            "user_id": [user for user, _, _ in bought],
            "item_id": [item for _, item, _ in bought],
            "event_date": [START + timedelta(days=day) for _, _, day in bought],
            "purchase_count": [1] * len(bought),
        }
    )
    pq.write_table(table, path / "days.parquet")
    return str(path / "days.parquet")


def test_an_item_bought_again_by_five_has_the_mean_of_their_gaps(tmp_path: Path) -> None:
    bought = [(f"u{user}", "tea", day) for user in range(5) for day in (0, 10 + 5 * user)]
    days = write(tmp_path, [*bought, ("u0", "pot", 0), ("u0", "pot", 9), ("u9", "tea", 3)])
    assert item_intervals(days, date(2027, 1, 1)).to_pylist() == [
        {"item_id": "tea", "interval_days": 20.0, "customer_count": 5, "gap_count": 5}
    ]


def test_a_customers_own_gaps_count_against_two_of_everybodys(tmp_path: Path) -> None:
    bought = [(f"u{user}", "tea", day) for user in range(5) for day in (0, 20)]
    days = write(tmp_path, [*bought, ("fast", "tea", 0), ("fast", "tea", 4), ("fast", "tea", 8)])
    usual = (5 * 20.0 + 4.0) / 6
    found = {row["user_id"]: row for row in user_intervals(days, date(2027, 1, 1)).to_pylist()}
    assert found["fast"]["interval_days"] == pytest.approx((8 + 2 * usual) / 4)
    assert found["fast"]["last_bought_on"] == START + timedelta(days=8)
    assert found["u0"]["gap_count"] == 1


def test_what_is_bought_later_is_not_known_yet(tmp_path: Path) -> None:
    days = write(tmp_path, [("ann", "tea", 0), ("ann", "tea", 10), ("ann", "tea", 90)])
    [row] = user_intervals(days, START + timedelta(days=30)).to_pylist()
    assert (row["gap_count"], row["interval_days"]) == (1, 10.0)


def test_what_runs_out_soon_is_due_and_what_was_given_up_is_not() -> None:
    until = START + timedelta(days=100)
    rows = [("salt", 30.0, 65), ("tea", 20.0, 85), ("rice", 60.0, 95), ("wine", 10.0, 70)]
    intervals = pa.table(
        {
            "user_id": ["ann"] * len(rows),
            "item_id": [item for item, _, _ in rows],
            "gap_count": [2] * len(rows),
            "interval_days": [interval for _, interval, _ in rows],
            "last_bought_on": [START + timedelta(days=day) for _, _, day in rows],
        }
    )
    assert due_items(intervals, until).to_pylist() == [
        {"user_id": "ann", "due_items": ["tea", "salt"], "due_in_days": [5.0, -5.0]}
    ]
    assert due_items(intervals, until, count=1)["due_items"].to_pylist() == [["tea"]]


def test_the_next_category_is_where_the_recent_purchases_lie(tmp_path: Path) -> None:
    days = write(tmp_path, [("ann", "tea", 0), ("ann", "lamp", 300), ("bob", "tea", 5), ("bob", "cup", 6)])
    categories = pa.table({"item_id": ["tea", "lamp", "cup"], "category": ["food", "light", None]})
    pq.write_table(categories, tmp_path / "items.parquet")
    found = next_categories(days, str(tmp_path / "items.parquet"), START + timedelta(days=301)).to_pylist()
    assert [(row["user_id"], row["next_category"]) for row in found] == [("ann", "light"), ("bob", "food")]
    assert 0.5 < found[0]["next_category_share"] < 1.0
