"""Always-valid inference: against the mixture's integral, the published formula, and simulated peeking."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from training.experiments.effects import Contrast
from training.experiments.power import always_valid_limit
from training.experiments.sequential import always_valid, mixing

PLANNED = 2000.0


def contrast(score: float, users: float = 1000.0, variance: float = 4e-3) -> Contrast:
    return Contrast(*(np.float64(each) for each in (score * math.sqrt(variance), variance, users, users)))


@pytest.mark.parametrize("score", [0.0, 1.5, 3.2, 5.0])
@pytest.mark.parametrize("users", [200.0, 2000.0, 9000.0])
def test_the_p_value_is_one_over_the_likelihood_ratio_averaged_over_the_prior(
    score: float, users: float
) -> None:
    """The mixture by quadrature: the score is N(m, 1), m is 0 or drawn from N(0, e)."""
    spread = math.sqrt(float(mixing(np.float64(users), PLANNED)))

    def weighed(mean: float) -> float:
        return float(stats.norm.pdf(mean, 0, spread) * stats.norm.pdf(score, mean) / stats.norm.pdf(score))

    ratio = integrate.quad(weighed, score - 12, score + 12, points=[0.0, score], limit=200)[0]
    found = always_valid(contrast(score, users), 0.95, PLANNED)
    assert found.p_value == pytest.approx(min(1.0, 1 / ratio), rel=1e-6)


def test_the_interval_is_the_published_confidence_sequence() -> None:
    """Equation (6) of Waudby-Smith et al.: s sqrt(2 (t r^2 + 1) / (t^2 r^2) log(sqrt(t r^2 + 1) / alpha))."""
    users, deviation, alpha = 700.0, 3.0, 0.05
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / PLANNED
    reach = deviation * math.sqrt(
        2 * (users * rho2 + 1) / (users**2 * rho2) * math.log(math.sqrt(users * rho2 + 1) / alpha)
    )
    found = always_valid(contrast(1.0, users, deviation**2 / users), 1 - alpha, PLANNED)
    assert (found.high - found.low) / 2 == pytest.approx(reach)


def test_the_interval_excludes_zero_exactly_when_the_p_value_is_below_the_level() -> None:
    limit = optimize.brentq(lambda z: always_valid(contrast(z), 0.95, PLANNED).low, 0.1, 10)
    assert always_valid(contrast(limit), 0.95, PLANNED).p_value == pytest.approx(0.05)


def test_the_interval_is_about_narrowest_at_the_planned_number_of_users() -> None:
    def reach(planned: float) -> float:
        found = always_valid(contrast(0.0, PLANNED), 0.95, planned)
        return float(found.high - found.low)

    assert reach(PLANNED) <= min(reach(PLANNED / 4), reach(PLANNED * 4))
    assert reach(PLANNED) == pytest.approx(min(reach(PLANNED * k) for k in np.linspace(0.5, 2, 61)), rel=1e-3)


def test_the_planner_knows_the_same_limit() -> None:
    limit = always_valid_limit(0.05)
    assert always_valid(contrast(limit, PLANNED), 0.95, PLANNED).p_value == pytest.approx(0.05)


def test_peeking_after_every_user_finds_nothing_more_often_than_the_level() -> None:
    steps = np.random.default_rng(3).normal(size=(1000, 4000)).cumsum(axis=1)
    users = np.arange(1.0, 4001.0)
    found = always_valid(Contrast(steps / users, 1 / users, users, users), 0.95, 1000.0)
    assert 0.005 < (found.p_value < 0.05).any(axis=1).mean() <= 0.05
