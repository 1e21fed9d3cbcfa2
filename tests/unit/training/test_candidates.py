from datetime import UTC, datetime

import numpy as np
import pytest

from tests.unit.training.shop import checkerboard, interactions
from training.candidates import (
    CANDIDATE_SCHEMA,
    BlendChoice,
    SeenItems,
    blend,
    candidate_tables,
    pick_candidates,
)
from training.collaborative import fit
from training.config import AlsConfig, BlendConfig
from training.identifiers import UNKNOWN
from training.popularity import BuyAgainScorer
from training.top_items import recommend

NOW = datetime(2026, 1, 31, tzinfo=UTC)
ALS = AlsConfig(factors=4, regularization=0.1)
SHOP = interactions(
    [
        ("ann", "tea", 1),
        ("ann", "tea", 8),
        ("ann", "mug", 30),
        ("bob", "mug", 2),
        ("bob", "jam", 5),
        ("cid", "tea", 3),
        ("cid", "jam", 4),
        ("dee", "pot", 6),
        ("eve", "mug", 1, 0),
    ]
)


def rows(choice: BlendChoice, config: BlendConfig) -> dict[str, dict]:
    factors = fit(SHOP, ALS, 1).factors
    scorer = blend(SHOP, factors, choice)
    tables = candidate_tables(SHOP, scorer, config, feature_at=NOW, release_id="r1", generated_at=NOW)
    found = [row for table in tables for row in table.to_pylist()]
    return {row["user_id"]: row for row in found}


def test_each_user_has_one_row_of_the_schema_ranked_by_score() -> None:
    found = rows(BlendChoice(0.8, None, 0.2), BlendConfig(length=4, new_length=2))
    assert set(found) == {"ann", "bob", "cid", "dee", "eve"}
    for row in found.values():
        assert set(row) == set(CANDIDATE_SCHEMA.names)
        assert len(row["item_ids"]) == len(row["scores"]) == len(row["algorithms"]) <= 4
        assert len(set(row["item_ids"])) == len(row["item_ids"])
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert row["release_id"] == "r1"
        assert row["feature_at"] == NOW


def test_each_item_names_the_algorithm_that_put_it_there() -> None:
    found = rows(BlendChoice(0.8), BlendConfig(length=4, new_length=2))
    ann = dict(zip(found["ann"]["item_ids"], found["ann"]["algorithms"], strict=True))
    assert ann["tea"] == ann["mug"] == "buy_again"
    assert ann["jam"] == "collaborative"
    again_only = rows(BlendChoice(0.0), BlendConfig(length=4, new_length=2))
    assert set(again_only["ann"]["algorithms"]) == {"buy_again", "popular"}


def test_seen_holds_what_was_bought_latest_first_and_no_views() -> None:
    found = rows(BlendChoice(0.8), BlendConfig())
    assert found["ann"]["seen"] == ["tea", "mug"]
    assert found["eve"]["seen"] == []


def test_seen_is_cut_to_the_most_recent() -> None:
    offsets, items = SeenItems.of(SHOP, 1).of_users(SHOP.users.positions(["cid", "ann"]))
    assert offsets.to_pylist() == [0, 1, 2]
    assert SHOP.items.external(items) == ["tea", "tea"]


def test_weight_zero_orders_as_buying_again_alone() -> None:
    data = checkerboard()
    users = np.arange(len(data.users))
    factors = fit(data, ALS, 1).factors
    released = recommend(blend(data, factors, BlendChoice(0.0)), users, 12)
    again = recommend(BuyAgainScorer(data), users, 12)
    assert released.positions.tolist() == again.positions.tolist()


def test_places_are_reserved_for_new_items_even_if_old_ones_score_higher() -> None:
    scores = np.array([[9.0, 8.0, 7.0, 6.0, 0.3, 0.2, 0.1]], dtype=np.float32)
    bought = np.array([[True, True, True, True, False, False, False]])
    top = pick_candidates(scores, bought, BlendConfig(length=4, new_length=2))
    assert top.positions.tolist() == [[0, 1, 4, 5]]


def test_places_reserved_for_new_items_go_to_old_ones_when_there_are_too_few() -> None:
    scores = np.array([[9.0, 8.0, 7.0, -np.inf]], dtype=np.float32)
    bought = np.array([[True, True, True, False]])
    top = pick_candidates(scores, bought, BlendConfig(length=4, new_length=2))
    assert top.positions.tolist() == [[0, 1, 2, UNKNOWN]]


def test_a_user_for_whom_nothing_is_known_gets_an_empty_list() -> None:
    top = pick_candidates(
        np.full((1, 3), -np.inf, dtype=np.float32), np.zeros((1, 3), dtype=bool), BlendConfig()
    )
    assert top.lengths().tolist() == [0]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_list_never_exceeds_its_length(length: int) -> None:
    found = rows(BlendChoice(0.8), BlendConfig(length=length, new_length=0))
    assert all(len(row["item_ids"]) <= length for row in found.values())
