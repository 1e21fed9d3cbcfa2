"""CLV: money spent in the next H days, with an interval.

Two parts (Duan et al. 1983): the probability of buying at all (`purchase`), times what a buyer spends. The
second is fitted to log spend of those who bought, within folds; the latest fold, not used for the trees,
gives the slope of that score, the distribution of what it leaves unexplained (101 quantiles), and the factor
from the log scale back to money (Duan 1983). Levels of both parts are forecasts (`season`).

The interval is a pair of quantiles of the predicted distribution (no spend with probability 1 - p, else
log spend = score + residual). Their tail probability is set on the latest fold so that the interval would
have covered the stated share of it, with levels forecast from the folds before: what the forecast of the
season misses is in the width.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from feature_repo.entities import USER_ID
from training.boosting import Trees, fit_trees, fold_offsets, read_trees, write_trees
from training.calibration import Knots, conformal_level
from training.dataset import CUTOFF, SPEND_NEXT, fold_days
from training.errors import BrokenModel, NotEnoughData
from training.purchase import (
    Levels,
    Purchase,
    TrainingFolds,
    fit_purchase,
    read_purchase,
    read_versioned,
    write_purchase,
)
from training.value_config import ClvConfig

FloatArray = npt.NDArray[np.float64]

FORMAT_VERSION = 1
MODEL_FILE = "clv.json"
SLOPE_RANGE = (0.25, 1.25)
FACTOR_RANGE = (0.5, 5.0)
LEAST_BUYERS = 20


@dataclass(frozen=True)
class Amount:
    """log spend of a buyer = level + slope * trees + residual; `factor` is E[exp(residual)] by ratio."""

    trees: Trees
    slope: float
    levels: Levels
    residuals: Knots
    factor: float

    def score(self, frame: pd.DataFrame) -> FloatArray:
        """Log spend apart from the level."""
        return self.slope * self.trees.margin(frame)


@dataclass(frozen=True)
class ClvModel:
    """A fitted model; `tail` is the probability left out at each end of the interval."""

    purchase: Purchase
    amount: Amount
    tail: float
    coverage: float
    horizon_days: int

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that it reads, besides `cutoff`."""
        return tuple(dict.fromkeys((*self.purchase.features, *self.amount.trees.features)))


def fit_clv(frame: pd.DataFrame, config: ClvConfig | None = None, seed: int = 0) -> ClvModel:
    """Fit on a training frame with at least two cut-offs, each with buyers.

    Raises `NotEnoughData` if a part of the frame has fewer than 20 customers who bought.
    """
    chosen = config or ClvConfig()
    folds = TrainingFolds.of(frame)
    spend = frame[SPEND_NEXT].to_numpy(dtype=np.float64)
    bought = spend > 0.0  # unknown spend is not above 0
    for what, rows in (("to fit", bought & folds.is_before), ("to calibrate", bought & folds.is_latest)):
        if rows.sum() < LEAST_BUYERS:
            raise NotEnoughData(
                f"customers who bought within the horizon, {what}",
                int(rows.sum()),
                LEAST_BUYERS,
                "use more days",
            )
    purchase = fit_purchase(frame, chosen.purchase, seed)
    amount = _fit_amount(frame[bought], np.log(spend[bought]), chosen, seed)
    latest = folds.is_latest
    tail = _fit_tail(frame.loc[latest], spend[latest], purchase.before, amount, chosen.coverage)
    return ClvModel(purchase.model, amount, tail, chosen.coverage, chosen.cutoffs.horizon_days)


def score_clv(model: ClvModel, frame: pd.DataFrame, ratio: FloatArray | None = None) -> pd.DataFrame:
    """One row per row of `frame`.

    `user_id`, `cutoff`, `clv` (expected spend in the horizon, currency units), `clv_low`, `clv_high` (its
    interval), `purchase_probability`.

    `ratio` carries the answer to another horizon: each customer's expected purchases there over those in the
    model's own (see `horizons`). Money goes with it; the probability of buying at all as if purchases came at
    random, 1 - (1 - p)^ratio; what is left goes into the spend of those who buy.
    """
    probability = model.purchase.probability(frame)
    centre = model.amount.score(frame) + model.amount.levels.at(fold_days(frame))
    if ratio is not None:
        own = probability
        probability = -np.expm1(ratio * np.log1p(-np.minimum(own, 1.0 - 1e-9)))
        centre = centre + np.log(ratio * own / probability)
    quantile = _Spend(probability, centre, model.amount.residuals)
    expected = probability * np.exp(centre) * model.amount.factor
    return pd.DataFrame(
        {
            USER_ID: frame[USER_ID].to_numpy(),
            CUTOFF: frame[CUTOFF].array,
            "clv": expected,
            "clv_low": np.minimum(quantile.at(model.tail), expected),
            "clv_high": np.maximum(quantile.at(1.0 - model.tail), expected),
            "purchase_probability": probability,
        }
    )


@dataclass(frozen=True)
class _Spend:
    """Each customer's predicted distribution of spend."""

    probability: FloatArray
    centre: FloatArray
    residuals: Knots

    def at(self, share: float) -> FloatArray:
        """The quantile of each customer: 0 as long as no purchase is likely enough."""
        beyond = share - (1.0 - self.probability)
        inner = np.divide(beyond, self.probability, out=np.zeros_like(beyond), where=self.probability > 0)
        return np.where(beyond <= 0.0, 0.0, np.exp(self.centre + self.residuals.quantile(inner)))

    def largest_tail(self, spend: FloatArray) -> FloatArray:
        """The largest tail probability at which each customer's spend is still inside the interval."""
        residual = np.log(np.maximum(spend, 1e-9)) - self.centre
        below = (1.0 - self.probability) + self.probability * self.residuals.probability(residual)
        return np.where(spend > 0.0, np.minimum(below, 1.0 - below), 1.0 - self.probability)


def _fit_amount(buyers: pd.DataFrame, log_spend: FloatArray, config: ClvConfig, seed: int) -> Amount:
    folds = TrainingFolds.of(buyers)
    latest = folds.is_latest
    trees = fit_trees(
        buyers.loc[~latest],
        log_spend[~latest],
        folds.number[~latest],
        "squared",
        config.amount_features,
        config.amount,
        seed,
    )
    margin = trees.margin(buyers)
    slope = float(np.clip(_slope(margin[latest], log_spend[latest]), *SLOPE_RANGE))
    score = slope * margin
    offsets = fold_offsets(score, log_spend, folds.number, "squared")
    residual = log_spend[latest] - score[latest] - offsets[-1]
    predicted = np.exp(score[latest] + offsets[-1]).sum()
    factor = float(np.clip(np.exp(log_spend[latest]).sum() / predicted, *FACTOR_RANGE))
    levels = Levels(tuple(map(float, folds.days)), tuple(map(float, offsets)), config.season)
    return Amount(trees, slope, levels, Knots.of(residual), factor)


def _fit_tail(
    frame: pd.DataFrame, spend: FloatArray, purchase: Purchase, amount: Amount, share: float
) -> float:
    days = fold_days(frame)
    past = float(days.min())
    probability = expit(purchase.margin(frame) + purchase.levels.before(past).at(days))
    centre = amount.score(frame) + amount.levels.before(past).at(days)
    return conformal_level(_Spend(probability, centre, amount.residuals).largest_tail(spend), share)


def _slope(score: FloatArray, target: FloatArray) -> float:
    """Least-squares slope of target on score; 1 where the score does not vary."""
    centred = score - score.mean()
    squares = float(centred @ centred)
    return float(centred @ (target - target.mean())) / squares if squares > 0.0 else 1.0


def write_clv(model: ClvModel, directory: Path) -> None:
    """Writes the model's files into `directory`: JSON and .ubj."""
    directory.mkdir(parents=True, exist_ok=True)
    values = {
        "format_version": FORMAT_VERSION,
        "horizon_days": model.horizon_days,
        "coverage": model.coverage,
        "tail": model.tail,
        "amount": {
            "slope": model.amount.slope,
            "factor": model.amount.factor,
            "levels": model.amount.levels.to_dict(),
            "residuals": list(model.amount.residuals.values),
        },
    }
    (directory / MODEL_FILE).write_text(json.dumps(values, indent=2), encoding="utf-8")
    write_purchase(model.purchase, directory)
    write_trees(model.amount.trees, directory, "amount_trees")


def read_clv(directory: Path) -> ClvModel:
    """The inverse of `write_clv`; raises `BrokenModel` naming the file."""
    path = directory / MODEL_FILE
    values = read_versioned(path, FORMAT_VERSION)
    trees = read_trees(directory, "amount_trees")
    try:
        stored = values["amount"]
        amount = Amount(
            trees,
            float(stored["slope"]),
            Levels.from_dict(stored["levels"]),
            Knots(tuple(map(float, stored["residuals"]))),
            float(stored["factor"]),
        )
        tail, share = float(values["tail"]), float(values["coverage"])
        horizon = int(values["horizon_days"])
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenModel(path, f"lacks a field or has a wrong one ({error!r})") from error
    return ClvModel(read_purchase(directory), amount, tail, share, horizon)
