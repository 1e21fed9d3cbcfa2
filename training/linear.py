"""A penalised logistic regression fitted within folds: the straight partner of the trees.

Trees know thresholds but nothing beyond the longest recency or tenure that they were fitted on, and a scoring
instant is later than every training cut-off; a line goes on. Each training cut-off has an intercept of its
own (as the trees have offsets), which the model forgets: it says who scores higher than whom.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from training.boosting import read_json
from training.errors import BrokenModel
from training.value_config import LinearConfig

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NEWTON_STEPS = 30
LARGEST_DEVIATION = 4.0
FREE = 1e-6
"""The penalty of an intercept: next to none, so that the equations stay solvable."""


@dataclass(frozen=True)
class Linear:
    """margin = sum of weight * standardised log feature, plus a weight where the feature is missing.

    All tuples have one entry per feature. A feature's logarithm is sign(v) * log(1 + |v|).
    """

    features: tuple[str, ...]
    centres: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    missing_weights: tuple[float, ...]

    def contributions(self, frame: pd.DataFrame) -> FloatArray:
        """What each feature adds to the margin of each row; columns as `features`."""
        standard, missing = _standardised(frame, self.features, self.centres, self.scales)
        return np.asarray(standard * np.asarray(self.weights) + missing * np.asarray(self.missing_weights))

    def margin(self, frame: pd.DataFrame) -> FloatArray:
        """The score of each row, without any fold's intercept."""
        return np.asarray(self.contributions(frame).sum(axis=1), dtype=np.float64)


def fit_linear(
    frame: pd.DataFrame, target: FloatArray, folds: IntArray, features: tuple[str, ...], config: LinearConfig
) -> Linear:
    """Maximum penalised likelihood by Newton's method; `folds` numbers each row's cut-off 0..n-1.

    Features that are never known or do not vary get the weight 0.
    """
    centres, scales = _moments(frame, features)
    standard, missing = _standardised(frame, features, centres, scales)
    missing = missing - missing.mean(axis=0)
    intercepts = np.eye(int(folds.max()) + 1)[folds]
    design = np.hstack([standard, missing, intercepts])
    penalty = np.full(design.shape[1], config.penalty)
    penalty[2 * len(features) :] = FREE
    weights = np.zeros(design.shape[1])
    for _ in range(NEWTON_STEPS):
        probability = expit(design @ weights)
        gradient = design.T @ (probability - target) + penalty * weights
        spread = np.maximum(probability * (1.0 - probability), 1e-6)
        step = np.linalg.solve((design * spread[:, None]).T @ design + np.diag(penalty), gradient)
        weights = weights - np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            break
    count = len(features)
    return Linear(
        features,
        centres,
        scales,
        tuple(map(float, weights[:count])),
        tuple(map(float, weights[count : 2 * count])),
    )


def write_linear(model: Linear, path: Path) -> None:
    """Writes the model as JSON."""
    path.write_text(json.dumps(asdict(model), indent=2), encoding="utf-8")


def read_linear(path: Path) -> Linear:
    """The inverse of `write_linear`; raises `BrokenModel` naming the file."""
    values = read_json(path)
    try:
        numbers = [
            tuple(map(float, values[name])) for name in ("centres", "scales", "weights", "missing_weights")
        ]
        features = tuple(map(str, values["features"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenModel(path, f"lacks a field or has a wrong one ({error!r})") from error
    if any(len(each) != len(features) for each in numbers):
        raise BrokenModel(path, "has fields of different lengths")
    return Linear(features, *numbers)


def _moments(frame: pd.DataFrame, features: tuple[str, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    centres, scales = [], []
    for name in features:
        column = _log(frame[name])
        known = column[~np.isnan(column)]
        spread = float(known.std()) if len(known) else 0.0
        centres.append(float(known.mean()) if len(known) else 0.0)
        scales.append(spread if spread > 0.0 else 1.0)
    return tuple(centres), tuple(scales)


def _standardised(
    frame: pd.DataFrame, features: tuple[str, ...], centres: tuple[float, ...], scales: tuple[float, ...]
) -> tuple[FloatArray, FloatArray]:
    values = np.column_stack([_log(frame[name]) for name in features])
    missing = np.isnan(values)
    standard = (values - np.asarray(centres)) / np.asarray(scales)
    bounded = np.clip(standard, -LARGEST_DEVIATION, LARGEST_DEVIATION)
    return np.where(missing, 0.0, bounded), missing.astype(np.float64)


def _log(column: pd.Series) -> FloatArray:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
