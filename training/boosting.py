"""Boosted trees fitted within folds: who scores higher than whom on the same day.

Each training cut-off gets an offset (a margin that trees start from), estimated in turn with the trees, so
that a month in which everybody bought does not pass for a property of the customers in it: a mixed model with
fold intercepts, as in Hajjem, Bellavance & Larocque 2014. `season` then forecasts the offset of a new fold.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost

from training.calibration import logistic_offset
from training.cores import run_side_by_side
from training.errors import BrokenModel, NotEnoughData
from training.value_config import TreesConfig

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Loss = Literal["logistic", "squared"]

OBJECTIVES: dict[Loss, str] = {"logistic": "binary:logistic", "squared": "reg:squarederror"}
ROUNDS_OF_ESTIMATION = 2
BLOCK_ROWS = 1000


@dataclass(frozen=True)
class Trees:
    """An ensemble of boosters over the same features; their margins are averaged."""

    features: tuple[str, ...]
    boosters: tuple[xgboost.Booster, ...]

    def __post_init__(self) -> None:
        # As in training (`TreesConfig`): a call lasts milliseconds, and threads would wait for each other.
        for booster in self.boosters:
            booster.set_param({"nthread": 1})

    def margin(self, frame: pd.DataFrame) -> FloatArray:
        """The score of each row, without any fold's offset."""
        if frame.empty:
            return np.zeros(0)
        data = _matrix(frame, self.features, np.zeros(len(frame)))
        margins = [booster.predict(data, output_margin=True) for booster in self.boosters]
        return np.asarray(np.mean(margins, axis=0), dtype=np.float64)

    def contributions(self, frame: pd.DataFrame) -> FloatArray:
        """Each feature's Shapley value in each row's margin; columns as `features`.

        They and one constant sum to the margin, up to single precision.
        """
        found = np.zeros((len(frame), len(self.features)))

        def add(start: int) -> None:
            rows = frame.iloc[start : start + BLOCK_ROWS]
            data = _matrix(rows, self.features, np.zeros(len(rows)))
            parts = [booster.predict(data, pred_contribs=True)[:, :-1] for booster in self.boosters]
            found[start : start + BLOCK_ROWS] = np.mean(parts, axis=0)

        run_side_by_side(add, range(0, len(frame), BLOCK_ROWS))
        return found

    def gain(self) -> dict[str, float]:
        """Share of the total gain that splits on each feature brought, largest first."""
        gains = dict.fromkeys(self.features, 0.0)
        for booster in self.boosters:
            for name, value in booster.get_score(importance_type="total_gain").items():
                gains[name] += float(value[0] if isinstance(value, list) else value)
        total = sum(gains.values()) or 1.0
        return {name: gains[name] / total for name in sorted(gains, key=lambda name: -gains[name])}


def fit_trees(
    frame: pd.DataFrame,
    target: FloatArray,
    folds: IntArray,
    loss: Loss,
    features: tuple[str, ...],
    config: TreesConfig,
    seed: int,
) -> Trees:
    """Fit on rows of `frame`; `folds` numbers each row's cut-off 0..n-1.

    Features that do not vary are left out. Offsets start at each fold's own level, are estimated again from
    the first trees' margins, and then held for the final ensemble.
    """
    varying = varying_features(frame, features)
    offsets = fold_offsets(np.zeros(len(target)), target, folds, loss)
    for _ in range(ROUNDS_OF_ESTIMATION - 1):
        first = Trees(varying, (_boost(frame, varying, target, offsets[folds], loss, config, seed),))
        offsets = fold_offsets(first.margin(frame), target, folds, loss)
    boosters = tuple(
        _boost(frame, varying, target, offsets[folds], loss, config, seed + member)
        for member in range(config.ensemble)
    )
    return Trees(varying, boosters)


def varying_features(frame: pd.DataFrame, features: tuple[str, ...]) -> tuple[str, ...]:
    """Those that tell customers apart; raises `NotEnoughData` if none does."""
    varying = tuple(name for name in features if _varies(frame[name]))
    if not varying:
        raise NotEnoughData("features that vary in the training frame", 0, 1, "land more days")
    return varying


def tree_parameters(config: TreesConfig, seed: int) -> dict[str, Any]:
    """XGBoost's names for a configuration; the objective is the caller's."""
    return {
        "tree_method": "hist",
        "max_depth": config.max_depth,
        "eta": config.learning_rate,
        "min_child_weight": config.min_child_weight,
        "reg_lambda": config.reg_lambda,
        "subsample": config.subsample,
        "colsample_bytree": config.colsample,
        "nthread": config.threads,
        "seed": seed,
        "verbosity": 0,
    }


def fold_offsets(margin: FloatArray, target: FloatArray, folds: IntArray, loss: Loss) -> FloatArray:
    """For each fold the offset at which predictions and outcomes agree in total."""
    offsets = np.zeros(int(folds.max()) + 1)
    for fold in range(len(offsets)):
        chosen = folds == fold
        if loss == "logistic":
            offsets[fold] = logistic_offset(margin[chosen], target[chosen])
        else:
            offsets[fold] = float(np.mean(target[chosen] - margin[chosen]))
    return offsets


def write_trees(trees: Trees, directory: Path, name: str) -> None:
    """Writes `<name>.json` (features, members) and one `<name>_<n>.ubj` per member."""
    values = {"features": list(trees.features), "members": len(trees.boosters)}
    (directory / f"{name}.json").write_text(json.dumps(values, indent=2), encoding="utf-8")
    for number, booster in enumerate(trees.boosters):
        booster.save_model(directory / f"{name}_{number}.ubj")


def read_trees(directory: Path, name: str) -> Trees:
    """The inverse of `write_trees`; raises `BrokenModel` naming the file."""
    values = read_json(directory / f"{name}.json")
    boosters = []
    try:
        features, members = tuple(map(str, values["features"])), int(values["members"])
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenModel(
            directory / f"{name}.json", f"lacks a field or has a wrong one ({error!r})"
        ) from error
    for number in range(members):
        path = directory / f"{name}_{number}.ubj"
        booster = xgboost.Booster()
        try:
            booster.load_model(path)
        except (xgboost.core.XGBoostError, OSError, ValueError) as error:
            raise BrokenModel(path, "is missing or not a booster") from error
        boosters.append(booster)
    return Trees(features, tuple(boosters))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model directory; raises `BrokenModel` naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BrokenModel(path, "is missing or not JSON") from error
    if not isinstance(values, dict):
        raise BrokenModel(path, "is not a JSON object")
    return values


def _boost(
    frame: pd.DataFrame,
    features: tuple[str, ...],
    target: FloatArray,
    offset: FloatArray,
    loss: Loss,
    config: TreesConfig,
    seed: int,
) -> xgboost.Booster:
    parameters = {**tree_parameters(config, seed), "objective": OBJECTIVES[loss], "base_score": 0.5}
    data = _matrix(frame, features, offset)
    data.set_label(target)
    return xgboost.train(parameters, data, num_boost_round=config.rounds)


def _matrix(frame: pd.DataFrame, features: tuple[str, ...], margin: FloatArray) -> xgboost.DMatrix:
    values = frame.loc[:, list(features)].to_numpy(dtype=np.float64, na_value=np.nan)
    return xgboost.DMatrix(values, feature_names=list(features), base_margin=margin, nthread=1)


def _varies(column: pd.Series) -> bool:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = values[~np.isnan(values)]
    return len(known) > 0 and bool(known.min() < known.max() or len(known) < len(values))
