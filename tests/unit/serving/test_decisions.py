"""Pure decisions: ranking, fallback, segments."""

import numpy as np
import pytest

from serving.decisions.fallback import best_scores, popular, popular_in, recency_strengths
from serving.decisions.ranking import Ranked, fill_up, take_candidates
from serving.decisions.segments import PriceBands, loyalty_tier, price_bands, price_tier, segments
from tests.fakes import tiny_popularity

IDS, SCORES, ALGORITHMS = ["a", "b", "c"], [0.9, 0.8, 0.7], ["als", "buy_again", "als"]


def ids(items: list[Ranked]) -> list[str]:
    return [item.item_id for item in items]


def test_candidates_keep_their_stored_order_and_algorithms() -> None:
    taken = take_candidates(IDS, SCORES, ALGORITHMS, 2)
    assert taken == [Ranked("a", 0.9, "als"), Ranked("b", 0.8, "buy_again")]


def test_excluded_candidates_make_room_for_the_next_ones() -> None:
    assert ids(take_candidates(IDS, SCORES, ALGORITHMS, 2, {"a"})) == ["b", "c"]


def test_filling_up_never_repeats_never_shows_excluded_items_and_stops_at_the_limit() -> None:
    chosen = [Ranked("a", 1.0, "als")]
    more = [Ranked(each, 0.5, "popular") for each in ("a", "b", "b", "c", "d")]
    assert ids(fill_up(chosen, more, 3, excluded={"c"})) == ["a", "b", "d"]
    assert ids(fill_up(chosen, more, 1)) == ["a"]


def test_popular_recently_comes_before_popular_ever() -> None:
    shown = fill_up([], popular(tiny_popularity().recent, tiny_popularity().overall), 4)
    assert [(item.item_id, item.algorithm) for item in shown] == [
        ("bulb", "popular_recently"),
        ("lamp", "popular_recently"),
        ("mug", "popular"),
        ("cup", "popular"),
    ]


def test_categories_take_turns() -> None:
    lists = tiny_popularity().by_category
    assert ids(list(popular_in([lists["light"], lists["kitchen"]]))) == ["lamp", "mug", "bulb", "cup", "pot"]


def test_recent_items_weigh_more() -> None:
    assert recency_strengths(3) == [1.0, 0.9, pytest.approx(0.81)]
    assert recency_strengths(0) == []


def test_best_scores_are_sorted_positive_and_not_excluded() -> None:
    scores = np.array([0.1, 0.9, -0.2, 0.9, 0.0], dtype=np.float32)
    found = best_scores(["a", "b", "c", "d", "e"], scores, 4, excluded={"d"})
    assert ids(found) == ["b", "a"]
    assert best_scores([], np.array([], dtype=np.float32), 3) == []


def test_best_scores_equal_a_full_sort() -> None:
    scores = np.random.default_rng(7).normal(size=300).astype(np.float32)
    item_ids = [str(index) for index in range(300)]
    expected = [item_ids[index] for index in np.argsort(-scores, kind="stable")[:20]]
    assert ids(best_scores(item_ids, scores, 20)) == expected


@pytest.mark.parametrize(
    ("orders", "recent", "tier"),
    [(0, 0.0, "New"), (1, 1.0, "New"), (3, 0.1, "Standard"), (7, 2.0, "Premium"), (12, 4.0, "VIP")],
)
def test_loyalty_follows_orders_ever_and_of_late(orders: int, recent: float, tier: str) -> None:
    assert loyalty_tier({"order_count": orders, "orders_decay_90d": recent}) == tier


def test_a_loyal_customer_of_years_ago_is_not_vip() -> None:
    assert loyalty_tier({"order_count": 40, "orders_decay_90d": 0.01}) == "Standard"


def test_price_tier_compares_the_mean_price_paid_with_the_catalogue() -> None:
    bands = price_bands(np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0]))
    assert bands is not None
    assert price_tier({"spend_total": 100.0, "unit_count": 4.0}, bands) == "Premium"
    assert price_tier({"spend_total": 100.0, "unit_count": 20.0}, bands) == "Regular"
    assert price_tier({"spend_total": 100.0, "unit_count": 100.0}, bands) == "Budget"


def test_tiers_are_none_where_nothing_is_known() -> None:
    assert segments({}, {}, PriceBands(1.0, 2.0)) == {
        "value_segment": None,
        "loyalty_tier": None,
        "price_tier": None,
    }
    assert price_bands(np.array([1.0])) is None
    assert price_tier({"spend_total": 0.0, "unit_count": 0.0}, PriceBands(1.0, 2.0)) is None
