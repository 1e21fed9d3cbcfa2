from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.unit.training.shop import interactions
from training.interactions import decay, read_interactions

SHOP = interactions([("ann", "tea", 0), ("ann", "tea", 90, 2), ("bob", "mug", 5, 0), ("bob", "tea", 40)])


def test_strength_halves_with_each_half_life() -> None:
    assert SHOP.strengths(90.0)[0, SHOP.items.position["tea"]] == 5.0 + 10.0 / 2
    assert SHOP.strengths(None)[0, SHOP.items.position["tea"]] == 15.0


def test_the_last_day_before_the_cut_off_has_full_weight() -> None:
    assert decay(np.array([0.0], dtype=np.float32), 7.0).tolist() == [1.0]


def test_a_view_is_an_interaction_but_no_purchase() -> None:
    bob, mug = SHOP.users.position["bob"], SHOP.items.position["mug"]
    assert SHOP.strengths(None)[bob, mug] == 1.0
    assert SHOP.bought[bob, mug] == 0.0


def test_purchase_days_count_days_not_lines() -> None:
    assert SHOP.purchase_days()[0, SHOP.items.position["tea"]] == 2.0


def test_buyers_are_distinct_and_can_be_limited_to_the_last_days() -> None:
    tea = SHOP.items.position["tea"]
    assert SHOP.buyers()[tea] == 2.0
    assert SHOP.buyers(30)[tea] == 1.0
    assert SHOP.buyers()[SHOP.items.position["mug"]] == 0.0


def test_the_last_purchase_counts_from_one() -> None:
    ages = SHOP.last_bought_age()
    assert ages[SHOP.users.position["ann"], SHOP.items.position["tea"]] == 1.0
    assert ages[SHOP.users.position["bob"], SHOP.items.position["tea"]] == 41.0
    assert ages.nnz == 2


def test_items_have_the_texts_of_the_catalogue_beside_the_mart(tmp_path: Path) -> None:
    def publish(mart: str, rows: list[dict[str, object]]) -> None:
        (tmp_path / mart).mkdir()
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / mart / "all.parquet")

    bought = {"user_id": "ann", "event_date": date(2026, 1, 5), "purchase_count": 1, "strength": 5.0}
    publish("interactions_daily", [bought | {"item_id": item} for item in ("tea", "mug")])
    before = datetime(2026, 1, 6, tzinfo=UTC)
    mart = str(tmp_path / "interactions_daily" / "*.parquet")
    assert read_interactions(mart, before).texts is None
    publish(
        "items", [{"item_id": "tea", "title": "Green tea", "brand": None, "attributes": '{"leaf": "whole"}'}]
    )
    found = read_interactions(mart, before)
    assert dict(zip(found.items.ids, found.texts or (), strict=True)) == {
        "mug": "",
        "tea": 'Green tea {"leaf": "whole"}',
    }
