"""The next purchase on the last fold: the model beside the customer's own mean gap and one number for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from training import evidence
from training import value_metrics as metrics
from training.dataset import DAYS_TO_NEXT, fold_days
from training.evaluation import Claim, ModelReport, Role, ScoreRow
from training.evidence import Evidence
from training.intervals import bootstrap_statistic, paired_statistic_difference
from training.next_purchase import (
    NextPurchaseModel,
    fit_next_purchase,
    own_gap_forecast,
    read_next_purchase,
    score_next_purchase,
)
from training.splits import Fold
from training.value_config import NextPurchaseConfig
from training.value_evaluation import CANDIDATE, evaluation_rows, training_rows

FloatArray = npt.NDArray[np.float64]

SOON_DAYS = 30
PRIMARY = "restricted_error_days"


@dataclass(frozen=True)
class NextPurchaseEvaluation:
    """`model` was fitted for the last fold, on which `report` was measured."""

    model: NextPurchaseModel
    report: ModelReport
    boundaries: dict[str, str]


def evaluate_next_purchase(
    frame: pd.DataFrame,
    folds: Sequence[Fold],
    config: NextPurchaseConfig | None = None,
    seed: int = 0,
    champion: NextPurchaseModel | None = None,
    draws: int = 200,
) -> NextPurchaseEvaluation:
    """Fit and measure on the last fold; `frame` holds the rows of its cut-offs."""
    chosen, fold = config or NextPurchaseConfig(), folds[-1]
    train, test = training_rows(frame, fold), evaluation_rows(frame, fold)
    model = fit_next_purchase(train, float(fold_days(test)[0]), chosen, seed)
    days, horizon = test[DAYS_TO_NEXT].to_numpy(dtype=np.float64), float(fold.horizon_days)
    scored = score_next_purchase(model, test)
    scores: dict[str, tuple[Role, FloatArray]] = {
        CANDIDATE: ("candidate", scored["next_order_days"].to_numpy()),
        "own_mean_gap": ("baseline", own_gap_forecast(test)),
        "usual_days": ("baseline", np.full(len(test), usual_days(train, horizon))),
    }
    if champion is not None:
        scores["champion"] = ("champion", np.exp(champion.log_days(test)))
    rows = [
        _row(name, role, days, score, scores[CANDIDATE][1], horizon, seed, draws)
        for name, (role, score) in scores.items()
    ]
    early = came_early(days, scored)
    rows[0].metrics["early_share"] = bootstrap_statistic(_mean, early, seed=seed, draws=draws)
    notes = [
        f"{len(test)} customers with an order before {fold.cutoff:%Y-%m-%d}; {np.isfinite(days).mean():.1%} "
        f"ordered within {fold.horizon_days} days.",
        f"{PRIMARY} is the mean difference of the forecast and the day of the next order, both cut at "
        f"{fold.horizon_days} days; roc_auc_{SOON_DAYS}d is who orders within {SOON_DAYS} days.",
        f"early_share is the share whose order came before the interval began, nominally "
        f"{(1.0 - chosen.coverage) / 2.0:.0%}; most intervals end after the horizon, where nothing is seen.",
    ]
    claims = [Claim(CANDIDATE, f"roc_auc_{SOON_DAYS}d", "own_mean_gap", strict=True)]
    report = ModelReport("next_purchase", fold.cutoff, rows, PRIMARY, False, notes, claims)
    return NextPurchaseEvaluation(model, report, fold.boundaries)


def next_purchase_evidence(
    found: NextPurchaseEvaluation,
    rows: pd.DataFrame,
    past: pd.DataFrame | None,
    orders: pd.DataFrame,
    files: Path,
    champion: Path | None,
) -> Evidence:
    """What the gate asks, measured on the `rows` of the last fold; for the others see `value_evidence`.

    Its interval ends after the horizon for most, so no calibration is asked; the report has `early_share`.
    """
    score = read_next_purchase(files).log_days
    theirs = None if champion is None else read_next_purchase(champion).log_days
    mine, timed = found.model.log_days(rows), evidence.timed_rows(rows)
    return Evidence(
        answers=evidence.answers_of(mine),
        readback=evidence.readback(score, rows, mine),
        stale=evidence.stale_share(rows, orders),
        replay=None if past is None else evidence.replay(score, rows, past),
        size=evidence.size_cost(files, champion),
        seconds=evidence.scoring_cost(
            lambda: score(timed), None if theirs is None else lambda: theirs(timed), len(timed)
        ),
    )


def restricted_error(days: FloatArray, forecast: FloatArray, horizon: float) -> float:
    """Mean |forecast - days|, both cut at the horizon; days is NaN where no order came in it."""
    came = np.where(np.isnan(days), horizon, days)
    return float(np.mean(np.abs(np.minimum(forecast, horizon) - came)))


def came_early(days: FloatArray, scored: pd.DataFrame) -> FloatArray:
    """1 where the next order came before the interval began, else 0; no order in the horizon is 0."""
    low = scored["next_order_days_low"].to_numpy(dtype=np.float64)
    return np.asarray(np.nan_to_num(days, nan=np.inf) + 1.0 < low, dtype=np.float64)


def usual_days(train: pd.DataFrame, horizon: float) -> float:
    """The median day of the next order over the complete training cut-offs, the horizon at most."""
    days = train.loc[train["spend_next"].notna(), DAYS_TO_NEXT].to_numpy(dtype=np.float64)
    return float(np.median(np.where(np.isnan(days), horizon, days)))


def _row(
    name: str,
    role: Role,
    days: FloatArray,
    score: FloatArray,
    candidate: FloatArray,
    horizon: float,
    seed: int,
    draws: int,
) -> ScoreRow:
    soon = (days < SOON_DAYS).astype(np.float64)
    error = partial(restricted_error, horizon=horizon)
    values = {
        PRIMARY: bootstrap_statistic(error, days, score, seed=seed, draws=draws),
        f"roc_auc_{SOON_DAYS}d": bootstrap_statistic(metrics.roc_auc, soon, -score, seed=seed, draws=draws),
    }
    paired = {}
    if name != CANDIDATE:
        paired[PRIMARY] = paired_statistic_difference(error, days, candidate, score, seed=seed, draws=draws)
    return ScoreRow(name, role, values, paired)


def _mean(values: FloatArray) -> float:
    return float(values.mean())
