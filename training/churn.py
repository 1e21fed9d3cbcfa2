"""Churn: the probability of no purchase in the next H days, among customers with an order before."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.entities import USER_ID
from training.dataset import CUTOFF, ORDERS_NEXT
from training.purchase import (
    Purchase,
    fit_purchase,
    read_purchase,
    read_versioned,
    write_purchase,
)
from training.value_config import ChurnConfig

FloatArray = npt.NDArray[np.float64]

FORMAT_VERSION = 1
MODEL_FILE = "churn.json"


@dataclass(frozen=True)
class ChurnModel:
    """A fitted churn model; `horizon_days` is the H of its probability."""

    purchase: Purchase
    horizon_days: int

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that it reads, besides `cutoff`."""
        return self.purchase.features

    def probability(self, frame: pd.DataFrame) -> FloatArray:
        """Churn probability of each row, as of its `cutoff`."""
        return 1.0 - self.purchase.probability(frame)


def fit_churn(frame: pd.DataFrame, config: ChurnConfig | None = None, seed: int = 0) -> ChurnModel:
    """Fit on a training frame with at least two complete cut-offs; the latest of them calibrates."""
    chosen = config or ChurnConfig()
    return ChurnModel(fit_purchase(frame, chosen.purchase, seed).model, chosen.cutoffs.horizon_days)


def score_churn(model: ChurnModel, frame: pd.DataFrame) -> pd.DataFrame:
    """One row per row of `frame`: `user_id`, `cutoff`, `churn_probability`."""
    return pd.DataFrame(
        {
            USER_ID: frame[USER_ID].to_numpy(),
            CUTOFF: frame[CUTOFF].array,
            "churn_probability": model.probability(frame),
        }
    )


def churned(frame: pd.DataFrame) -> FloatArray:
    """The label: 1 for a customer who bought nothing in the horizon."""
    return np.asarray(frame[ORDERS_NEXT].to_numpy() == 0, dtype=np.float64)


def write_churn(model: ChurnModel, directory: Path) -> None:
    """Writes the model's files into `directory`: JSON and .ubj."""
    directory.mkdir(parents=True, exist_ok=True)
    values = {"format_version": FORMAT_VERSION, "horizon_days": model.horizon_days}
    (directory / MODEL_FILE).write_text(json.dumps(values, indent=2), encoding="utf-8")
    write_purchase(model.purchase, directory)


def read_churn(directory: Path) -> ChurnModel:
    """The inverse of `write_churn`; raises `BrokenModel` naming the file."""
    values = read_versioned(directory / MODEL_FILE, FORMAT_VERSION)
    return ChurnModel(read_purchase(directory), int(values["horizon_days"]))
