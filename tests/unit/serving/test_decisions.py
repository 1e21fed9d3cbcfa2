"""Pure decisions: fold-in scores, segments."""

import numpy as np
import pytest

from serving.decisions.fallback import best_scores, recency_strengths
from serving.decisions.segments import PriceBands, loyalty_tier, price_bands, price_tier, segments


def test_recent_items_weigh_more() -> None:
    assert recency_strengths(3) == [1.0, 0.9, pytest.approx(0.81)]
    assert recency_strengths(0) == []


def test_best_scores_are_sorted_and_positive() -> None:
    scores = np.array([0.1, 0.9, -0.2, 0.9, 0.0], dtype=np.float32)
    found = best_scores(["a", "b", "c", "d", "e"], scores, 4)
    assert [item_id for item_id, _ in found] == ["b", "d", "a"]
    assert best_scores([], np.array([], dtype=np.float32), 3) == []


def test_best_scores_equal_a_full_sort() -> None:
    scores = np.random.default_rng(7).normal(size=300).astype(np.float32)
    item_ids = [str(index) for index in range(300)]
    expected = [item_ids[index] for index in np.argsort(-scores, kind="stable")[:20]]
    assert [item_id for item_id, _ in best_scores(item_ids, scores, 20)] == expected


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
