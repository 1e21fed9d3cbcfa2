"""Thompson sampling as an allocation of visitors, and the analysis of what it allocated.

Between two publications the shares stay as they are (a batched bandit): each visitor's propensity is the
share of their arm when they were dealt, known exactly and logged. Each arm's mean is taken as normal with its
standard error (Russo, Van Roy, Kazerouni, Osband & Wen 2018), so one rule serves clicks and revenue.

Plain means of a bandit's arms are biased (an arm that began with bad luck is shown less and stays low; Nie,
Tian, Taylor & Zou 2018). So the report weighs visitors by 1 / propensity; every arm keeps a floor, which
bounds the weights.
"""

import numpy as np
from scipy import stats

from training.experiments.effects import Arm, Array

FLOOR = 0.05
GRID = 4001
REACH = 8.0


def best_probabilities(means: Array, errors: Array) -> Array:
    """The probability of each arm to have the highest mean; sums to 1. `errors`: standard errors, above 0.

    By quadrature of P(arm = x) * product of P(other <= x), so the same input gives the same shares.
    """
    # Nodes at every arm's own scale: an arm that is known exactly is a needle in an even grid.
    offsets = np.linspace(-REACH, REACH, GRID)
    points = np.unique((means[:, None] + errors[:, None] * offsets).ravel())
    density = stats.norm.pdf(points, means[:, None], errors[:, None])
    below = stats.norm.cdf(points, means[:, None], errors[:, None])
    found = np.array(
        [
            np.trapezoid(density[place] * np.delete(below, place, axis=0).prod(axis=0), points)
            for place in range(len(means))
        ]
    )
    return np.asarray(found / found.sum())


def shares(arms: dict[str, Arm], minimum_users: int, is_lower_better: bool = False) -> dict[str, float]:
    """The next shares: Thompson's, raised to `FLOOR`; equal until each arm has `minimum_users`.

    Equal too while an arm shows no variation, of which nothing can be learnt.
    """
    found = list(arms.values())
    if any(float(each.users) < minimum_users or not float(each.variance) > 0 for each in found):
        return dict.fromkeys(arms, 1 / len(arms))
    sign = -1.0 if is_lower_better else 1.0
    means = np.array([sign * float(each.mean) for each in found])
    errors = np.sqrt([float(each.variance) for each in found])
    floor = min(FLOOR, 1 / (2 * len(arms)))
    raised = floor + (1 - floor * len(arms)) * best_probabilities(means, errors)
    return dict(zip(arms, (float(value) for value in raised), strict=True))
