"""One metric of one experiment: who counts when, segments, CUPED, and what simulated A/A tests find."""

import numpy as np
import pytest

from training.experiments.analysis import Users, daily_looks, look_at, segment_looks
from training.experiments.effects import arm
from training.experiments.false_positives import Simulation, simulate
from training.experiments.metrics import BUILT_IN, Metric, by_name

SPEND = Metric("spend", "mean", "spend", window_days=2)
RNG = np.random.default_rng(4)


def users(count: int, mean: float, day: int = 0) -> Users:
    values = RNG.normal(mean, 1, count)
    return Users(np.full(count, day), values, covariates=values[:, None] + RNG.normal(0, 0.1, (count, 1)))


def test_users_count_once_their_window_is_closed() -> None:
    control, treated = users(200, 1.0), users(200, 2.0)
    assert look_at(SPEND, control, treated, 0, 0.95, 400) is None
    looks = daily_looks(SPEND, control, treated, range(4), 0.95, 400)
    assert [each.day for each in looks] == [1, 2, 3]
    assert looks[0].look.fixed.estimate == pytest.approx(treated.numerator.mean() - control.numerator.mean())


def test_too_few_users_say_nothing() -> None:
    assert look_at(SPEND, users(99, 1.0), users(500, 2.0), 9, 0.95, 400) is None


def test_covariates_shrink_the_interval_and_decide() -> None:
    look = look_at(SPEND, users(200, 1.0), users(200, 1.2), 9, 0.95, 400)
    assert look is not None and look.adjusted_always_valid is not None
    assert look.deciding is look.adjusted_always_valid
    assert look.variance_reduction > 0.9
    assert look.deciding.high - look.deciding.low < look.always_valid.high - look.always_valid.low


def test_a_ratio_without_any_denominator_says_nothing() -> None:
    metric = Metric("ctr", "ratio", "recommendation_click_count", "recommendation_view_count")
    nobody = Users(np.zeros(200, int), np.zeros(200), np.zeros(200))
    assert look_at(metric, nobody, nobody, 9, 0.95, 400) is None


def test_segments_are_adjusted_together() -> None:
    def split(count: int, mean: float) -> Users:
        tier = np.where(np.arange(count) % 2 == 0, "VIP", "New").astype(object)
        raised = RNG.normal(0, 1, count) + mean * (tier == "VIP")
        return Users(np.zeros(count, int), raised, segments={"customer_tier": tier})

    found = segment_looks(SPEND, split(600, 0.0), split(600, 0.6), 9, 0.95, 1200)
    assert [(each.dimension, each.value) for each in found] == [
        ("customer_tier", "New"),
        ("customer_tier", "VIP"),
    ]
    new, vip = found
    assert vip.adjusted_p_fixed == pytest.approx(2 * vip.look.fixed.p_value)
    assert vip.adjusted_p_always_valid < 0.05 < new.adjusted_p_always_valid
    assert arm(np.zeros(3)).users == 3


def test_simulated_a_a_tests_find_what_they_should() -> None:
    found = simulate(by_name(BUILT_IN)["conversion_rate"], Simulation(tests=300, days=7))
    assert 0.02 < found.fixed_at_end < 0.09
    assert found.fixed_daily > 0.1
    assert found.always_valid_daily <= 0.05 and found.adjusted_daily <= 0.05
