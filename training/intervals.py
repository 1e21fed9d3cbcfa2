"""Bootstrap intervals over users.

A user is the unit that is drawn, because a user's recommendations or purchases are not independent of each
other (Efron & Tibshirani 1993, percentile intervals). Draws are made in blocks, so memory stays bounded.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.errors import NotEnoughData

FloatArray = npt.NDArray[np.float64]

BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A metric's value with its interval; `low` and `high` equal `value` where no interval was computed."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> "Estimate":
        """A value without sampling error, such as a share of a whole catalogue."""
        return cls(float(value), float(value), float(value))

    def to_dict(self) -> dict[str, float]:
        """JSON form."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> "Estimate":
        """The inverse of `to_dict`."""
        return cls(values["value"], values["low"], values["high"])

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap_means(
    values: npt.ArrayLike, *, seed: int, draws: int = 1000, level: float = 0.95
) -> list[Estimate]:
    """Mean of each column of `values` (one row per user) with percentile intervals.

    NaN marks a user for whom the column is undefined; such users are left out of that column's mean.
    All columns share the same draws, so the intervals of a table are consistent with each other.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    users = table.shape[0]
    if users == 0:
        raise NotEnoughData("users to average over", 0, 1, "use an earlier cut-off or more data")
    defined = ~np.isnan(table)
    filled = np.where(defined, table, 0.0)
    means = _resampled_means(filled, defined.astype(np.float64), seed, draws)
    tail = 50.0 * (1.0 - level)
    estimates = []
    for column in range(table.shape[1]):
        count = int(defined[:, column].sum())
        if count == 0:
            estimates.append(Estimate.exact(float("nan")))
            continue
        value = float(filled[:, column].sum() / count)
        low, high = np.nanpercentile(means[:, column], [tail, 100.0 - tail])
        estimates.append(Estimate(value, float(low), float(high)))
    return estimates


def bootstrap_mean(values: npt.ArrayLike, *, seed: int, draws: int = 1000, level: float = 0.95) -> Estimate:
    """Mean of one value per user with its percentile interval."""
    return bootstrap_means(values, seed=seed, draws=draws, level=level)[0]


def paired_difference(
    candidate: npt.ArrayLike, other: npt.ArrayLike, *, seed: int, draws: int = 1000, level: float = 0.95
) -> Estimate:
    """Mean of `candidate - other` over the same users in the same order, with its interval."""
    difference = np.asarray(candidate, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    return bootstrap_mean(difference, seed=seed, draws=draws, level=level)


def bootstrap_statistic(
    statistic: Callable[..., float],
    *columns: npt.NDArray[np.float64],
    seed: int,
    draws: int = 300,
    level: float = 0.95,
) -> Estimate:
    """Any statistic of equally long columns (one row per user), such as an AUC or a rank correlation.

    `statistic(*columns)` may return NaN for a draw in which it is undefined (one class only); such draws are
    left out.
    """
    users = len(columns[0])
    if users == 0:
        raise NotEnoughData("users to resample", 0, 1, "use an earlier cut-off or more data")
    rng = np.random.default_rng(seed)
    results = np.empty(draws)
    for draw in range(draws):
        chosen = rng.integers(0, users, users)
        results[draw] = statistic(*(column[chosen] for column in columns))
    value = float(statistic(*columns))
    if np.isnan(results).all():
        return Estimate.exact(value)
    tail = 50.0 * (1.0 - level)
    low, high = np.nanpercentile(results, [tail, 100.0 - tail])
    return Estimate(value, float(low), float(high))


def paired_statistic_difference(
    statistic: Callable[..., float],
    truth: npt.NDArray[np.float64],
    candidate: npt.NDArray[np.float64],
    other: npt.NDArray[np.float64],
    *,
    seed: int,
    draws: int = 300,
    level: float = 0.95,
) -> Estimate:
    """`statistic(truth, candidate) - statistic(truth, other)` with both computed on the same drawn users."""

    def difference(y: FloatArray, a: FloatArray, b: FloatArray) -> float:
        return float(statistic(y, a)) - float(statistic(y, b))

    return bootstrap_statistic(difference, truth, candidate, other, seed=seed, draws=draws, level=level)


def _resampled_means(filled: FloatArray, defined: FloatArray, seed: int, draws: int) -> FloatArray:
    """Column means under `draws` resamplings of the rows; shape (draws, columns)."""
    users, columns = filled.shape
    rng = np.random.default_rng(seed)
    means = np.empty((draws, columns))
    block = max(1, min(draws, BLOCK_CELLS // users))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        counts = np.empty((size, users))
        for row in range(size):
            counts[row] = np.bincount(rng.integers(0, users, users), minlength=users)
        with np.errstate(invalid="ignore", divide="ignore"):
            means[start : start + size] = (counts @ filled) / (counts @ defined)
    return means
