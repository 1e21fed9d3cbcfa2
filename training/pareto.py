"""Pareto/NBD (Schmittlein, Morrison & Colombo 1987): customers buy at random until they silently leave.

As BG/NBD, with the time of leaving exponential instead of after a purchase. Likelihood and expectations in
the form of Fader & Hardie 2005, "A note on deriving the Pareto/NBD model"; maximum likelihood.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import gammaln, hyp2f1

from training.errors import NotEnoughData

FloatArray = npt.NDArray[np.float64]

LOG_BOUND = 6.0
# Where nobody seems to leave, s / beta alone is determined and the search would follow a flat ridge.
EVALUATIONS = 120


@dataclass(frozen=True)
class ParetoNbd:
    """Purchase rate ~ gamma(r, alpha), dropout rate ~ gamma(s, beta); alpha and beta in units of time."""

    r: float
    alpha: float
    s: float
    beta: float
    log_likelihood: float

    def p_alive(self, x: FloatArray, t_x: FloatArray, age: FloatArray) -> FloatArray:
        """Probability of not having left by T."""
        ratio = _log_gone(self._parameters, x, t_x, age) - _log_alive(self._parameters, x, age)
        return np.asarray(1.0 / (1.0 + np.exp(np.minimum(ratio, 700.0))))

    def expected_purchases(
        self, x: FloatArray, t_x: FloatArray, age: FloatArray, horizon: float
    ) -> FloatArray:
        """Expected transactions in (T, T + horizon]."""
        start, power = self.beta + age, self.s - 1.0
        shrink = np.log(start / (start + horizon))
        # (1 - e^(power * shrink)) / power, whose limit at power 0 is -shrink
        lived = -shrink if abs(power) < 1e-9 else -np.expm1(power * shrink) / power
        rate = (self.r + x) / (self.alpha + age)
        return np.asarray(self.p_alive(x, t_x, age) * rate * start * lived)

    @property
    def _parameters(self) -> FloatArray:
        return np.array([self.r, self.alpha, self.s, self.beta])


def fit_pareto_nbd(x: FloatArray, t_x: FloatArray, age: FloatArray) -> ParetoNbd:
    """Maximum likelihood. Raises `NotEnoughData` if nobody bought again."""
    if not np.any(x > 0):
        raise NotEnoughData("customers with a repeat transaction", 0, 1, "use a longer history")
    distinct, counts = np.unique(np.column_stack([x, t_x, age]), axis=0, return_counts=True)
    x, t_x, age = distinct.T

    def loss(log_parameters: FloatArray) -> float:
        terms = _terms(np.exp(log_parameters), x, t_x, age)
        return -float(counts @ terms) if np.all(np.isfinite(terms)) else 1e12

    unit = float(np.log(np.mean(age) / 4.0))
    start = np.array([0.0, unit, 0.0, unit])
    bounds = [(each - LOG_BOUND, each + LOG_BOUND) for each in start]
    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"maxfun": EVALUATIONS})
    r, alpha, s, beta = (float(each) for each in np.exp(found.x))
    return ParetoNbd(r, alpha, s, beta, -float(found.fun))


def _terms(parameters: FloatArray, x: FloatArray, t_x: FloatArray, age: FloatArray) -> FloatArray:
    """Each customer's log-likelihood."""
    r, alpha, s, beta = parameters
    shared = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    with np.errstate(invalid="ignore"):  # where the series overflows the search turns back
        either = np.logaddexp(_log_alive(parameters, x, age), _log_gone(parameters, x, t_x, age))
    return np.asarray(shared + either)


def _log_alive(parameters: FloatArray, x: FloatArray, age: FloatArray) -> FloatArray:
    r, alpha, s, beta = parameters
    return np.asarray(-(r + x) * np.log(alpha + age) - s * np.log(beta + age))


def _log_gone(parameters: FloatArray, x: FloatArray, t_x: FloatArray, age: FloatArray) -> FloatArray:
    r, alpha, s, beta = parameters
    total = r + s + x
    larger, apart = max(alpha, beta), abs(alpha - beta)
    other = np.full_like(x, s + 1.0) if alpha >= beta else r + x
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        early, late = (
            np.log(hyp2f1(total, other, total + 1.0, apart / (larger + at))) - total * np.log(larger + at)
            for at in (t_x, age)
        )
        # log(e^early - e^late); equal where the last purchase is at T: nobody can have left
        inside = -np.expm1(np.minimum(late - early, 0.0))
        return np.asarray(np.log(s / total) + early + np.log(inside))
