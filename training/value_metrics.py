"""Metrics of churn and CLV: pure functions of truth and score, one entry per customer.

Row order never matters: ties share their rank, and a tie at the top decile's edge counts in proportion.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.float64]
Metric = Callable[[FloatArray, FloatArray], float]


class CurvePoint(NamedTuple):
    """One bin of a reliability curve."""

    predicted: float
    observed: float
    customers: int


def roc_auc(truth: FloatArray, score: FloatArray) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN if there is one class."""
    positive = truth > 0.5
    count, others = int(positive.sum()), int((~positive).sum())
    if count == 0 or others == 0:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - count * (count + 1) / 2.0) / (count * others))


def brier(truth: FloatArray, probability: FloatArray) -> float:
    """Mean squared difference of probability and outcome."""
    return float(np.mean((probability - truth) ** 2))


def log_loss(truth: FloatArray, probability: FloatArray) -> float:
    """Mean negative log-likelihood of the outcomes, in nats; probabilities clipped to [1e-9, 1 - 1e-9]."""
    clipped = np.clip(probability, 1e-9, 1.0 - 1e-9)
    return float(-np.mean(truth * np.log(clipped) + (1.0 - truth) * np.log1p(-clipped)))


def expected_calibration_error(truth: FloatArray, probability: FloatArray, bins: int = 10) -> float:
    """Mean |observed - predicted| over equally wide bins of the probability, weighted by customers."""
    points = reliability_curve(truth, probability, bins)
    return float(sum(p.customers * abs(p.observed - p.predicted) for p in points) / len(truth))


def reliability_curve(truth: FloatArray, probability: FloatArray, bins: int = 10) -> list[CurvePoint]:
    """Mean prediction and observed rate per equally wide bin of [0, 1], empty bins left out."""
    chosen = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(chosen, minlength=bins)
    predicted = np.bincount(chosen, weights=probability, minlength=bins)
    observed = np.bincount(chosen, weights=truth, minlength=bins)
    return [
        CurvePoint(float(predicted[k] / count[k]), float(observed[k] / count[k]), int(count[k]))
        for k in range(bins)
        if count[k]
    ]


def spearman(truth: FloatArray, score: FloatArray) -> float:
    """Rank correlation; NaN if either does not vary."""
    a, b = rankdata(truth), rankdata(score)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0.0 else float("nan")


def top_decile_capture(truth: FloatArray, score: FloatArray, share: float = 0.1) -> float:
    """Money of the customers with the highest scores, as a share of the money of the truly best ones.

    Both groups are the top `share` of the customers, rounded up. Customers tied at the edge count in
    proportion. NaN if nobody spent anything.
    """
    count = int(np.ceil(len(truth) * share))
    best = float(np.sort(truth)[::-1][:count].sum())
    if best <= 0.0:
        return float("nan")
    edge = np.partition(score, len(score) - count)[len(score) - count]
    above, tied = score > edge, score == edge
    caught = float(truth[above].sum()) + float(truth[tied].mean()) * (count - int(above.sum()))
    return caught / best


def gini(truth: FloatArray, score: FloatArray) -> float:
    """Normalised Gini: how well the score orders customers by money, 1 is the true order, 0 is chance."""
    perfect = _concentration(truth, truth)
    return _concentration(truth, score) / perfect if perfect > 0.0 else float("nan")


def coverage(truth: FloatArray, low: FloatArray, high: FloatArray) -> float:
    """Share of customers whose truth lies in [low, high]."""
    return float(np.mean((truth >= low) & (truth <= high)))


def total_ratio(truth: FloatArray, prediction: FloatArray) -> float:
    """Total predicted over total true; NaN if nothing was spent."""
    total = float(truth.sum())
    return float(prediction.sum()) / total if total > 0.0 else float("nan")


def decile_ratios(truth: FloatArray, prediction: FloatArray, groups: int = 10) -> FloatArray:
    """Money predicted over money spent in each tenth of the customers by prediction, ascending.

    NaN where nothing was spent. Customers of equal prediction share a tenth, so row order never matters.
    """
    share = (rankdata(prediction) - 0.5) / len(prediction)
    chosen = np.minimum((share * groups).astype(np.int64), groups - 1)
    spent = np.bincount(chosen, weights=truth, minlength=groups)
    predicted = np.bincount(chosen, weights=prediction, minlength=groups)
    return np.asarray(np.divide(predicted, spent, out=np.full(groups, np.nan), where=spent > 0.0))


def calibrated_deciles(truth: FloatArray, prediction: FloatArray, margin: float = 0.2) -> float:
    """How many tenths of the customers, by prediction, have a mean within `margin` of the true one."""
    ratios = decile_ratios(truth, prediction)
    return float(np.sum(np.abs(ratios - 1.0) <= margin))


def mean_absolute_error(truth: FloatArray, prediction: FloatArray) -> float:
    """Mean |truth - prediction|, currency units."""
    return float(np.mean(np.abs(truth - prediction)))


def _concentration(truth: FloatArray, score: FloatArray) -> float:
    """Area between the concentration curve and the diagonal, times two; tied scores share their money."""
    total = float(truth.sum())
    if total <= 0.0:
        return 0.0
    ranks = rankdata(score) / len(score)
    return 2.0 * float((truth * ranks).sum()) / total - (1.0 + 1.0 / len(truth))
