"""Is what comes in, goes out and comes true still like what the model was trained on?

Three distances between a reference and now, per column: the population stability index over ten bins of the
reference with equal counts (Lewis 1994: below 0.1 little, above 0.25 a lot), the Kolmogorov-Smirnov
distance, and the Wasserstein distance in standard deviations of the reference. A column drifted if its index
or its KS distance is above the threshold; small samples are noisy, so they are not judged at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

FloatArray = npt.NDArray[np.float64]
Aspect = Literal["feature", "prediction", "outcome"]

BINS = 10
SUMMARY_POINTS = 501
SMALLEST_SHARE = 1e-4
"""Stands for an empty bin, whose logarithm is none."""


@dataclass(frozen=True)
class DriftConfig:
    """When a distance counts, and when a model has drifted.

    `psi` and `ks` are the thresholds of a column, `rows` the least of either side. `feature_share`: a model's
    inputs have drifted if more than this share of them has. `outcome_ratio`: realized over predicted, or
    over what training saw, may be off by this factor.
    """

    psi: float = 0.25
    ks: float = 0.2
    rows: int = 200
    feature_share: float = 0.25
    outcome_ratio: float = 1.5


@dataclass(frozen=True)
class Drift:
    """One column of one model; distances are NaN where a side has too few values or none that vary."""

    model: str
    aspect: Aspect
    name: str
    psi: float
    ks: float
    wasserstein: float
    reference_mean: float
    current_mean: float
    reference_rows: int
    current_rows: int
    drifted: bool

    @property
    def distance(self) -> float:
        """The stability index, 0 where there is none."""
        return 0.0 if np.isnan(self.psi) else self.psi


@dataclass(frozen=True)
class Reason:
    """Why a model should be trained again, in a sentence."""

    model: str
    aspect: Aspect
    text: str


def compare(
    model: str,
    aspect: Aspect,
    name: str,
    reference: FloatArray,
    current: FloatArray,
    config: DriftConfig | None = None,
) -> Drift:
    """The distances of one column; missing values are a bin of their own for the index."""
    limits = config or DriftConfig()
    known, now = reference[np.isfinite(reference)], current[np.isfinite(current)]
    index = ks = wasserstein = float("nan")
    if min(len(reference), len(current)) >= limits.rows:
        index = stability_index(reference, current)
        if len(known) and len(now):
            ks = float(stats.ks_2samp(known, now, method="asymp").statistic)
            spread = float(known.std())
            wasserstein = float(stats.wasserstein_distance(known, now)) / spread if spread else float("nan")
    return Drift(
        model,
        aspect,
        name,
        index,
        ks,
        wasserstein,
        _mean(known),
        _mean(now),
        len(reference),
        len(current),
        bool(index > limits.psi or ks > limits.ks),
    )


def stability_index(reference: FloatArray, current: FloatArray) -> float:
    """Population stability index; 0 for equal shares in every bin."""
    known = reference[np.isfinite(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)
    before, after = _shares(reference, edges), _shares(current, edges)
    return float(np.sum((after - before) * np.log(after / before)))


def _shares(values: FloatArray, edges: FloatArray) -> FloatArray:
    missing = ~np.isfinite(values)
    bins = np.where(missing, len(edges) + 1, np.searchsorted(edges, values, side="left"))
    counts = np.bincount(bins, minlength=len(edges) + 2)
    return np.maximum(counts / max(1, len(values)), SMALLEST_SHARE)


def compare_outcome(
    model: str, name: str, expected: FloatArray, realized: FloatArray, config: DriftConfig | None = None
) -> Drift:
    """What was expected of customers against what came: judged by the ratio of the means alone.

    A prediction is a mean and an outcome a draw, so their distributions differ when all is well.
    """
    limits = config or DriftConfig()
    before, after = _mean(expected), _mean(realized)
    is_judged = min(len(expected), len(realized)) >= limits.rows and before > 0.0
    drifted = is_judged and not 1.0 / limits.outcome_ratio <= after / before <= limits.outcome_ratio
    nan = float("nan")
    return Drift(
        model, "outcome", name, nan, nan, nan, before, after, len(expected), len(realized), bool(drifted)
    )


def reasons(found: Sequence[Drift], config: DriftConfig | None = None) -> list[Reason]:
    """What drifted so far that a model should be trained again: features together, the rest one by one."""
    limits = config or DriftConfig()
    answer = []
    for model in dict.fromkeys(each.model for each in found):
        features = [each for each in found if each.model == model and each.aspect == "feature"]
        moved = sorted((each for each in features if each.drifted), key=lambda each: -each.distance)
        if len(moved) > limits.feature_share * len(features):
            names = ", ".join(f"{each.name} (PSI {each.psi:.2f})" for each in moved[:3])
            text = f"{len(moved)} of {len(features)} features moved, most of all {names}"
            answer.append(Reason(model, "feature", text))
    for each in found:
        if each.drifted and each.aspect == "prediction":
            text = f"{each.name} moved: PSI {each.psi:.2f}, KS {each.ks:.2f}"
            answer.append(Reason(each.model, "prediction", text))
        elif each.drifted and each.aspect == "outcome":
            text = f"{each.name}: {each.current_mean:.4g} came, {each.reference_mean:.4g} was expected"
            answer.append(Reason(each.model, "outcome", text))
    return answer


def summary(values: FloatArray, points: int = SUMMARY_POINTS) -> dict[str, Any]:
    """A column as evenly spaced quantiles and its share of missing values: no row of anybody."""
    known = values[np.isfinite(values)]
    quantiles = np.quantile(known, np.linspace(0, 1, points)).tolist() if len(known) else []
    return {"quantiles": quantiles, "rows": len(values), "missing": 1.0 - len(known) / max(1, len(values))}


def expanded(stored: Mapping[str, Any]) -> FloatArray:
    """Values with that distribution: the quantiles, and missing ones in proportion; none for few rows."""
    known = np.asarray(stored["quantiles"], dtype=np.float64)
    if not len(known):
        return np.full(min(int(stored["rows"]), SUMMARY_POINTS), np.nan)
    share = float(stored["missing"])
    missing = round(len(known) * share / max(1e-9, 1.0 - share))
    whole = np.concatenate([known, np.full(missing, np.nan)])
    return whole if int(stored["rows"]) >= len(known) else whole[:: max(1, len(whole) // stored["rows"])]


def numbers(column: pd.Series) -> FloatArray:
    """A column with NaN for what is missing."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
