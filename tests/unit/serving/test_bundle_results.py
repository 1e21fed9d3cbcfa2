"""Bundles expected against realized: what counts as seen, added and bought."""

from typing import Any

import pytest

from serving.bundle_results import BundleAct, results_by_type, wilson
from serving.store.analytics import Served


def served(decision_id: str, *bought: str, **changes: Any) -> Served:
    bundle = {
        "bundle_type": "cross_sell",
        "items": ["a", "b"],
        "price": 10.0,
        "discount": 0.1,
        "expected_attach": 0.25,
        "unit_profit": 4.0,
    }
    outcomes = [(item, "converted", f"e{item}") for item in bought]
    return Served(decision_id, "bundles", {"bundles": [bundle | changes]}, outcomes)


def test_expected_stands_beside_realized() -> None:
    acts = [BundleAct("bundle_view", f"d{number}-1") for number in range(4)]
    acts += [
        BundleAct("bundle_add", "d0-1"),
        BundleAct("bundle_add", "d0-1"),
        BundleAct("bundle_add", "d9-1"),
    ]
    answers = [served("d0", "a", "b"), served("d1", "a"), *(served(f"d{each}") for each in (2, 3, 4))]
    [row] = results_by_type(answers, acts)
    assert (row["served"], row["views"], row["adds"], row["bought"]) == (5, 4, 1, 1)
    assert (row["expected_attach"], row["attach_rate"]) == (0.25, 0.25)
    assert (row["expected_profit"], row["realized_profit"]) == (4.0, 4.0)
    assert row["attach_interval"][0] < 0.25 < row["attach_interval"][1]


def test_what_nobody_saw_has_no_rate() -> None:
    [row] = results_by_type([served("d0")], [BundleAct("bundle_add", "d0-1")])
    assert (row["attach_rate"], row["attach_interval"], row["adds"]) == (None, None, 1)


def test_bundles_of_which_nothing_was_expected_are_counted_too() -> None:
    bare = Served("d0", "bundles", {"bundles": [{"bundle_type": "upsell", "price": 3.0}]}, [])
    [row] = results_by_type([bare], [])
    assert (row["bundle_type"], row["mean_price"], row["expected_attach"]) == ("upsell", 3.0, None)


def test_the_interval_is_wilsons() -> None:
    assert wilson(0, 0) is None
    assert wilson(1, 10) == pytest.approx((0.0179, 0.4042), abs=1e-3)
    assert wilson(0, 20) == (0.0, pytest.approx(0.161, abs=1e-3))
