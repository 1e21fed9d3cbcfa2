"""Uplift: a known effect is found, a useless ranking is seen through, and policies get their true value."""

import numpy as np
import pandas as pd
import pytest

from training.errors import InvalidConfig, NotEnoughData
from training.uplift import (
    Experiment,
    UpliftConfig,
    average_effect,
    cross_fitted_uplift,
    fit_uplift,
    policy_values,
    qini,
)
from training.value_config import TreesConfig

QUICK = UpliftConfig(
    folds=2,
    minimum_arm=100,
    outcome=TreesConfig(rounds=20, ensemble=1),
    effect=TreesConfig(rounds=30, ensemble=1, learning_rate=0.1),
)


def experiment(seed: int = 1, people: int = 6000, propensity: float = 0.5) -> Experiment:
    """Half the customers react: they buy 0.3 more often when treated, the others 0.1 less."""
    rng = np.random.default_rng(seed)
    reacts, treated = rng.random(people) < 0.5, rng.random(people) < propensity
    chance = 0.3 + np.where(reacts, 0.3, -0.1) * treated
    features = pd.DataFrame({"reacts": reacts * 1.0, "noise": rng.normal(size=people)})
    outcome = (rng.random(people) < chance).astype(float)
    return Experiment(features, treated, outcome, np.full(people, propensity))


def true_effect(of: Experiment) -> np.ndarray:  # type: ignore[type-arg]
    return np.where(of.features["reacts"] > 0, 0.3, -0.1)


@pytest.mark.parametrize("propensity", [0.5, 0.2])
def test_the_model_finds_who_reacts_and_by_how_much(propensity: float) -> None:
    data = experiment(propensity=propensity)
    model = fit_uplift(data, QUICK)
    predicted = model.predict(pd.DataFrame({"reacts": [1.0, 0.0], "noise": [0.0, 0.0]}))
    assert predicted[0] == pytest.approx(0.3, abs=0.08)
    assert predicted[1] == pytest.approx(-0.1, abs=0.08)


def test_the_average_effect_is_the_difference_of_the_arms() -> None:
    effect = average_effect(experiment())
    assert effect.low < 0.1 < effect.high
    assert effect.high - effect.low < 0.06


def test_qini_is_above_zero_for_scores_of_unseen_customers() -> None:
    data = experiment()
    found = qini(data, cross_fitted_uplift(data, QUICK), seed=1, draws=200)
    assert found.low > 0.0
    # The area for a perfect ranking: the triangle between (0, 0), (1/2, 0.15) and (1, 0.1).
    assert found.value == pytest.approx(0.05, abs=0.012)


def test_qini_holds_zero_for_a_ranking_by_noise() -> None:
    worlds = [experiment(seed, people=2000) for seed in range(20)]
    found = [qini(data, data.features["noise"].to_numpy(), seed=1, draws=100) for data in worlds]
    assert sum(each.low < 0.0 < each.high for each in found) >= 17


def test_qini_is_zero_where_all_scores_are_equal() -> None:
    data = experiment(people=500)
    assert qini(data, np.zeros(500), seed=1, draws=10).value == pytest.approx(0.0, abs=1e-12)


def test_qini_of_the_reversed_ranking_is_negative() -> None:
    data = experiment()
    assert qini(data, -true_effect(data), seed=1, draws=100).high < 0.0


def test_policies_are_worth_what_they_earn() -> None:
    data = experiment(people=8000)
    values = {each.share: each.value for each in policy_values(data, true_effect(data), (0.0, 0.5, 1.0))}
    for share, truth in ((0.0, 0.3), (0.5, 0.45), (1.0, 0.4)):
        assert values[share].low <= truth <= values[share].high
        assert not values[share].abstains
    assert values[0.5].low > values[0.0].high


def test_an_outcome_in_money_is_fitted_too() -> None:
    data = experiment()
    money = Experiment(data.features, data.treated, 10.0 * data.outcome, data.propensity)
    predicted = fit_uplift(money, QUICK).predict(pd.DataFrame({"reacts": [1.0], "noise": [0.0]}))
    assert predicted[0] == pytest.approx(3.0, abs=0.8)


def test_a_small_arm_is_named() -> None:
    with pytest.raises(NotEnoughData, match="treated customers of the experiment"):
        fit_uplift(experiment(people=120), QUICK)


def test_an_arm_that_was_certain_is_refused() -> None:
    with pytest.raises(ValueError, match=r"propensity=.*1\.0"):
        Experiment(pd.DataFrame({"a": [1.0]}), np.array([True]), np.array([1.0]), np.array([1.0]))


def test_one_fold_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="folds=1"):
        UpliftConfig(folds=1)
