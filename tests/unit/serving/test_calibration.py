"""Calibrated lists: they keep their reader's mix, and every promise of the plain list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decisions.calibration import choose_calibrated, divergence
from serving.decisions.candidates import NOBODY, Pool
from serving.decisions.catalogue import index_catalogue
from serving.decisions.diversity import by_relevance, choose
from serving.decisions.rules import Actions, HeldRule, compile_rules
from tests.fakes import CATALOGUE, tiny_popularity, tiny_relations
from training.artifacts import ItemTable


@dataclass(frozen=True)
class Goods:
    """Items of these categories, each of a brand of its own; items next to each other are alike."""

    category_of: Sequence[int]

    @property
    def brand_of(self) -> Sequence[int]:
        return range(len(self.category_of))

    def likeness_of(self, position: int) -> Mapping[int, float]:
        return {position - 1: 0.8, position + 1: 0.8}


def pool(*scores: float) -> Pool:
    return {position: (score, "released", NOBODY) for position, score in enumerate(scores)}


TEN = Goods([0] * 6 + [1] * 4)
FALLING = pool(*(1.0 - 0.05 * place for place in range(10)))


def counts(items: Sequence[int], goods: Goods = TEN) -> dict[int, int]:
    return {number: sum(goods.category_of[item] == number for item in items) for number in (0, 1)}


def test_the_mix_of_the_reader_is_kept() -> None:
    mix = {0: 0.5, 1: 0.5}
    assert counts(choose_calibrated(FALLING, 4, TEN, 0.0, mix, 0.0)[0]) == {0: 4, 1: 0}
    assert counts(choose_calibrated(FALLING, 4, TEN, 0.0, mix, 1.0)[0]) == {0: 2, 1: 2}
    assert counts(choose_calibrated(FALLING, 4, TEN, 0.0, {0: 0.25, 1: 0.75}, 1.0)[0]) == {0: 1, 1: 3}


def test_within_a_category_the_more_relevant_come_first() -> None:
    chosen, _ = choose_calibrated(FALLING, 6, TEN, 0.0, {0: 0.5, 1: 0.5}, 0.9)
    for number in (0, 1):
        mine = [item for item in chosen if TEN.category_of[item] == number]
        assert mine == sorted(mine)


def test_divergence_is_none_for_the_same_mix_and_bounded_for_none_of_it() -> None:
    assert divergence({0: 0.5, 1: 0.5}, {0: 3, 1: 3}) == pytest.approx(0.0)
    assert divergence({0: 1.0}, {1: 5}) == pytest.approx(4.605, abs=1e-3)
    assert divergence({0: 1.0}, {}) == pytest.approx(4.605, abs=1e-3)


@given(
    st.lists(st.floats(0.01, 1), min_size=10, max_size=10),
    st.floats(0, 1),
    st.integers(1, 12),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([{}, {0: 9}, {1: 0}]),
)
def test_without_strength_it_is_the_plain_list(
    scores: list[float], diversity: float, limit: int, cap: int | None, pinned: dict[int, int]
) -> None:
    candidates = pool(*scores)
    plain, _ = choose(by_relevance(candidates), limit, TEN, diversity, pinned, cap)
    # Equal values may be taken in another order: what is chosen has the same worth.
    found, _ = choose_calibrated(candidates, limit, TEN, diversity, {0: 0.5, 1: 0.5}, 0.0, pinned, cap)
    assert len(found) == len(plain)
    if len(set(scores)) == len(scores) and diversity == 0:
        assert found == plain


@given(
    st.lists(st.floats(0.01, 1), min_size=10, max_size=10),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([None, 1, 2]),
)
def test_caps_pins_and_single_mention_hold_at_every_strength(
    scores: list[float], strength: float, diversity: float, cap: int | None
) -> None:
    found, capped = choose_calibrated(
        pool(*scores), 5, TEN, diversity, {0: 0.3, 1: 0.7}, strength, {1: 9}, cap
    )
    assert len(set(found)) == len(found) <= 5
    assert not set(found) & set(capped)
    assert found[min(1, len(found) - 1)] == 9
    if cap is not None:
        assert all(number <= cap for number in counts(found).values())


def test_the_divergence_falls_as_strength_grows() -> None:
    mix = {0: 0.2, 1: 0.8}
    lists = [choose_calibrated(FALLING, 5, TEN, 0.0, mix, strength)[0] for strength in (0, 0.1, 0.3, 0.6, 1)]
    found = [divergence(mix, counts(each)) for each in lists]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]


def test_novelty_lifts_what_few_have_bought() -> None:
    index = index_catalogue(ItemTable.from_table(CATALOGUE), tiny_popularity(), tiny_relations())
    by_name = dict(zip(index.item_ids, index.novelties, strict=True))
    # Buyers: lamp 9, mug 8, cup 5, bulb 4, pot 2, rug 1.
    assert by_name["lamp"] == 0.0 and by_name["rug"] == 1.0
    assert sorted(by_name, key=lambda name: by_name[name]) == ["lamp", "mug", "cup", "bulb", "pot", "rug"]
    effect = compile_rules([HeldRule("r", Actions(prefer_novelty=0.5))], index)
    assert effect.boosts is not None
    assert effect.boosts[index.position["rug"]] == pytest.approx(1.0)
    assert effect.boosts[index.position["lamp"]] == pytest.approx(1 / 1.5)


@pytest.mark.parametrize("name", ["prefer_novelty", "calibrate_categories"])
@pytest.mark.parametrize("value", [-0.1, 1.1, "much"])
def test_a_strength_is_a_number_from_0_to_1(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Actions.model_validate({name: value})
    assert getattr(Actions.model_validate({name: True}), name) == 0.5
