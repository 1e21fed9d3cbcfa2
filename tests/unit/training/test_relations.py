"""Relations between items, on shops whose answers are plain to see."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.shop import interactions
from training.factors import ItemFactors
from training.item_relations import BY_ATTRIBUTES, BY_BEHAVIOUR, WIDTH, Relations
from training.relations import RelationsConfig, read_segments, relate_items, segment_lists, trend_growth

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
ITEMS = pa.table(
    {
        "item_id": ["mug", "cup", "pot", "tea", "new cup", "lone"],
        "title": ["blue mug", "blue cup", "iron pot", "green tea", "blue cup large", None],
        "category": ["kitchen", "kitchen", "kitchen", "food", "kitchen", None],
        "brand": ["a", "a", "b", None, "a", None],
        "price": [4.0, 5.0, 20.0, 3.0, 6.0, None],
        "description": pa.nulls(6, pa.string()),
    }
)
POSITION = {item: number for number, item in enumerate(ITEMS["item_id"].to_pylist())}
MUG, CUP, POT, TEA, NEW_CUP, LONE = range(6)


def factors(vectors: dict[str, list[float]]) -> ItemFactors:
    table = np.array(list(vectors.values()), dtype=np.float32).reshape(len(vectors), -1)
    return ItemFactors(tuple(vectors), table, np.ones(len(vectors), np.float32), 0.1, 2.0, "linear")


FACTORS = factors({"mug": [1, 0], "cup": [0.9, 0.1], "pot": [0.5, 0.5], "tea": [0, 1], "gone": [1, 0]})


def pairs(folder: Path, rows: list[tuple[str, str, str, int, int, float]]) -> str:
    names = ("relation", "item_id", "other_item_id", "pair_count", "item_count", "lift")
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) | {"support": 0.1} for row in rows])
    pq.write_table(table, folder / "pairs.parquet")
    return str(folder / "*.parquet")


@pytest.fixture
def related(tmp_path: Path) -> Relations:
    glob = pairs(
        tmp_path,
        [
            ("bought", "mug", "tea", 8, 10, 4.0),
            ("bought", "mug", "cup", 9, 10, 1.1),
            ("bought", "mug", "pot", 9, 10, 0.9),
            ("bought", "mug", "gone", 9, 10, 9.0),
            ("viewed", "mug", "new cup", 9, 10, 9.0),
        ],
    )
    shop = interactions([("ann", "mug", 1), ("bob", "mug", 2), ("cid", "mug", 3), ("ann", "tea", 20)])
    return relate_items(ITEMS, FACTORS, shop, glob, tmp_path / "none", AS_OF, RelationsConfig(trend_prior=1))


def test_what_the_same_people_buy_is_similar_best_first_and_never_itself(related: Relations) -> None:
    assert [position for position, _ in related.similar_to(MUG)] == [CUP, POT]
    assert [position for position, _ in related.similar_to(TEA)] == [POT, CUP]
    assert set(related.similar_by[MUG][:2]) == {BY_BEHAVIOUR}
    scores = [score for _, score in related.similar_to(MUG)]
    assert scores == sorted(scores, reverse=True)


def test_an_item_without_factors_is_like_those_of_its_category_with_the_same_words(
    related: Relations,
) -> None:
    assert [position for position, _ in related.similar_to(NEW_CUP)] == [CUP, MUG]
    assert set(related.similar_by[NEW_CUP][:2]) == {BY_ATTRIBUTES}
    assert related.similar_to(LONE) == []


def test_complements_are_bought_together_more_often_than_by_chance(related: Relations) -> None:
    assert [position for position, _ in related.bought_with(MUG)] == [TEA, CUP]
    assert dict(related.bought_with(MUG))[TEA] == pytest.approx(8 / 15 * 0.75)
    assert related.complementary_lift[MUG][0] == 4.0
    assert related.complementary_support[MUG][0] == pytest.approx(0.1)


def test_without_any_pair_nothing_is_complementary(tmp_path: Path) -> None:
    shop = interactions([("ann", "mug", 1)])
    found = relate_items(ITEMS, FACTORS, shop, str(tmp_path / "*.parquet"), tmp_path / "none", AS_OF)
    assert found.bought_with(MUG) == []
    assert found.by_segment == {}


def test_what_more_visitors_came_for_than_before_rises(related: Relations) -> None:
    assert related.trending.item_ids == ("mug",)
    assert related.trending_by_category["kitchen"].item_ids == ("mug",)
    assert related.trending.scores == (4.0,)


def test_growth_compares_equal_lengths_of_time() -> None:
    steady = interactions([(f"u{day}", "tea", day) for day in range(35)])
    assert trend_growth(steady, RelationsConfig()).tolist() == [0.0]


def test_a_segment_gets_what_its_customers_bought(tmp_path: Path) -> None:
    for day, segment in (("2026-01-30", "high"), ("2026-01-31", "low")):
        rows = {"user_id": ["ann", "bob"], "value_segment": [segment, None]}
        pq.write_table(
            pa.table(rows, pa.schema([(name, pa.string()) for name in rows])), tmp_path / f"{day}.parquet"
        )
    segments = read_segments(tmp_path, AS_OF)
    assert segments == {"ann": "high"}, "predictions of this very instant are made after the release"
    shop = interactions([("ann", "mug", 1), ("bob", "tea", 2)])
    assert segment_lists(shop, segments, 10)["high"].item_ids == ("mug",)
    assert read_segments(tmp_path / "none", AS_OF) == {}


@given(st.integers(2, 60), st.integers(0, 2**16))
def test_similar_items_equal_a_full_sort(count: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    ids = [f"i{number:03}" for number in range(count)]
    items = pa.table(
        {
            "item_id": ids,
            **{name: pa.nulls(count, pa.string()) for name in ("title", "category", "brand", "description")},
            "price": pa.nulls(count, pa.float64()),
        }
    )
    found = relate_items(
        items,
        factors(dict(zip(ids, vectors.tolist(), strict=True))),
        interactions([("ann", "i000", 1)]),
        "/nowhere/*.parquet",
        Path("/nowhere"),
        AS_OF,
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    for row in range(count):
        expected = [cosine[row, other] for other in np.argsort(-cosine[row]) if cosine[row, other] >= 0.05][
            :WIDTH
        ]
        scores = [score for _, score in found.similar_to(row)]
        assert len({position for position, _ in found.similar_to(row)}) == len(scores)
        np.testing.assert_allclose(scores, np.minimum(expected, 1.0), atol=1e-5)
