"""Calibration maps that are numbers."""

import numpy as np
import pytest
from scipy.special import expit

from training.calibration import Knots, conformal_level, fit_platt, logistic_offset


def test_platt_finds_the_slope_and_intercept_that_made_the_data() -> None:
    draw = np.random.default_rng(0)
    margin = draw.normal(2.0, 3.0, 40_000)
    truth = (draw.uniform(size=len(margin)) < expit(-0.5 + 0.6 * margin)).astype(float)
    found = fit_platt(margin, truth)
    assert [found.slope, found.intercept] == pytest.approx([0.6, -0.5], abs=0.04)


def test_platt_stays_finite_on_separable_data() -> None:
    found = fit_platt(np.array([-1.0, -0.5, 0.5, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert 0.0 < found.slope < 20.0
    assert np.all(found.probability(np.array([-1.0, 1.0])) > 0.0)


def test_a_margin_that_does_not_vary_gives_the_rate() -> None:
    found = fit_platt(np.zeros(100), np.repeat([1.0, 0.0], [30, 70]))
    assert found.probability(np.zeros(1))[0] == pytest.approx(0.3, abs=0.01)


def test_the_offset_makes_predictions_and_outcomes_agree_in_total() -> None:
    margin = np.array([-2.0, 0.0, 1.0, 3.0, 0.5])
    truth = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    assert expit(margin + logistic_offset(margin, truth)).mean() == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize("only", [0.0, 1.0])
def test_the_offset_of_one_class_alone_is_bounded(only: float) -> None:
    assert np.isfinite(logistic_offset(np.zeros(50), np.full(50, only)))


def test_the_conformal_level_leaves_out_no_more_than_the_share() -> None:
    inner = np.random.default_rng(3).uniform(0.0, 0.5, 999)
    level = conformal_level(inner, 0.8)
    assert np.mean(inner >= level) == pytest.approx(0.8, abs=0.002)


def test_too_few_customers_for_the_coverage_give_the_widest_interval() -> None:
    assert conformal_level(np.array([0.3, 0.4]), 0.8) == 0.0


def test_knots_give_back_the_quantiles_of_their_sample() -> None:
    knots = Knots.of(np.linspace(-1.0, 1.0, 2001))
    shares = np.array([0.0, 0.1, 0.5, 1.0])
    assert knots.quantile(shares) == pytest.approx([-1.0, -0.8, 0.0, 1.0])
    assert knots.probability(knots.quantile(shares)) == pytest.approx(shares)
    assert list(knots.probability(np.array([-9.0, 9.0]))) == [0.0, 1.0]
