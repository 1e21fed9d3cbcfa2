"""What a variant changes: the difference to the control and the lift, with a fixed-horizon interval.

Every function works along the last axis and broadcasts over those before it, so that one call analyses one
experiment or two thousand simulated ones, by the same code.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """What inference needs of one arm: users, mean per user, and the squared standard error of the mean."""

    users: Array
    mean: Array
    variance: Array


@dataclass(frozen=True)
class Contrast:
    """An asymptotically normal quantity that is 0 without an effect.

    `users`: of both arms; `freedom`: Welch-Satterthwaite degrees of freedom.
    """

    estimate: Array
    variance: Array
    users: Array
    freedom: Array


@dataclass(frozen=True)
class Inference:
    """An estimate with its interval and p-value, by one of the two methods."""

    estimate: Array
    low: Array
    high: Array
    p_value: Array


def linearised(numerator: Array, denominator: Array) -> Array:
    """One value per user whose mean is the ratio of sums, and whose variance is the delta method's.

    r + (y - r x) / mean(x), with r = sum(y) / sum(x): the first-order expansion of the ratio, by which any
    method for means serves ratios (Deng, Knoblich & Lu 2018). NaN where nobody has a denominator.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = denominator.mean(axis=-1, keepdims=True)
        ratio = numerator.mean(axis=-1, keepdims=True) / mean
        return np.asarray(ratio + (numerator - ratio * denominator) / mean)


def winsorised(arms: tuple[Array, ...], quantile: float) -> tuple[Array, ...]:
    """Each arm with values above this quantile of all arms together set to it.

    One limit for all arms: limits of each arm's own would hide an effect that is in the tail.
    """
    limit = np.quantile(np.concatenate(arms, axis=-1), quantile, axis=-1, keepdims=True, method="higher")
    return tuple(np.minimum(values, limit) for values in arms)


def arm(values: Array) -> Arm:
    """The summary of one arm's users. NaN with fewer than two."""
    users = values.shape[-1]
    if users < 2:
        nothing = np.full(values.shape[:-1], np.nan)
        return Arm(np.full(values.shape[:-1], float(users)), nothing, nothing)
    # What does not vary must not seem to, by rounding: the score of nothing over next to nothing is large.
    varies = values.max(axis=-1) > values.min(axis=-1)
    mean = np.where(varies, values.mean(axis=-1), values[..., 0])
    variance = np.where(varies, values.var(axis=-1, ddof=1) / users, 0.0)
    return Arm(np.full(values.shape[:-1], float(users)), mean, variance)


def difference(control: Arm, treated: Arm) -> Contrast:
    """Treated minus control, in units of the metric."""
    variance = treated.variance + control.variance
    return Contrast(
        treated.mean - control.mean, variance, treated.users + control.users, _freedom(control, treated)
    )


def lift(control: Arm, treated: Arm) -> Contrast:
    """Treated over control, minus 1, by the delta method; NaN where the control's mean is not above 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        base = np.where(control.mean > 0, control.mean, np.nan)
        ratio = treated.mean / base
        variance = (treated.variance + ratio**2 * control.variance) / base**2
    return Contrast(ratio - 1, variance, treated.users + control.users, _freedom(control, treated))


def fixed_horizon(contrast: Contrast, level: float) -> Inference:
    """Welch's t interval and two-sided p-value: valid for one look, at a time fixed before the start."""
    error = np.sqrt(contrast.variance)
    reach = stats.t.ppf(0.5 + level / 2, contrast.freedom) * error
    p_value = 2 * stats.t.sf(np.abs(scores(contrast)), contrast.freedom)
    return Inference(contrast.estimate, contrast.estimate - reach, contrast.estimate + reach, p_value)


def scores(contrast: Contrast) -> Array:
    """Estimate over standard error; 0 where both are 0."""
    error = np.sqrt(contrast.variance)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((error == 0) & (contrast.estimate == 0), 0.0, contrast.estimate / error)


def _freedom(control: Arm, treated: Arm) -> Array:
    total = (treated.variance + control.variance) ** 2
    parts = treated.variance**2 / (treated.users - 1) + control.variance**2 / (control.users - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Two constant arms: any number does, there is no error to speak of.
        return np.where(parts == 0, treated.users + control.users - 2, total / parts)
