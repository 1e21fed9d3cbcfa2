import numpy as np

from tests.unit.training.shop import interactions
from training.config import PopularityConfig
from training.popularity import BuyAgainScorer, CategoryScorer, PopularityScorer, rank_popularity

SHOP = interactions(
    [
        ("ann", "tea", 1, 9),
        ("bob", "tea", 50),
        ("cid", "tea", 60),
        ("ann", "mug", 2),
        ("bob", "mug", 3),
        ("bob", "jam", 90),
        ("bob", "jam", 91),
        ("dee", "jar", 1, 0),
    ]
)
CATEGORIES = {"tea": "food", "jam": "food", "mug": "kitchen", "jar": None}


def test_popularity_counts_distinct_buyers_not_lines_or_views() -> None:
    ranked = rank_popularity(SHOP, CATEGORIES, PopularityConfig()).overall
    assert ranked.item_ids == ("tea", "mug", "jam")
    assert ranked.scores == (3.0, 2.0, 1.0)


def test_recent_popularity_sees_the_window_alone() -> None:
    ranked = rank_popularity(SHOP, CATEGORIES, PopularityConfig(recent_days=30)).recent
    assert ranked.item_ids == ("mug", "tea")


def test_a_window_without_purchases_gives_an_empty_list() -> None:
    old = interactions([("ann", "tea", 200), ("bob", "mug", 300)])
    assert rank_popularity(old, {}, PopularityConfig()).recent.item_ids == ()


def test_categories_have_lists_of_their_own_and_unknown_ones_none() -> None:
    ranked = rank_popularity(SHOP, CATEGORIES, PopularityConfig()).by_category
    assert {name: one.item_ids for name, one in ranked.items()} == {
        "food": ("tea", "jam"),
        "kitchen": ("mug",),
    }


def test_lists_are_cut_to_the_configured_length() -> None:
    config = PopularityConfig(length=1, category_length=1)
    ranked = rank_popularity(SHOP, CATEGORIES, config)
    assert len(ranked.overall) == 1
    assert len(ranked.by_category["food"]) == 1


def test_an_item_that_nobody_bought_is_not_recommendable_by_popularity() -> None:
    scores = PopularityScorer(SHOP).scores(np.array([0]))
    assert np.isneginf(scores[0, SHOP.items.position["jar"]])


def test_buying_again_counts_days_and_lets_popularity_order_ties() -> None:
    scorer = BuyAgainScorer(SHOP)
    order = np.argsort(-scorer.scores(SHOP.users.positions(["bob"]))[0], kind="stable")
    assert SHOP.items.external(order)[:3] == ["jam", "tea", "mug"]


def test_a_category_baseline_prefers_the_users_own_category() -> None:
    scorer = CategoryScorer(SHOP, CATEGORIES)
    bob, dee = scorer.scores(SHOP.users.positions(["bob", "dee"]))
    food, kitchen = SHOP.items.position["jam"], SHOP.items.position["mug"]
    assert bob[food] > 0 and bob[kitchen] > 0
    assert dee[SHOP.items.position["tea"]] == dee.max()
