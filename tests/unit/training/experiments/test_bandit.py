"""Thompson's shares against sampling, and weights that undo the bias of a bandit's means."""

import numpy as np
import pytest

from training.experiments.bandit import FLOOR, best_probabilities, shares
from training.experiments.effects import arm, linearised


def test_the_probability_of_being_best_is_that_of_sampling() -> None:
    means, errors = np.array([1.0, 1.2, 1.1]), np.array([0.1, 0.2, 0.01])
    draws = np.random.default_rng(1).normal(means, errors, (400_000, 3)).argmax(axis=1)
    assert best_probabilities(means, errors) == pytest.approx(np.bincount(draws) / 400_000, abs=0.003)


def test_every_arm_keeps_the_floor_and_few_users_give_equal_shares() -> None:
    rng = np.random.default_rng(2)
    arms = {"control": arm(rng.normal(0, 1, 500)), "better": arm(rng.normal(5, 1, 500))}
    found = shares(arms, minimum_users=100)
    assert found == {"control": pytest.approx(FLOOR), "better": pytest.approx(1 - FLOOR)}
    assert shares(arms, minimum_users=100, is_lower_better=True)["control"] == pytest.approx(1 - FLOOR)
    assert shares(arms, minimum_users=501) == {"control": 0.5, "better": 0.5}


def test_weights_undo_the_bias_of_an_arm_that_was_shown_less_after_bad_luck() -> None:
    """Two equal arms; after day one the arm that looks worse gets a tenth. Plain means say it is worse."""
    rng = np.random.default_rng(9)
    plain, weighed, variance = [], [], []
    for _ in range(4000):
        first = rng.normal(0, 1, (2, 50))
        is_worse = first[0].mean() < first[1].mean()
        share = 0.1 if is_worse else 0.9
        second = rng.normal(0, 1, round(100 * share))
        values = np.concatenate([first[0], second])
        propensities = np.repeat([0.5, share], [50, len(second)])
        plain.append(values.mean())
        weights = 1 / propensities
        found = arm(linearised(values * weights, weights))
        weighed.append(found.mean)
        variance.append(found.variance)
    assert np.mean(plain) < -4 * np.std(plain) / np.sqrt(4000)
    assert abs(np.mean(weighed)) < 3 * np.std(weighed) / np.sqrt(4000)
    assert np.mean(variance) == pytest.approx(np.var(weighed), rel=0.1)
