"""BG/NBD and Gamma-Gamma by maximum likelihood: the baselines of churn and CLV.

BG/NBD: Fader, Hardie & Lee 2005, "Counting your customers the easy way", Marketing Science 24:275-284.
Gamma-Gamma: Fader, Hardie & Lee 2005, "RFM and CLV: using iso-value curves", Journal of Marketing Research
42:415-430.

x is the number of repeat transactions, t_x the time from the first to the last transaction, T (here `age`)
the time from the first transaction to the cut-off, all in one unit of time. Everything takes and gives
arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from scipy.special import betaincinv, gammaln, roots_legendre

from training.errors import NotEnoughData

FloatArray = npt.NDArray[np.float64]

# Logarithms of the parameters stay inside; at the ends the model has become a simpler one (no dropout).
LOG_BOUND = 7.0
NODES = 64


@dataclass(frozen=True)
class BgNbd:
    """Purchase rate ~ gamma(r, alpha), dropout after a purchase ~ beta(a, b); alpha in units of time."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float

    def p_alive(self, x: FloatArray, t_x: FloatArray, age: FloatArray) -> FloatArray:
        """Probability of not having dropped out by T; 1 for a customer without a repeat transaction."""
        odds = np.log(self.a / (self.b + np.maximum(x, 1.0) - 1.0))
        odds = odds + (self.r + x) * (np.log(self.alpha + age) - np.log(self.alpha + t_x))
        return np.where(x > 0, 1.0 / (1.0 + np.exp(np.minimum(odds, 700.0))), 1.0)

    def p_no_purchase(self, x: FloatArray, t_x: FloatArray, age: FloatArray, horizon: float) -> FloatArray:
        """Probability of no transaction in (T, T + horizon]."""
        silent = ((self.alpha + age) / (self.alpha + age + horizon)) ** (self.r + x)
        return 1.0 - self.p_alive(x, t_x, age) * (1.0 - silent)

    def expected_purchases(
        self, x: FloatArray, t_x: FloatArray, age: FloatArray, horizon: float
    ) -> FloatArray:
        """Expected transactions in (T, T + horizon]: the paper's eq. 10.

        Its hypergeometric function overflows where there is next to no dropout. So the dropout probability
        p ~ beta(a, b + x) of a customer alive at T is integrated over its quantiles (Gauss-Legendre), and the
        rate in closed form: E[(1 - exp(-rate * p * h)) / p] = (1 - (s / (s + p * h))^(r + x)) / p with
        s = alpha + T.
        """
        nodes, weights = roots_legendre(NODES)
        shares, weights = (nodes + 1.0) / 2.0, weights / 2.0
        repeats, where = np.unique(x, return_inverse=True)
        dropout = np.maximum(betaincinv(self.a, self.b + repeats[:, None], shares[None, :]), 1e-12)[where]
        start = (self.alpha + age)[:, None]
        given = -np.expm1(-(self.r + x)[:, None] * np.log1p(dropout * horizon / start)) / dropout
        return np.asarray(self.p_alive(x, t_x, age) * (given @ weights))


@dataclass(frozen=True)
class GammaGamma:
    """Mean money per transaction ~ gamma(p * n, .) with a gamma(q, v) rate across customers."""

    p: float
    q: float
    v: float
    log_likelihood: float

    def expected_amount(self, transactions: FloatArray, mean_amount: FloatArray) -> FloatArray:
        """Expected money per transaction: the customer's mean, shrunk to everybody's."""
        money = self.p * (self.v + transactions * mean_amount)
        return money / (self.p * transactions + self.q - 1.0)


def fit_bgnbd(x: FloatArray, t_x: FloatArray, age: FloatArray) -> BgNbd:
    """Maximum likelihood. Raises `NotEnoughData` if nobody bought again."""
    if not np.any(x > 0):
        raise NotEnoughData("customers with a repeat transaction", 0, 1, "use a longer history")
    # equal summaries have equal likelihood: one term each, weighted
    distinct, counts = np.unique(np.column_stack([x, t_x, age]), axis=0, return_counts=True)
    x, t_x, age = distinct.T

    def loss(log_parameters: FloatArray) -> float:
        return -float(counts @ _bgnbd_terms(np.exp(log_parameters), x, t_x, age))

    unit = float(np.mean(age)) / 4.0
    found, value = _minimise(loss, np.array([0.0, np.log(unit), 0.0, 0.5]), np.array([0, np.log(unit), 0, 0]))
    r, alpha, a, b = (float(each) for each in np.exp(found))
    return BgNbd(r, alpha, a, b, -value)


def fit_gamma_gamma(transactions: FloatArray, mean_amount: FloatArray) -> GammaGamma:
    """Maximum likelihood over customers with money in their transactions.

    q is kept above 1, so that the expectation exists. Raises `NotEnoughData` if there are fewer than two.
    """
    chosen = (transactions > 0) & (mean_amount > 0)
    if chosen.sum() < 2:
        raise NotEnoughData("customers with money spent", int(chosen.sum()), 2, "use a longer history")
    n, mean = transactions[chosen], mean_amount[chosen]
    unit = float(np.mean(mean))
    z = mean / unit

    def loss(log_parameters: FloatArray) -> float:
        p, above_one, v = np.exp(log_parameters)
        return -float(np.sum(_gamma_gamma_terms(p, 1.0 + above_one, v, n, z)))

    found, value = _minimise(loss, np.array([0.5, 0.5, 0.0]), np.zeros(3))
    p, above_one, v = (float(each) for each in np.exp(found))
    return GammaGamma(p, 1.0 + above_one, v * unit, -value - float(np.log(unit)) * len(n))


def bgnbd_inputs(frame: pd.DataFrame) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x, t_x and T in days, of order days: `repeat_...` of `derive_user`."""
    x = frame["repeat_frequency"].to_numpy(dtype=np.float64)
    t_x = frame["repeat_recency_days"].to_numpy(dtype=np.float64)
    age = frame["repeat_age_days"].to_numpy(dtype=np.float64)
    return x, np.where(x > 0, np.nan_to_num(t_x), 0.0), np.maximum(age, 0.0)


def _bgnbd_terms(parameters: FloatArray, x: FloatArray, t_x: FloatArray, age: FloatArray) -> FloatArray:
    """Each customer's log-likelihood."""
    r, alpha, a, b = parameters
    shared = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    shared = shared + gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    alive = -(r + x) * np.log(alpha + age)
    gone = np.log(a) - np.log(b + np.maximum(x, 1.0) - 1.0) - (r + x) * np.log(alpha + t_x)
    return np.asarray(shared + np.where(x > 0, np.logaddexp(alive, gone), alive))


def _gamma_gamma_terms(p: float, q: float, v: float, n: FloatArray, z: FloatArray) -> FloatArray:
    shape = p * n
    terms = gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(v)
    terms = terms + (shape - 1.0) * np.log(z) + shape * np.log(n) - (shape + q) * np.log(n * z + v)
    return np.asarray(terms)


def _minimise(
    loss: Callable[[FloatArray], float], start: FloatArray, centre: FloatArray
) -> tuple[FloatArray, float]:
    """Quasi-Newton, then a simplex from there (flat ridges stop the first early), within bounds."""
    bounds = [(float(each) - LOG_BOUND, float(each) + LOG_BOUND) for each in centre]
    rough = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    fine = minimize(
        loss,
        rough.x,
        method="Nelder-Mead",
        bounds=bounds,
        options={"maxiter": 3000, "maxfev": 3000, "xatol": 1e-6, "fatol": 1e-8},
    )
    return np.asarray(fine.x, dtype=np.float64), float(fine.fun)
