"""CUPED: the coefficient of a regression, an unbiased effect, less variance, and no covariate that lies."""

import numpy as np
import pytest
import statsmodels.api as sm

from training.experiments.cuped import adjusted, covariate_matrix
from training.experiments.effects import arm, difference

RNG = np.random.default_rng(11)


def test_the_effect_is_that_of_a_regression_on_arm_and_covariates() -> None:
    before = [RNG.normal(size=(300, 2)), RNG.normal(size=(200, 2))]
    values = [
        each @ [2.0, -1.0] + RNG.normal(size=len(each)) + lift
        for each, lift in zip(before, (0, 0.5), strict=True)
    ]
    found = adjusted((values[0], values[1]), (before[0], before[1]))
    treated = np.repeat([0.0, 1.0], [300, 200])
    design = sm.add_constant(np.column_stack([treated, np.concatenate(before)]))
    fitted = sm.OLS(np.concatenate(values), design).fit()
    assert found[1].mean() - found[0].mean() == pytest.approx(fitted.params[1])


def test_the_adjusted_effect_is_unbiased_and_its_variance_falls_by_the_share_explained() -> None:
    before = RNG.normal(size=(2, 1000, 200, 1))
    values = 0.8 * before[..., 0] + 0.6 * RNG.normal(size=(2, 1000, 200))
    values[1] += 0.3
    raw = difference(arm(values[0]), arm(values[1]))
    after = adjusted((values[0], values[1]), (before[0], before[1]))
    cleared = difference(arm(after[0]), arm(after[1]))
    assert cleared.estimate.mean() == pytest.approx(0.3, abs=3 * cleared.estimate.std() / np.sqrt(1000))
    assert 1 - cleared.estimate.var() / raw.estimate.var() == pytest.approx(0.64, abs=0.05)
    assert cleared.variance.mean() == pytest.approx(cleared.estimate.var(), rel=0.12)


def test_constant_values_stay_constant() -> None:
    covariates = RNG.normal(size=(50, 1))
    found = adjusted((np.full(50, 0.1), np.full(50, 0.1)), (covariates, covariates))
    assert found[0].tolist() == [0.1] * 50


def test_a_covariate_given_twice_changes_nothing() -> None:
    known = RNG.normal(size=(100, 1))
    values = known[:, 0] + RNG.normal(size=100)
    once = adjusted((values[:50], values[50:]), (known[:50], known[50:]))
    twice = adjusted((values[:50], values[50:]), (known[:50].repeat(2, 1), known[50:].repeat(2, 1)))
    assert once[0] == pytest.approx(twice[0])


def test_a_user_of_whom_nothing_was_known_stands_at_the_mean_and_is_marked() -> None:
    found = covariate_matrix(np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, np.nan]]))
    assert found.tolist() == [
        [-1.0, 1.0],
        [1.0, 1.0],
        [0.0, 0.0],
    ]
