"""How often this analysis calls a difference where there is none: simulated A/A tests, looked at every day.

The visitors are made up, skewed as a shop's are: most do nothing, a few do much. Every test runs through the
very functions that analyse a real experiment (`analysis.compare`), many at once.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from training.experiments.analysis import Look, compare, user_values
from training.experiments.effects import Array
from training.experiments.metrics import Metric

BLOCK = 250
"""Tests that are simulated at once, so that memory stays below some 100 MB."""


@dataclass(frozen=True)
class Simulation:
    """A/A tests: how many, how long, how many visitors a day in each of two arms."""

    tests: int = 2000
    days: int = 14
    visitors_per_day: int = 100
    level: float = 0.95
    seed: int = 20261


@dataclass(frozen=True)
class FalsePositives:
    """Shares of A/A tests in which a difference was called. Nominal: 1 - level.

    `fixed_at_end`: one look, at the end. `fixed_daily`: the same test looked at every day, which is why
    nobody should. `always_valid_daily` and `adjusted_daily` (with CUPED): confidence sequences, every day.
    """

    tests: int
    fixed_at_end: float
    fixed_daily: float
    always_valid_daily: float
    adjusted_daily: float

    def to_dict(self) -> dict[str, float]:
        """JSON form."""
        return asdict(self)


def simulate(metric: Metric, simulation: Simulation) -> FalsePositives:
    """The shares for one metric."""
    rng = np.random.default_rng(simulation.seed)
    called = np.zeros(4)
    done = 0
    while done < simulation.tests:
        tests = min(BLOCK, simulation.tests - done)
        looks = list(_daily(metric, simulation, rng, tests))
        alpha = 1 - simulation.level
        fixed = np.array([look.fixed.p_value for look in looks]) < alpha
        sequential = np.array([look.always_valid.p_value for look in looks]) < alpha
        cleared = np.array([look.deciding.p_value for look in looks]) < alpha
        called += [
            fixed[-1].sum(),
            fixed.any(axis=0).sum(),
            sequential.any(axis=0).sum(),
            cleared.any(axis=0).sum(),
        ]
        done += tests
    return FalsePositives(simulation.tests, *(float(share) for share in called / simulation.tests))


def visitors(measure: str, shape: tuple[int, int], eagerness: Array, rng: np.random.Generator) -> Array:
    """Made-up sums of one measure, given how eager each visitor is (mean 1)."""
    if measure == "order_count":
        return rng.poisson(0.08 * eagerness).astype(np.float64)
    if measure.startswith("rating"):
        ratings = rng.poisson(0.05 * eagerness)
        return np.where(ratings > 0, ratings * rng.normal(4.0, 0.5, shape), 0.0)
    if measure in ("spend", "return_amount", "reported_value"):
        orders = rng.poisson(0.08 * eagerness)
        return np.where(orders > 0, orders * rng.lognormal(3.5, 0.8, shape), 0.0)
    if measure.startswith(("recommendation_click", "cart", "reported")):
        return rng.poisson(0.3 * eagerness).astype(np.float64)
    if measure == "active_day_count":
        return rng.poisson(0.5 * eagerness).astype(np.float64)
    return np.asarray(1.0 + rng.poisson(6.0 * eagerness), dtype=np.float64)


def _daily(metric: Metric, simulation: Simulation, rng: np.random.Generator, tests: int) -> Iterator[Look]:
    shape = (tests, simulation.days * simulation.visitors_per_day)
    arms = []
    for _ in range(2):
        eagerness = rng.gamma(0.7, 1 / 0.7, shape)
        before = rng.poisson(3.0 * eagerness).astype(np.float64)
        above = visitors(metric.numerator, shape, eagerness, rng)
        below = visitors(metric.denominator, shape, eagerness, rng) if metric.denominator else None
        arms.append((above, below, before))
    planned = 2 * shape[1]
    for day in range(1, simulation.days + 1):
        until = day * simulation.visitors_per_day
        numerators = tuple(each[0][:, :until] for each in arms)
        denominators = tuple(each[1][:, :until] for each in arms if each[1] is not None)
        values = user_values(metric, numerators, denominators or None)
        known = [each[2][:, :until, None] for each in arms]
        yield compare((values[0], values[1]), (known[0], known[1]), simulation.level, planned)
