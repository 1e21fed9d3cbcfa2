"""Attribution on journeys that can be worked out by hand, and effects that are known."""

import numpy as np
import pandas as pd
import pytest

from training.attribution import (
    Arm,
    Chain,
    Effect,
    added,
    conversion_probability,
    count_transitions,
    incremental_revenue,
    removal_effects,
    shares,
)
from training.errors import NotEnoughData

DAY = 86_400_000_000


def journeys(touches: list[tuple[str, str, int]], orders: list[tuple[str, int]]) -> Chain:
    """Touches as (visitor, channel, day) and orders as (visitor, day); window 30 days."""
    return count_transitions(
        pd.DataFrame(
            {
                "visitor_id": [visitor for visitor, _, _ in touches],
                "channel": [channel for _, channel, _ in touches],
                "at": [day * DAY for _, _, day in touches],
            }
        ),
        pd.DataFrame(
            {"visitor_id": [visitor for visitor, _ in orders], "at": [day * DAY for _, day in orders]}
        ),
        window_days=30,
    )


def test_the_published_example_of_removal_effects_comes_out() -> None:
    # Three journeys: c1 > c2 > c3 bought, c1 left, c2 > c3 left. P(bought) is 1/3; without c1 1/6, without
    # c2 or c3 nothing is bought.
    chain = journeys(
        [("a", "c1", 1), ("a", "c2", 2), ("a", "c3", 3), ("b", "c1", 1), ("c", "c2", 1), ("c", "c3", 2)],
        [("a", 4)],
    )
    assert conversion_probability(chain.counts) == pytest.approx(1 / 3)
    effects = removal_effects(chain)
    assert effects == pytest.approx({"c1": 0.5, "c2": 1.0, "c3": 1.0})
    assert shares(effects) == pytest.approx({"c1": 0.2, "c2": 0.4, "c3": 0.4})


def test_a_channel_of_which_nobody_buys_earns_nothing() -> None:
    chain = journeys([("a", "good", 1), ("b", "idle", 1)], [("a", 2)])
    assert removal_effects(chain) == pytest.approx({"good": 1.0, "idle": 0.0})


def test_a_journey_ends_with_its_order_or_after_the_window() -> None:
    chain = journeys(
        [("a", "mail", 1), ("a", "mail", 2), ("a", "mail", 50), ("b", "mail", 1)],
        [("a", 3), ("b", 40), ("z", 1)],
    )
    # a: start > mail > bought, then after 47 days start > mail > left; b: the order comes too late.
    assert chain.channels == ("mail",)
    np.testing.assert_array_equal(chain.counts[0], [0, 3, 0, 0])
    np.testing.assert_array_equal(chain.counts[1], [0, 0, 1, 2])


def test_the_order_of_rows_changes_nothing() -> None:
    touches = [("a", "c1", 1), ("a", "c2", 2), ("b", "c2", 2), ("b", "c1", 5)]
    orders = [("a", 3), ("b", 9)]
    there, back = journeys(touches, orders), journeys(touches[::-1], orders[::-1])
    np.testing.assert_array_equal(there.counts, back.counts)


def test_without_an_order_nothing_can_be_shared() -> None:
    with pytest.raises(NotEnoughData, match="journeys"):
        removal_effects(journeys([("a", "c1", 1)], []))


def arm(revenue: list[float], prior: list[float]) -> Arm:
    y, x = np.array(revenue), np.array(prior)
    return Arm(len(y), y.sum(), (y**2).sum(), x.sum(), (x**2).sum(), (x * y).sum())


def test_without_prior_spend_the_effect_is_the_difference_of_means() -> None:
    effect = incremental_revenue(arm([3.0, 5.0], [0.0, 0.0]), arm([1.0, 1.0, 4.0], [0.0, 0.0, 0.0]))
    assert effect.incremental_revenue == pytest.approx(2 * (4.0 - 2.0))
    assert effect.variance == pytest.approx(4 * (2.0 / 2 + 3.0 / 3))


def test_what_was_spent_before_is_taken_out() -> None:
    # After is before plus 2 for the treated: exactly known once the prior is taken out.
    effect = incremental_revenue(arm([12.0, 3.0, 7.0], [10.0, 1.0, 5.0]), arm([4.0, 8.0], [4.0, 8.0]))
    assert effect.incremental_revenue == pytest.approx(6.0)
    assert effect.variance == pytest.approx(0.0)


def test_prior_spend_narrows_the_interval_and_leaves_the_effect_unbiased() -> None:
    draw = np.random.default_rng(5)
    found, raw, adjusted = [], [], []
    for _ in range(400):
        prior = draw.gamma(1.0, 20.0, 300)
        after = prior * 0.5 + draw.normal(0, 3, 300)
        is_treated = np.arange(300) < 200
        after[is_treated] += 1.0
        sides = [(after[side], prior[side]) for side in (is_treated, ~is_treated)]
        effect = incremental_revenue(*(arm(list(y), list(x)) for y, x in sides))
        found.append(effect.incremental_revenue / 200)
        adjusted.append(effect.variance)
        raw.append(incremental_revenue(*(arm(list(y), [0.0] * len(y)) for y, _ in sides)).variance)
    assert np.mean(found) == pytest.approx(1.0, abs=0.08)
    assert np.mean(adjusted) < 0.2 * np.mean(raw)
    assert np.var(np.array(found) * 200) == pytest.approx(np.mean(adjusted), rel=0.2)


def test_an_arm_of_one_has_no_effect_to_tell() -> None:
    with pytest.raises(NotEnoughData, match="held out"):
        incremental_revenue(arm([1.0, 2.0], [0.0, 0.0]), arm([1.0], [0.0]))


def test_effects_and_their_variances_add_up() -> None:
    assert added([Effect(3.0, 1.0), Effect(-1.0, 2.0)]) == Effect(2.0, 3.0)
    assert added([]) == Effect(0, 0)
