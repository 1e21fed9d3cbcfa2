"""When a customer orders next: days from the cut-off, with a median and an interval.

Accelerated failure time on boosted trees (`survival:aft`, Barnwal, Cho & Hocking 2022): the logarithm of the
days is normal around the trees' margin; who has not ordered when the labels end counts as "later than that".
A slope, a shift and the width are then fitted by maximum likelihood on the latest complete cut-off, which a
first set of trees did not see; the final trees see all.

The forecast knows no season; the interval is as wide as customers are unpredictable, which is wide.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from scipy.optimize import minimize
from scipy.stats import norm

from feature_repo.entities import USER_ID
from training.boosting import Trees, read_trees, tree_parameters, varying_features, write_trees
from training.dataset import CUTOFF, DAYS_TO_NEXT, fold_days
from training.errors import BrokenModel, NotEnoughData
from training.purchase import TrainingFolds, read_versioned
from training.value_config import NextPurchaseConfig

FloatArray = npt.NDArray[np.float64]

FORMAT_VERSION = 1
MODEL_FILE = "next_purchase.json"
TREES = "next_purchase_trees"
LEAST_BUYERS = 20
FIRST_HALF_DAY = 0.5
WIDTH_RANGE = (0.1, 5.0)


@dataclass(frozen=True)
class NextPurchaseModel:
    """log days ~ normal(shift + slope * trees, width)."""

    trees: Trees
    slope: float
    shift: float
    width: float
    coverage: float
    horizon_days: int

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.trees.features

    def log_days(self, frame: pd.DataFrame) -> FloatArray:
        """The median's logarithm for each row."""
        return np.asarray(self.shift + self.slope * self.trees.margin(frame), dtype=np.float64)


def fit_next_purchase(
    frame: pd.DataFrame, until: float, config: NextPurchaseConfig | None = None, seed: int = 0
) -> NextPurchaseModel:
    """Fit on a training frame with labels as known on the day `until` (days since 1970).

    Raises `NotEnoughData` for fewer than two complete cut-offs, or fewer than 20 orders to calibrate on.
    """
    chosen = config or NextPurchaseConfig()
    folds = TrainingFolds.of(frame)
    low, high = _bounds(frame, until, chosen.cutoffs.horizon_days)
    before, latest = folds.is_before, folds.is_latest
    orders = int(np.isfinite(high[latest]).sum())
    if orders < LEAST_BUYERS:
        raise NotEnoughData("orders to calibrate the next purchase on", orders, LEAST_BUYERS, "use more days")
    first = _fit_trees(frame.loc[before], low[before], high[before], chosen, seed)
    slope, shift, width = _calibrate(first.margin(frame.loc[latest]), low[latest], high[latest])
    trees = _fit_trees(frame, low, high, chosen, seed)
    return NextPurchaseModel(trees, slope, shift, width, chosen.coverage, chosen.cutoffs.horizon_days)


def score_next_purchase(model: NextPurchaseModel, frame: pd.DataFrame) -> pd.DataFrame:
    """One row per row of `frame`: `user_id`, `cutoff`, `next_order_days` (median), `..._low`, `..._high`."""
    middle = model.log_days(frame)
    reach = model.width * float(norm.ppf(0.5 + model.coverage / 2.0))
    return pd.DataFrame(
        {
            USER_ID: frame[USER_ID].to_numpy(),
            CUTOFF: frame[CUTOFF].array,
            "next_order_days": np.exp(middle),
            "next_order_days_low": np.exp(middle - reach),
            "next_order_days_high": np.exp(middle + reach),
        }
    )


def own_gap_forecast(frame: pd.DataFrame) -> FloatArray:
    """The baseline: the last order plus the customer's own mean gap, else everybody's; 0 if overdue."""
    gap = frame["mean_gap_days"].to_numpy(dtype=np.float64)
    usual = float(np.nanmedian(gap)) if np.isfinite(gap).any() else 0.0
    recency = frame["recency_days"].to_numpy(dtype=np.float64)
    return np.asarray(np.maximum(np.where(np.isnan(gap), usual, gap) - recency, 0.0))


def _bounds(frame: pd.DataFrame, until: float, horizon_days: int) -> tuple[FloatArray, FloatArray]:
    """Between which days after the cut-off the next order came; the upper end is infinite if none had."""
    days = frame[DAYS_TO_NEXT].to_numpy(dtype=np.float64)
    watched = np.minimum(float(horizon_days), until - fold_days(frame))
    ordered = ~np.isnan(days)
    return (
        np.where(ordered, np.maximum(days, FIRST_HALF_DAY), watched),
        np.where(ordered, days + 1.0, np.inf),
    )


def _fit_trees(
    frame: pd.DataFrame, low: FloatArray, high: FloatArray, config: NextPurchaseConfig, seed: int
) -> Trees:
    features = varying_features(frame, config.features)
    values = frame.loc[:, list(features)].to_numpy(dtype=np.float64, na_value=np.nan)
    data = xgboost.DMatrix(values, feature_names=list(features))
    data.set_float_info("label_lower_bound", low)
    data.set_float_info("label_upper_bound", high)
    # The starting point in days; the trees' margins are logarithms from there.
    start = float(np.median(low))
    parameters = {
        **tree_parameters(config.trees, seed),
        "objective": "survival:aft",
        "aft_loss_distribution": "normal",
        "aft_loss_distribution_scale": config.scale,
        "base_score": start,
    }
    return Trees(features, (xgboost.train(parameters, data, num_boost_round=config.trees.rounds),))


def _calibrate(margin: FloatArray, low: FloatArray, high: FloatArray) -> tuple[float, float, float]:
    """The slope, shift and width under which these intervals are most likely."""
    ordered = np.isfinite(high)
    lower, upper = np.log(low), np.log(np.where(ordered, high, 1.0))

    def loss(values: FloatArray) -> float:
        centre, width = values[1] + values[0] * margin, float(np.exp(values[2]))
        within = norm.cdf((upper - centre) / width) - norm.cdf((lower - centre) / width)
        later = norm.sf((lower - centre) / width)
        return -float(np.log(np.maximum(np.where(ordered, within, later), 1e-12)).sum())

    start = np.array([1.0, float(np.median(lower)) - float(np.median(margin)), 0.0])
    found = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 400})
    return float(found.x[0]), float(found.x[1]), float(np.clip(np.exp(found.x[2]), *WIDTH_RANGE))


def write_next_purchase(model: NextPurchaseModel, directory: Path) -> None:
    """Writes the model's files into `directory`: JSON and .ubj."""
    directory.mkdir(parents=True, exist_ok=True)
    values = {
        "format_version": FORMAT_VERSION,
        "slope": model.slope,
        "shift": model.shift,
        "width": model.width,
        "coverage": model.coverage,
        "horizon_days": model.horizon_days,
    }
    (directory / MODEL_FILE).write_text(json.dumps(values, indent=2), encoding="utf-8")
    write_trees(model.trees, directory, TREES)


def read_next_purchase(directory: Path) -> NextPurchaseModel:
    """The inverse of `write_next_purchase`; raises `BrokenModel` naming the file."""
    path = directory / MODEL_FILE
    values = read_versioned(path, FORMAT_VERSION)
    try:
        slope, shift, width, coverage = (
            float(values[name]) for name in ("slope", "shift", "width", "coverage")
        )
        horizon = int(values["horizon_days"])
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenModel(path, f"lacks a field or has a wrong one ({error!r})") from error
    return NextPurchaseModel(read_trees(directory, TREES), slope, shift, width, coverage, horizon)
