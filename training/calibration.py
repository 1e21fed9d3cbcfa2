"""Calibration as numbers: a logistic map on a margin, conformal levels, residual knots. No estimators."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

FloatArray = npt.NDArray[np.float64]

NEWTON_STEPS = 50
LARGEST_OFFSET = 8.0


@dataclass(frozen=True)
class Platt:
    """probability = 1 / (1 + exp(-(intercept + slope * margin))) (Platt 1999)."""

    slope: float
    intercept: float

    def probability(self, margin: FloatArray) -> FloatArray:
        """The calibrated probability of each margin (log odds)."""
        return np.asarray(expit(self.intercept + self.slope * margin))


def fit_platt(margin: FloatArray, truth: FloatArray) -> Platt:
    """Maximum likelihood with Platt's smoothed targets, so that separable data stays finite. Newton steps."""
    positives = float(truth.sum())
    negatives = len(truth) - positives
    target = np.where(truth > 0.5, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    centre, scale = float(margin.mean()), float(margin.std()) or 1.0
    design = np.column_stack([np.ones(len(margin)), (margin - centre) / scale])
    weights = np.array([np.log((positives + 1.0) / (negatives + 1.0)), 0.0])
    loss = _log_loss(design @ weights, target)
    for _ in range(NEWTON_STEPS):
        probability = expit(design @ weights)
        gradient = design.T @ (probability - target)
        curvature = (design * (probability * (1.0 - probability))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while (trial := _log_loss(design @ (weights - step), target)) > loss + 1e-12:
            step = step / 2.0
            if np.abs(step).max() < 1e-12:
                break
        weights, loss = weights - step, trial
        if np.abs(step).max() < 1e-9:
            break
    slope = float(weights[1] / scale)
    return Platt(slope, float(weights[0]) - slope * centre)


def logistic_offset(margin: FloatArray, truth: FloatArray) -> float:
    """The intercept at which predictions and outcomes agree in total, bounded when only one class occurs."""
    share = np.clip(truth.mean(), 0.5 / len(truth), 1.0 - 0.5 / len(truth))
    low, high = -LARGEST_OFFSET - float(np.max(margin)), LARGEST_OFFSET - float(np.min(margin))
    for _ in range(60):
        middle = (low + high) / 2.0
        if float(expit(margin + middle).mean()) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def conformal_level(inner: FloatArray, coverage: float) -> float:
    """The tail probability at which intervals [Q(a), Q(1 - a)] cover at least `coverage` of new customers.

    `inner[i]` is the largest a at which customer i of the calibration fold is still covered. Split conformal
    prediction with the predicted distribution's own quantiles as score (Chernozhukov, Wuethrich & Zhu 2021):
    the k-th smallest of n, k = floor((1 - coverage) * (n + 1)), has that guarantee if the customers are
    exchangeable, which a later season may not be.
    """
    rank = int(np.floor((1.0 - coverage) * (len(inner) + 1)))
    if rank < 1:
        return 0.0
    return float(min(np.sort(inner)[rank - 1], 0.5))


@dataclass(frozen=True)
class Knots:
    """A distribution as quantiles at equally spaced probabilities 0..1; linear between them."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, sample: FloatArray, count: int = 101) -> "Knots":
        """The empirical quantiles of a sample."""
        return cls(tuple(float(each) for each in np.quantile(sample, np.linspace(0.0, 1.0, count))))

    def quantile(self, probability: FloatArray) -> FloatArray:
        """The value below which that share lies; probabilities outside [0, 1] give the ends."""
        return np.interp(probability, np.linspace(0.0, 1.0, len(self.values)), self.values)

    def probability(self, value: FloatArray) -> FloatArray:
        """The share below a value."""
        return np.interp(value, self.values, np.linspace(0.0, 1.0, len(self.values)), left=0.0, right=1.0)


def _log_loss(margin: FloatArray, target: FloatArray) -> float:
    return float(np.sum(np.logaddexp(0.0, margin) - target * margin))
