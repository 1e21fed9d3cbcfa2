"""The probability that a customer buys within the horizon: shared by churn (its complement) and CLV.

Three steps on different rows. Trees are fitted on all training cut-offs but the latest. A logistic map is
fitted on the latest one, whose customers' future the trees did not see from that day on. The level at the
instant of scoring is forecast from the offsets of all folds (`season`). Everything is numbers and .ubj.

The label windows of neighbouring cut-offs overlap; what the calibration fold shares with the one before it
can only make the slope a little too steep.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.boosting import Trees, fit_trees, fold_offsets, read_json, read_trees, write_trees
from training.calibration import Platt, fit_platt
from training.dataset import CUTOFF, ORDERS_NEXT, fold_days
from training.errors import BrokenModel, NotEnoughData
from training.season import forecast_level
from training.value_config import SeasonConfig, TreesConfig

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FORMAT_VERSION = 1
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
class Purchase:
    """A fitted model. `platt` was fitted on the latest fold; its intercept is that fold's own level."""

    trees: Trees
    platt: Platt
    levels: Levels

    def margin(self, frame: pd.DataFrame) -> FloatArray:
        """Log odds apart from the level: the trees' margin times the calibrated slope."""
        return self.platt.slope * self.trees.margin(frame)

    def probability(self, frame: pd.DataFrame) -> FloatArray:
        """Probability of a purchase in the horizon after each row's `cutoff`."""
        return Platt(1.0, 0.0).probability(self.margin(frame) + self.levels.at(fold_days(frame)))

    def probability_at_latest_level(self, frame: pd.DataFrame) -> FloatArray:
        """The same with the latest fold's level instead of the forecast, for comparison."""
        return self.platt.probability(self.trees.margin(frame))


@dataclass(frozen=True)
class TrainingFolds:
    """A training frame's rows by cut-off: the number of each row's fold, and each fold's day."""

    number: IntArray
    days: FloatArray

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "TrainingFolds":
        """Raises `NotEnoughData` for fewer than two cut-offs: one to fit, a later one to calibrate."""
        if frame.empty or frame[CUTOFF].nunique() < 2:
            raise NotEnoughData(
                "training cut-offs", 0 if frame.empty else 1, 2, "use more history or a shorter horizon"
            )
        days, number = np.unique(fold_days(frame), return_inverse=True)
        return cls(np.asarray(number, dtype=np.int64), days)

    @property
    def is_latest(self) -> npt.NDArray[np.bool_]:
        """Rows of the fold that is kept for calibration."""
        return np.asarray(self.number == len(self.days) - 1)


def fit_purchase(
    frame: pd.DataFrame, features: tuple[str, ...], trees: TreesConfig, season: SeasonConfig, seed: int
) -> Purchase:
    """Fit on a training frame (see `dataset.customer_frame`) with at least two cut-offs."""
    folds = TrainingFolds.of(frame)
    bought = (frame[ORDERS_NEXT].to_numpy() > 0).astype(np.float64)
    latest = folds.is_latest
    fitted = fit_trees(
        frame.loc[~latest], bought[~latest], folds.number[~latest], "logistic", features, trees, seed
    )
    margin = fitted.margin(frame)
    free = fit_platt(margin[latest], bought[latest])
    slope = float(np.clip(free.slope, *SLOPE_RANGE))
    offsets = fold_offsets(slope * margin, bought, folds.number, "logistic")
    return Purchase(
        fitted,
        Platt(slope, float(offsets[-1])),
        Levels(tuple(map(float, folds.days)), tuple(map(float, offsets)), season),
    )


def write_purchase(model: Purchase, directory: Path) -> None:
    """Writes `purchase.json` (calibration and levels) and the trees."""
    directory.mkdir(parents=True, exist_ok=True)
    values = {
        "format_version": FORMAT_VERSION,
        "platt": vars(model.platt),
        "levels": model.levels.to_dict(),
    }
    (directory / "purchase.json").write_text(json.dumps(values, indent=2), encoding="utf-8")
    write_trees(model.trees, directory, "purchase_trees")


def read_purchase(directory: Path) -> Purchase:
    """The inverse of `write_purchase`; raises `BrokenModel` naming the file."""
    path = directory / "purchase.json"
    values = read_versioned(path, FORMAT_VERSION)
    try:
        platt = Platt(float(values["platt"]["slope"]), float(values["platt"]["intercept"]))
        levels = Levels.from_dict(values["levels"])
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenModel(path, f"lacks a field or has a wrong one ({error!r})") from error
    return Purchase(read_trees(directory, "purchase_trees"), platt, levels)


def read_versioned(path: Path, format_version: int) -> dict[str, Any]:
    """A JSON object with that `format_version`; raises `BrokenModel` otherwise."""
    values = read_json(path)
    found = values.get("format_version")
    if found != format_version:
        raise BrokenModel(path, f"has format_version {found!r}, this code reads {format_version}")
    return values
