"""Each champion's inputs, predictions and outcomes against its training: measured after every prediction.

What a model was trained on is kept with its run as quantiles, not as rows of customers
(`training.drift.summary`). The result is a table of `orchestration.drift_reports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.layout import Home
from orchestration.data import Data
from orchestration.drift_reports import DriftReport, clicks, items_per_user
from orchestration.kinds import KINDS
from orchestration.resources import Features, Models
from training.churn import churned
from training.dataset import SPEND_NEXT, realized
from training.drift import Drift, DriftConfig, compare, compare_outcome, expanded, numbers

PREDICTION = {"clv": "clv_90d", "churn": "churn_probability"}
HORIZON_DAYS = 90


def measure_drift(
    data: Data, features: Features, models: Models, config: DriftConfig | None = None
) -> DriftReport:
    """Every champion that kept what it was trained on; the others are left out."""
    registry = models.open()
    champions = {kind: champion for kind in KINDS if (champion := registry.champion(kind)) is not None}
    references = {
        kind: reference
        for kind, champion in champions.items()
        if (reference := registry.reference(champion)) is not None
    }
    found: list[Drift] = []
    if "collaborative" in references:
        found += recommender_drift(references["collaborative"], data, config)
    kinds = [kind for kind in PREDICTION if kind in references]
    if kinds:
        frame = features.scoring_frame(data.as_of)
        for kind in kinds:
            found += value_drift(kind, references[kind], frame, data, config)
    return DriftReport(data.until, {kind: champions[kind].version for kind in references}, found)


def value_drift(
    kind: str, reference: Mapping[str, Any], frame: pd.DataFrame, data: Data, config: DriftConfig | None
) -> list[Drift]:
    """Features and predictions as of now, and what the last complete window brought."""
    found = [
        compare(kind, "feature", name, expanded(each), numbers(frame[name]), config)
        for name, each in reference["features"].items()
        if name in frame
    ]
    predicted = _newest_predictions(data.home)
    if predicted is not None:
        name = PREDICTION[kind]
        now = numbers(predicted[name])
        found.append(compare(kind, "prediction", name, expanded(reference["prediction"]), now, config))
    window = data.as_of - timedelta(days=HORIZON_DAYS)
    outcome = _outcome(kind, realized(data.home.current_marts, window, HORIZON_DAYS))
    told = expanded(reference["outcome"])
    found.append(compare_outcome(kind, f"{kind}_of_training", told, outcome, config))
    past = _predictions_at(data.home, window.date())
    if past is not None:
        at, table = past
        came = realized(data.home.current_marts, datetime.combine(at, time(), UTC), HORIZON_DAYS)
        both = table.merge(came, on="user_id", how="inner")
        expected = numbers(both[PREDICTION[kind]])
        found.append(compare_outcome(kind, f"{kind}_predicted", expected, _outcome(kind, both), config))
    return found


def recommender_drift(reference: Mapping[str, Any], data: Data, config: DriftConfig | None) -> list[Drift]:
    """Distinct items of each user in the last 90 days, and the click rate of the last four weeks."""
    kind = "collaborative"
    taken = expanded(reference["features"]["items_per_user"])
    found = [compare(kind, "feature", "items_per_user", taken, items_per_user(data.interactions()), config)]
    before, now = expanded(reference["outcome"]), clicks(data.home.events, data.until)
    if len(before) and len(now):
        found.append(compare_outcome(kind, "click_rate", before, now, config))
    return found


def _outcome(kind: str, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    return churned(frame) if kind == "churn" else numbers(frame[SPEND_NEXT])


def _newest_predictions(home: Home) -> pd.DataFrame | None:
    files = sorted(home.prediction("user_predictions").glob("*.parquet"))
    return pd.read_parquet(files[-1]) if files else None


def _predictions_at(home: Home, latest: date) -> tuple[date, pd.DataFrame] | None:
    """The newest predictions whose horizon has passed."""
    folder = home.prediction("user_predictions")
    files = [path for path in sorted(folder.glob("*.parquet")) if path.stem <= latest.isoformat()]
    return (date.fromisoformat(files[-1].stem), pd.read_parquet(files[-1])) if files else None
