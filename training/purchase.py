"""The probability that a customer buys within the horizon: shared by churn (its complement) and CLV.

The score of a customer is the mean of boosted trees and of a line. It is fitted twice. First on the training
cut-offs before the latest whose labels are complete; a logistic map fitted on that latest one, whose
customers' future the score did not see from that day on, gives the slope. Then on all cut-offs, the later
ones with the part of their label window that is known by then: recent behaviour counts, and a longer history
is behind it. The level at the instant of scoring is forecast from the offsets of the complete folds
(`season`). Everything is numbers and .ubj.

The label windows of neighbouring cut-offs overlap; what the calibration fold shares with the one before it
can only make the slope a little too steep.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.boosting import Trees, fit_trees, fold_offsets, read_json, read_trees, write_trees
from training.calibration import Platt, fit_platt
from training.dataset import ORDERS_NEXT, SPEND_NEXT, fold_days
from training.errors import BrokenModel, NotEnoughData
from training.linear import Linear, fit_linear, read_linear, write_linear
from training.season import forecast_level
from training.value_config import PurchaseConfig, SeasonConfig

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

FORMAT_VERSION = 2
LINEAR_FILE = "purchase_linear.json"
SLOPE_RANGE = (0.25, 2.0)


@dataclass(frozen=True)
class Levels:
    """Each training fold's day (since 1970) and offset; the level elsewhere is forecast from them."""

    days: tuple[float, ...]
    offsets: tuple[float, ...]
    season: SeasonConfig

    def at(self, days: FloatArray) -> FloatArray:
        """The level to be expected at each of these days."""
        distinct, where = np.unique(days, return_inverse=True)
        return forecast_level(self.days, self.offsets, distinct, self.season)[where]

    def before(self, day: float) -> "Levels":
        """The folds before a day alone."""
        kept = [index for index, each in enumerate(self.days) if each < day]
        return Levels(
            tuple(self.days[index] for index in kept),
            tuple(self.offsets[index] for index in kept),
            self.season,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"days": list(self.days), "offsets": list(self.offsets), "season": vars(self.season)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Levels":
        """The inverse of `to_dict`."""
        return cls(tuple(values["days"]), tuple(values["offsets"]), SeasonConfig(**values["season"]))


@dataclass(frozen=True)
class Score:
    """Who scores higher than whom: (1 - share) * trees + share * line, log odds without a level."""

    trees: Trees
    linear: Linear
    share: float

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that it reads, each once."""
        return tuple(dict.fromkeys((*self.trees.features, *self.linear.features)))

    def margin(self, frame: pd.DataFrame) -> FloatArray:
        """The score of each row."""
        return (1.0 - self.share) * self.trees.margin(frame) + self.share * self.linear.margin(frame)


@dataclass(frozen=True)
class Purchase:
    """A fitted model. `platt` has the slope measured on the latest fold, and that fold's own level."""

    score: Score
    platt: Platt
    levels: Levels

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that it reads, besides `cutoff`."""
        return self.score.features

    def margin(self, frame: pd.DataFrame) -> FloatArray:
        """Log odds apart from the level: the score times the calibrated slope."""
        return self.platt.slope * self.score.margin(frame)

    def probability(self, frame: pd.DataFrame) -> FloatArray:
        """Probability of a purchase in the horizon after each row's `cutoff`."""
        return Platt(1.0, 0.0).probability(self.margin(frame) + self.levels.at(fold_days(frame)))

    def probability_at_latest_level(self, frame: pd.DataFrame) -> FloatArray:
        """The same with the latest fold's level instead of the forecast, for comparison."""
        return self.platt.probability(self.score.margin(frame))


@dataclass(frozen=True)
class PurchaseFit:
    """`model` was fitted on everything; `before` is the one that had not seen the latest complete fold."""

    model: Purchase
    before: Purchase


@dataclass(frozen=True)
class TrainingFolds:
    """A training frame's rows by cut-off.

    The number of each row's fold; each fold's day; and which folds are complete: those whose whole label
    window is known (`spend_next` is not missing, see `dataset.known_at`).
    """

    number: IntArray
    days: FloatArray
    complete: BoolArray

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "TrainingFolds":
        """Raises `NotEnoughData` without two complete cut-offs: one to fit, a later one to calibrate."""
        days, number = np.unique(fold_days(frame), return_inverse=True)
        is_open = np.bincount(number, frame[SPEND_NEXT].isna().to_numpy(), minlength=len(days)) > 0
        complete = np.asarray(~is_open)
        if complete.sum() < 2:
            raise NotEnoughData(
                "training cut-offs", int(complete.sum()), 2, "use more history or a shorter horizon"
            )
        return cls(np.asarray(number, dtype=np.int64), days, complete)

    @property
    def latest(self) -> int:
        """The number of the latest complete fold, which calibrates."""
        return int(np.flatnonzero(self.complete)[-1])

    @property
    def is_latest(self) -> BoolArray:
        """Rows of the latest complete fold."""
        return np.asarray(self.number == self.latest)

    @property
    def is_before(self) -> BoolArray:
        """Rows of the complete folds before the latest."""
        return np.asarray(self.complete[self.number] & (self.number < self.latest))


def fit_purchase(frame: pd.DataFrame, config: PurchaseConfig, seed: int) -> PurchaseFit:
    """Fit on a training frame (see `dataset.customer_frame`) with at least two complete cut-offs."""
    folds = TrainingFolds.of(frame)
    bought = (frame[ORDERS_NEXT].to_numpy() > 0).astype(np.float64)
    before, latest = folds.is_before, folds.is_latest
    single = replace(config, trees=replace(config.trees, ensemble=1))  # a slope needs no ensemble
    first = _fit_score(frame.loc[before], bought[before], folds.number[before], single, seed)
    free = fit_platt(first.margin(frame.loc[latest]), bought[latest])
    slope = float(np.clip(free.slope, *SLOPE_RANGE))
    final = _fit_score(frame, bought, folds.number, config, seed)
    model, held_out = (
        _levelled(score, slope, frame, bought, folds, config.season) for score in (final, first)
    )
    return PurchaseFit(model, held_out)


def _fit_score(
    frame: pd.DataFrame, bought: FloatArray, number: IntArray, config: PurchaseConfig, seed: int
) -> Score:
    folds = np.unique(number, return_inverse=True)[1].astype(np.int64)
    return Score(
        fit_trees(frame, bought, folds, "logistic", config.features, config.trees, seed),
        fit_linear(frame, bought, folds, config.linear_features, config.linear),
        config.linear.share,
    )


def _levelled(
    score: Score,
    slope: float,
    frame: pd.DataFrame,
    bought: FloatArray,
    folds: TrainingFolds,
    season: SeasonConfig,
) -> Purchase:
    offsets = fold_offsets(slope * score.margin(frame), bought, folds.number, "logistic")
    levels = Levels(
        tuple(map(float, folds.days[folds.complete])), tuple(map(float, offsets[folds.complete])), season
    )
    return Purchase(score, Platt(slope, float(offsets[folds.latest])), levels)


def write_purchase(model: Purchase, directory: Path) -> None:
    """Writes `purchase.json` (calibration and levels), the line and the trees."""
    directory.mkdir(parents=True, exist_ok=True)
    values = {
        "format_version": FORMAT_VERSION,
        "platt": vars(model.platt),
        "levels": model.levels.to_dict(),
        "linear_share": model.score.share,
    }
    (directory / "purchase.json").write_text(json.dumps(values, indent=2), encoding="utf-8")
    write_trees(model.score.trees, directory, "purchase_trees")
    write_linear(model.score.linear, directory / LINEAR_FILE)


def read_purchase(directory: Path) -> Purchase:
    """The inverse of `write_purchase`; raises `BrokenModel` naming the file."""
    path = directory / "purchase.json"
    values = read_versioned(path, FORMAT_VERSION)
    try:
        platt = Platt(float(values["platt"]["slope"]), float(values["platt"]["intercept"]))
        levels = Levels.from_dict(values["levels"])
        share = float(values["linear_share"])
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenModel(path, f"lacks a field or has a wrong one ({error!r})") from error
    linear = read_linear(directory / LINEAR_FILE)
    return Purchase(Score(read_trees(directory, "purchase_trees"), linear, share), platt, levels)


def read_versioned(path: Path, format_version: int) -> dict[str, Any]:
    """A JSON object with that `format_version`; raises `BrokenModel` otherwise."""
    values = read_json(path)
    found = values.get("format_version")
    if found != format_version:
        raise BrokenModel(path, f"has format_version {found!r}, this code reads {format_version}")
    return values
