"""Differences and ratios: the same figures as scipy and statsmodels give."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from training.experiments.effects import (
    arm,
    difference,
    fixed_horizon,
    lift,
    linearised,
    winsorised,
)

RNG = np.random.default_rng(7)
CONTROL = RNG.exponential(3.0, 80)
TREATED = RNG.exponential(4.0, 50)


def test_the_fixed_horizon_test_is_welchs() -> None:
    found = fixed_horizon(difference(arm(CONTROL), arm(TREATED)), 0.95)
    theirs = stats.ttest_ind(TREATED, CONTROL, equal_var=False)
    assert found.p_value == pytest.approx(theirs.pvalue)
    interval = CompareMeans(DescrStatsW(TREATED), DescrStatsW(CONTROL)).tconfint_diff(usevar="unequal")
    assert (found.low, found.high) == pytest.approx(interval)


def test_the_variance_of_a_ratio_is_that_of_a_regression_with_clusters_of_users() -> None:
    shown = RNG.poisson(6, 400) + 1.0
    clicks = RNG.binomial(shown.astype(int), 0.2).astype(float)
    found = arm(linearised(clicks, shown))
    rate = sm.WLS(clicks / shown, np.ones(400), weights=shown).fit(
        cov_type="cluster", cov_kwds={"groups": np.arange(400)}
    )
    assert found.mean == pytest.approx(clicks.sum() / shown.sum())
    assert found.variance == pytest.approx(float(rate.bse[0]) ** 2, rel=1e-9)


def test_the_lift_has_the_variance_that_resampling_gives() -> None:
    found = lift(arm(CONTROL), arm(TREATED))
    draws = RNG.choice(TREATED, (20_000, 50)).mean(axis=1) / RNG.choice(CONTROL, (20_000, 80)).mean(axis=1)
    assert found.estimate == pytest.approx(TREATED.mean() / CONTROL.mean() - 1)
    assert np.sqrt(found.variance) == pytest.approx(draws.std(), rel=0.06)


def test_a_control_that_does_nothing_has_no_lift() -> None:
    assert np.isnan(lift(arm(np.zeros(5)), arm(np.ones(5))).estimate)


def test_two_constant_arms_do_not_differ() -> None:
    assert fixed_horizon(difference(arm(np.zeros(5)), arm(np.zeros(5))), 0.95).p_value == 1


def test_both_arms_are_cut_at_one_limit() -> None:
    low, high = winsorised((np.arange(10.0), np.array([1.0, 1000.0])), 0.9)
    assert low.max() == 9 and high.max() == 9


def test_many_tests_at_once_are_the_same_tests_one_by_one() -> None:
    controls, treated = RNG.normal(0, 1, (3, 20)), RNG.normal(1, 2, (3, 30))
    together = fixed_horizon(difference(arm(controls), arm(treated)), 0.9)
    alone = [fixed_horizon(difference(arm(controls[k]), arm(treated[k])), 0.9).p_value for k in range(3)]
    assert together.p_value == pytest.approx(np.array(alone))
