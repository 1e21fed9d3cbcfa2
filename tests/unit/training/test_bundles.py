"""Bundles: what is mined, what chance makes, how it is priced, and which kind it is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from training.baskets import SCHEMA, Baskets, baskets_of
from training.bundle_offer import MOST_CUT, attach_at, profit_at
from training.bundles import BundleConfig, bundle_tables, lying_items, mine_bundles, read_goods
from training.copurchase import expected_meetings, mine_moves, mine_pairs, mine_triples, q_values, shuffled
from training.price_response import (
    PRIOR_MEAN,
    best_discounts,
    item_elasticities,
    price_response,
    shop_response,
)

AS_OF = datetime(2024, 12, 1, tzinfo=UTC)
FIRST, LAST = date(2023, 12, 2), date(2024, 11, 30)
SMALL = BundleConfig(min_item_baskets=3, min_set_baskets=3, min_buyers=3)


def baskets(orders: Sequence[tuple[str, ...]], **columns: Sequence[Any]) -> Baskets:
    """One basket per tuple of items, each of a buyer of its own; further columns have one value a basket."""
    rows = [
        {
            "basket": f"o{number:05d}",
            "buyer": columns["buyer"][number] if "buyer" in columns else f"u{number:05d}",
            "item": item,
            "day": columns["day"][number] if "day" in columns else 360,
            "month": columns["month"][number] if "month" in columns else 10,
            "units": 1.0,
            "price": 10.0,
        }
        for number, order in enumerate(orders)
        for item in order
    ]
    return baskets_of(pa.Table.from_pylist(rows, schema=SCHEMA), FIRST, LAST)


def catalogue(*item_ids: str, **columns: Sequence[Any]) -> pa.Table:
    default: dict[str, Any] = {
        "price": 10.0,
        "cost": 4.0,
        "stock": 20,
        "category": "c",
        "leaf_category": None,
    }
    return pa.table(
        {"item_id": list(item_ids), "title": [f"thing {each}" for each in item_ids]}
        | {name: columns.get(name, [value] * len(item_ids)) for name, value in default.items()}
    )


def mixed(count: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Orders of two to five of 26 items by lot."""
    rng = np.random.default_rng(seed)
    letters = np.array([chr(97 + number) for number in range(26)])
    return [tuple(rng.choice(letters, rng.integers(2, 6), replace=False).tolist()) for _ in range(count)]


def test_chance_keeps_the_size_of_baskets_and_the_month() -> None:
    # Two months that share no item: by plain independence a and b meet 4 * 4 / 8 = 2 times.
    found = baskets([("a", "b")] * 4 + [("c", "d")] * 4, month=[0] * 4 + [1] * 4)
    a, b, c = (np.array([found.item_ids.index(name)]) for name in "abc")
    assert expected_meetings(found, a, b) == pytest.approx([4 * 4 * (4 * 2) / 8**2])
    assert expected_meetings(found, a, c)[0] < 1e-9


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    # 4 tests, two of them not looked at: p x 4 / rank, made monotone from the largest down.
    assert q_values(np.array([0.02, 0.01]), 4) == pytest.approx([0.04, 0.04])
    assert q_values(np.array([0.5, 0.9]), 4) == pytest.approx([1.0, 1.0])


def test_a_planted_pair_is_found_and_dealt_baskets_hold_none() -> None:
    orders = [*mixed(600), *[("x1", "x2")] * 25]
    found = mine_pairs(baskets(orders), 10, 5, 0.05)
    names = [tuple(baskets(orders).item_ids[item] for item in pair) for pair in found.items.tolist()]
    assert names == [("x1", "x2")]
    assert found.count.tolist() == [25]
    assert found.tested == 28 * 27 // 2
    assert [len(mine_pairs(shuffled(baskets(orders), seed), 10, 5, 0.05)) for seed in range(5)] == [0] * 5


def test_dealing_keeps_baskets_and_items() -> None:
    before = baskets(mixed(300))
    after = shuffled(before, 1)
    assert after.basket_count == before.basket_count
    # What a basket was dealt twice is lost, never more than that.
    lost = before.item_baskets - after.item_baskets
    assert (lost >= 0).all() and lost.sum() < 0.1 * before.item_baskets.sum()


def test_three_that_meet_as_pairs_only_are_no_set() -> None:
    together = [*mixed(600), *[("x", "y", "z")] * 20]
    apart = [*mixed(600), *[pair for pair in (("x", "y"), ("y", "z"), ("x", "z")) for _ in range(20)]]
    for orders, expected in ((together, 1), (apart, 0)):
        found = baskets(orders)
        pairs = mine_pairs(found, 10, 5, 0.05)
        assert len(mine_triples(found, pairs, 10, 5, 0.05, 100)) == expected


def test_moves_go_one_way() -> None:
    buyers = [f"u{number}" for number in range(40)]
    orders = [("basic",)] * 40 + [("better",)] * 40 + [(f"n{number}",) for number in range(400)]
    found = baskets(
        orders,
        buyer=[*buyers, *buyers, *[f"other{number}" for number in range(400)]],
        day=[10] * 40 + [200] * 40 + [200] * 400,
    )
    basic, better = (np.array([found.item_ids.index(name)]) for name in ("basic", "better"))
    assert mine_moves(found, basic, better, 3, 0.05).count.tolist() == [40]
    assert len(mine_moves(found, better, basic, 3, 0.05).count) == 0


def test_one_customer_who_repeats_an_order_founds_no_bundle() -> None:
    orders = [*mixed(600), *[("x1", "x2")] * 25]
    one = [*[f"u{number}" for number in range(600)], *["same"] * 25]
    items = catalogue(*sorted({item for order in orders for item in order}))
    assert mine_bundles(baskets(orders), items, AS_OF).num_rows == 1
    assert mine_bundles(baskets(orders, buyer=one), items, AS_OF).num_rows == 0


def bundle(orders: list[tuple[str, ...]], items: pa.Table, **columns: Any) -> dict[str, Any]:
    [found] = mine_bundles(baskets(orders, **columns), items, AS_OF, SMALL).to_pylist()
    return found


NAMES = sorted({*"abcdefghijklmnopqrstuvwxyz", "x1", "x2"})
ORDERS = [*mixed(600), *[("x1", "x2")] * 25]


def test_evidence_says_what_a_bundle_rests_on() -> None:
    found = bundle(ORDERS, catalogue(*NAMES))
    assert (found["bundle_type"], found["basket_count"], found["basket"]) == ("complementary", 25, "order")
    assert found["lift"] == pytest.approx(25 / found["expected_count"]) and found["lift"] > 10
    assert found["q_value"] < 1e-6
    assert (found["buyer_count"], found["anchor_count"]) == (25, 25)
    assert (found["first_date"], found["last_date"]) == (FIRST, LAST)
    assert found["season_months"] is None and found["moved_count"] is None


def test_goods_of_two_categories_are_cross_sold() -> None:
    categories = ["other" if name == "x1" else "c" for name in NAMES]
    assert bundle(ORDERS, catalogue(*NAMES, category=categories))["bundle_type"] == "cross_sell"


def test_what_meets_in_the_coming_month_alone_is_seasonal() -> None:
    rng = np.random.default_rng(1)
    months = [*rng.integers(0, 12, 600).tolist(), *[11] * 25]
    days = [30 * month for month in months]
    found = bundle(ORDERS, catalogue(*NAMES), month=months, day=days)
    assert (found["bundle_type"], found["season_months"]) == ("seasonal", [12])
    assert found["season_lift"] > 5


def test_overstock_is_promoted_beside_what_sells() -> None:
    stock = [5000 if name == "x2" else 20 for name in NAMES]
    found = bundle(ORDERS, catalogue(*NAMES, stock=stock))
    assert (found["bundle_type"], found["items"]) == ("promotional", ["x1", "x2"])
    assert found["stock_cover_days"] > 180
    assert found["counted_cost"] == pytest.approx(found["cost"] - 0.3 * 4.0)


def test_a_slow_mover_is_told_by_its_share_of_the_shop() -> None:
    days = [*range(0, 300, 3), *range(305, 365, 2)]
    found = baskets([("a", "b") if day < 300 else ("b",) for day in days], day=days)
    goods = read_goods(catalogue("a", "b", stock=[None, None]), found.item_ids)
    lying = lying_items(found, goods, SMALL)
    assert {found.item_ids[item] for item in lying} == {"a"}
    assert lying[found.item_ids.index("a")]["sales_ratio"] == 0.0


def test_an_upsell_stands_instead_of_the_cheaper_version() -> None:
    orders = [*mixed(600), *[("basic",)] * 30, *[("best", "x1")] * 30]
    users = [*[f"u{number}" for number in range(600)], *[f"b{number}" for number in range(30)] * 2]
    names = [*"abcdefghijklmnopqrstuvwxyz", "basic", "best", "x1"]
    items = catalogue(
        *names,
        price=[16.0 if name == "best" else 10.0 for name in names],
        category=["tools" if name in ("basic", "best") else "c" for name in names],
    )
    found = bundle(orders, items, buyer=users, day=[300] * 600 + [10] * 30 + [310] * 30)
    assert (found["bundle_type"], found["instead_of"]) == ("upsell", "basic")
    assert found["items"] == ["best", "x1"]
    assert found["moved_count"] == 30 > found["moved_expected"]


@pytest.mark.parametrize("changes", [{"stock": 0}, {"price": None}])
def test_what_cannot_be_bought_is_in_no_bundle(changes: dict[str, Any]) -> None:
    columns = {name: [value if each == "x2" else 20 for each in NAMES] for name, value in changes.items()}
    assert mine_bundles(baskets(ORDERS), catalogue(*NAMES, **columns), AS_OF, SMALL).num_rows == 0


def test_small_orders_are_joined_by_customer() -> None:
    # Nobody buys two things at once; the same customers buy x1 and x2 within a month.
    orders = [(item,) for order in mixed(600) for item in order] + [("x1",)] * 25 + [("x2",)] * 25
    owners = [f"u{number}" for number, order in enumerate(mixed(600)) for _ in order]
    pair_owners = [f"b{number}" for number in range(25)] * 2
    found = bundle(
        orders,
        catalogue(*NAMES),
        buyer=[*owners, *pair_owners],
        day=[360] * len(owners) + [340] * 25 + [360] * 25,
    )
    assert (sorted(found["items"]), found["basket"]) == (["x1", "x2"], "customer_period")


def test_nothing_is_written_where_nothing_sells_together() -> None:
    assert bundle_tables([], catalogue("a"), AS_OF) == {}
    assert mine_bundles(baskets(mixed(200)), catalogue(*NAMES), AS_OF).num_rows == 0


def test_an_unknown_cost_is_assumed_and_flagged() -> None:
    found = bundle(ORDERS, catalogue(*NAMES, cost=[None] * len(NAMES)))
    assert found["is_cost_assumed"]
    assert found["cost"] == pytest.approx(0.6 * found["list_price"])


# price


def test_the_response_of_a_planted_elasticity_is_found() -> None:
    rng = np.random.default_rng(0)
    log_price = rng.choice(np.log([8.0, 10.0, 12.0]), (40, 52))
    totals = rng.integers(500, 1500, 52).astype(float)
    orders = rng.poisson(0.02 * totals * np.exp(-1.8 * (log_price - np.log(10)))).astype(float)
    estimate, variance = item_elasticities(orders, log_price, totals)
    assert np.abs(estimate - 1.8).mean() < 0.3
    mean, spread = shop_response(estimate, variance)
    assert (mean, spread) == (pytest.approx(1.8, abs=0.1), pytest.approx(0.0, abs=0.3))
    assert np.mean(np.abs(estimate - 1.8) < 1.96 * np.sqrt(variance)) > 0.85


def test_without_price_changes_the_prior_is_all_there_is() -> None:
    found = price_response(baskets(ORDERS))
    assert found.measured == 0
    assert (found.elasticity == PRIOR_MEAN).all()
    assert set(found.source.tolist()) == {2}


def test_a_discount_is_given_where_it_earns_and_never_below_the_floor() -> None:
    """Lerner's rule: a cut pays where elasticity x margin share of the rest is above 1."""
    price, rest, margin, attach = (np.full(4, each) for each in (20.0, 10.0, 6.0, 0.2))
    cost = np.array([8.0, 8.0, 16.0, 8.0])
    slope = np.array([3.0, 1.2, 3.0, 3.0])
    lowest = np.array([8.0, 8.0, 16.0, 19.0])
    steps = np.linspace(0.0, 0.3, 31)
    found = best_discounts(price, cost, rest, margin, attach, slope, lowest, steps)
    assert found[0] > 0.05
    assert found[1:].tolist() == [0.0, 0.0, pytest.approx(0.05)]
    at = [profit_at(attach_at(0.2, 3.0, d * 2), 20 * (1 - d), 8.0, 6.0) for d in (0.0, found[0])]
    assert at[1] > at[0]


def test_a_response_is_claimed_within_bounds_alone() -> None:
    assert attach_at(0.2, 2.0, 0.9) == attach_at(0.2, 2.0, MOST_CUT)
    assert attach_at(0.9, 6.0, 0.5) == 1.0


def test_an_item_is_in_few_bundles_of_a_kind() -> None:
    orders = [*mixed(900), *[("hub", f"s{number}") for number in range(8) for _ in range(20)]]
    items = catalogue(*sorted({item for order in orders for item in order}))
    config = replace(SMALL, most_per_item=3)
    found = mine_bundles(baskets(orders), items, AS_OF, config).to_pylist()
    assert sum("hub" in each["items"] for each in found) == 3
    assert len({frozenset(each["items"]) for each in found}) == len(found)
