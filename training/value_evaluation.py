"""Churn and CLV on rolling folds: candidate, baselines and champion on the same customers.

Every fold is evaluated alike: the model and the fitted baselines see training cut-offs whose labels have
ended by the fold's cut-off. The last fold's report is the primary one and its model is the candidate for
release: what was evaluated is what is released.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from training import value_metrics as metrics
from training.bgnbd import bgnbd_inputs, fit_bgnbd, fit_gamma_gamma
from training.calibration import fit_platt
from training.churn import ChurnModel, churned, fit_churn
from training.clv import ClvModel, fit_clv, score_clv
from training.cores import run_side_by_side
from training.dataset import CUTOFF, SPEND_LAST_90D, SPEND_NEXT, known_at
from training.evaluation import Claim, ModelReport, Role, ScoreRow
from training.intervals import Estimate, bootstrap_statistic, paired_statistic_difference
from training.pareto import fit_pareto_nbd
from training.splits import Fold
from training.value_config import ChurnConfig, ClvConfig

FloatArray = npt.NDArray[np.float64]
Model = TypeVar("Model")

CANDIDATE = "xgboost"
LEAST_TENURE_DAYS = 30.0
EARLIER_DRAWS = 40

CHURN_METRICS: dict[str, metrics.Metric] = {
    "roc_auc": metrics.roc_auc,
    "ece": metrics.expected_calibration_error,
    "brier": metrics.brier,
    "log_loss": metrics.log_loss,
}
RANKING_METRICS = ("roc_auc",)
CLV_METRICS: dict[str, metrics.Metric] = {
    "spearman": metrics.spearman,
    "top_decile_capture": metrics.top_decile_capture,
    "gini": metrics.gini,
    "mae": metrics.mean_absolute_error,
    "total_ratio": metrics.total_ratio,
    "calibrated_deciles": metrics.calibrated_deciles,
}


@dataclass(frozen=True)
class ChurnEvaluation:
    """`reports` are ascending, the last is primary; `model` was fitted for it; `predictions` are its rows.

    `predictions`: `user_id`, `cutoff`, `truth` (1 churned), and a column of scores per row of the report.
    """

    model: ChurnModel
    reports: tuple[ModelReport, ...]
    predictions: pd.DataFrame
    boundaries: dict[str, str]

    @property
    def report(self) -> ModelReport:
        """The last fold's."""
        return self.reports[-1]


@dataclass(frozen=True)
class ClvEvaluation:
    """As `ChurnEvaluation`, for money; `predictions` also has the candidate's `low` and `high`."""

    model: ClvModel
    reports: tuple[ModelReport, ...]
    predictions: pd.DataFrame
    boundaries: dict[str, str]

    @property
    def report(self) -> ModelReport:
        """The last fold's."""
        return self.reports[-1]


@dataclass(frozen=True)
class _Scores:
    """Scores on one fold by name; what is no probability (or no money) is measured by rank alone."""

    values: dict[str, FloatArray]
    roles: dict[str, Role]
    ranks_only: frozenset[str] = field(default_factory=frozenset)


def evaluate_churn(
    frame: pd.DataFrame,
    folds: Sequence[Fold],
    config: ChurnConfig | None = None,
    seed: int = 0,
    champion: ChurnModel | None = None,
    draws: int = 200,
) -> ChurnEvaluation:
    """Fit and measure on each fold; `frame` holds the rows of all their cut-offs (`cutoffs_of`)."""
    chosen = config or ChurnConfig()

    def measured(fold: Fold) -> tuple[ChurnModel, ModelReport, pd.DataFrame]:
        train, test = training_rows(frame, fold), evaluation_rows(frame, fold)
        model = fit_churn(train, chosen, seed)
        truth = churned(test)
        scores = _churn_scores(model, train, test, champion if fold is folds[-1] else None, fold.horizon_days)
        report = _churn_report(fold, truth, scores, train, seed, _draws(fold, folds, draws))
        return model, report, _predictions(test, truth, scores)

    models, reports, predictions = _latest_first(measured, folds)
    return ChurnEvaluation(models[-1], _with_earlier_folds(reports), predictions[-1], folds[-1].boundaries)


def evaluate_clv(
    frame: pd.DataFrame,
    folds: Sequence[Fold],
    config: ClvConfig | None = None,
    seed: int = 0,
    champion: ClvModel | None = None,
    draws: int = 200,
) -> ClvEvaluation:
    """Fit and measure on each fold; `frame` holds the rows of all their cut-offs (`cutoffs_of`)."""
    chosen = config or ClvConfig()

    def measured(fold: Fold) -> tuple[ClvModel, ModelReport, pd.DataFrame]:
        train, test = training_rows(frame, fold), evaluation_rows(frame, fold)
        model = fit_clv(train, chosen, seed)
        truth = test[SPEND_NEXT].to_numpy(dtype=np.float64)
        scored = score_clv(model, test)
        scores = _clv_scores(scored, test, fold.horizon_days)
        if fold is folds[-1]:
            scores = _with_last_rows(scores, test, champion, fold.horizon_days)
        report = _clv_report(fold, truth, scores, scored, chosen, seed, _draws(fold, folds, draws))
        low, high = scored["clv_low"].to_numpy(), scored["clv_high"].to_numpy()
        return model, report, _predictions(test, truth, scores).assign(low=low, high=high)

    models, reports, predictions = _latest_first(measured, folds)
    return ClvEvaluation(models[-1], _with_earlier_folds(reports), predictions[-1], folds[-1].boundaries)


def _latest_first(
    measured: Callable[[Fold], tuple[Model, ModelReport, pd.DataFrame]], folds: Sequence[Fold]
) -> tuple[list[Model], list[ModelReport], list[pd.DataFrame]]:
    """What `measured` gives, by part, in the order of the folds; the latest, the longest, starts first."""
    models, reports, predictions = zip(*run_side_by_side(measured, folds[::-1])[::-1], strict=True)
    return list(models), list(reports), list(predictions)


def cutoffs_of(folds: Sequence[Fold]) -> list[datetime]:
    """Every cut-off that the folds need, ascending, each once."""
    return sorted({each for fold in folds for each in (*fold.training, *fold.partial, fold.cutoff)})


def training_rows(frame: pd.DataFrame, fold: Fold) -> pd.DataFrame:
    """The rows of a fold's training and partial cut-offs, with labels as known at its evaluation cut-off."""
    rows = _rows(frame, [*fold.training, *fold.partial])
    return known_at(rows, fold.cutoff, fold.horizon_days)


def evaluation_rows(frame: pd.DataFrame, fold: Fold) -> pd.DataFrame:
    """The rows that a fold is tested on, with complete labels."""
    return _rows(frame, [fold.cutoff])


def _churn_scores(
    model: ChurnModel, train: pd.DataFrame, test: pd.DataFrame, champion: ChurnModel | None, horizon: float
) -> _Scores:
    x, t_x, age = bgnbd_inputs(test)
    bgnbd = fit_bgnbd(x, t_x, age)
    complete = _complete(train)
    margin = np.log1p(complete["recency_days"].to_numpy(dtype=np.float64))
    recency = fit_platt(margin, churned(complete))
    values = {
        CANDIDATE: model.probability(test),
        "xgboost_latest_level": 1.0 - model.purchase.probability_at_latest_level(test),
        "recency": recency.probability(np.log1p(test["recency_days"].to_numpy(dtype=np.float64))),
        "bgnbd_p_alive": 1.0 - bgnbd.p_alive(x, t_x, age),
        "bgnbd_no_purchase": bgnbd.p_no_purchase(x, t_x, age, horizon),
    }
    roles: dict[str, Role] = dict.fromkeys(values, "baseline")
    roles |= {CANDIDATE: "candidate", "xgboost_latest_level": "candidate"}
    if champion is not None:
        values["champion"], roles["champion"] = champion.probability(test), "champion"
    return _Scores(values, roles, frozenset({"bgnbd_p_alive"}))


def _clv_scores(scored: pd.DataFrame, test: pd.DataFrame, horizon: float) -> _Scores:
    x, t_x, age = bgnbd_inputs(test)
    spend = test["spend_total"].to_numpy(dtype=np.float64)
    purchases = fit_bgnbd(x, t_x, age).expected_purchases(x, t_x, age, horizon)
    tenure = np.maximum(test["tenure_days"].to_numpy(dtype=np.float64), LEAST_TENURE_DAYS)
    values = {
        CANDIDATE: scored["clv"].to_numpy(dtype=np.float64),
        "bgnbd_gamma_gamma": purchases * _expected_amount(test),
        "past_spend_rate": spend / tenure * horizon,
        "spend_last_90d": test[SPEND_LAST_90D].to_numpy(dtype=np.float64) * horizon / 90.0,
    }
    roles: dict[str, Role] = dict.fromkeys(values, "baseline")
    roles[CANDIDATE] = "candidate"
    return _Scores(values, roles)


def _with_last_rows(
    scores: _Scores, test: pd.DataFrame, champion: ClvModel | None, horizon: float
) -> _Scores:
    """What is measured on the last fold alone: Pareto/NBD, which is slow to fit, and the champion."""
    x, t_x, age = bgnbd_inputs(test)
    purchases = fit_pareto_nbd(x, t_x, age).expected_purchases(x, t_x, age, horizon)
    values = {**scores.values, "pareto_nbd_gamma_gamma": purchases * _expected_amount(test)}
    roles: dict[str, Role] = {**scores.roles, "pareto_nbd_gamma_gamma": "baseline"}
    if champion is not None:
        values["champion"] = score_clv(champion, test)["clv"].to_numpy(dtype=np.float64)
        roles["champion"] = "champion"
    return _Scores(values, roles)


def _expected_amount(test: pd.DataFrame) -> FloatArray:
    """Money per order day by Gamma-Gamma."""
    transactions = bgnbd_inputs(test)[0] + 1.0
    mean = test["spend_total"].to_numpy(dtype=np.float64) / transactions
    return fit_gamma_gamma(transactions, mean).expected_amount(transactions, mean)


def _churn_report(
    fold: Fold, truth: FloatArray, scores: _Scores, train: pd.DataFrame, seed: int, draws: int
) -> ModelReport:
    rows = _score_rows(CHURN_METRICS, RANKING_METRICS, "roc_auc", truth, scores, seed, draws)
    notes = [
        _protocol(fold, len(truth)),
        f"Churn is no purchase in {fold.horizon_days} days: {truth.mean():.1%} here, "
        f"{churned(_complete(train)).mean():.1%} over the training cut-offs.",
        "BG/NBD counts days with an order and is fitted to all history before the cut-off.",
        "xgboost_latest_level takes the latest calibration fold's level instead of the season's forecast.",
    ]
    claims = [Claim(CANDIDATE, "brier", "recency", strict=True, higher_is_better=False)]
    return ModelReport("churn", fold.cutoff, rows, "roc_auc", True, notes, claims)


def _clv_report(
    fold: Fold,
    truth: FloatArray,
    scores: _Scores,
    scored: pd.DataFrame,
    config: ClvConfig,
    seed: int,
    draws: int,
) -> ModelReport:
    rows = _score_rows(CLV_METRICS, (), "spearman", truth, scores, seed, draws)
    low, high = scored["clv_low"].to_numpy(), scored["clv_high"].to_numpy()
    covered = bootstrap_statistic(metrics.coverage, truth, low, high, seed=seed, draws=draws)
    rows[0].metrics["coverage"] = covered
    notes = [
        _protocol(fold, len(truth)),
        f"Spend is purchases in {fold.horizon_days} days before returns, {truth.mean():.2f} per customer.",
        f"coverage is the share inside the interval, nominally {config.coverage:.0%}; "
        "top_decile_capture is the chosen tenth's money over the truly best tenth's.",
        f"Predicted over true money by tenths of {CANDIDATE}, ascending: "
        + ", ".join(f"{each:.2f}" for each in metrics.decile_ratios(truth, scores.values[CANDIDATE]))
        + "; calibrated_deciles counts those within 20 %.",
    ]
    claims = [
        Claim(CANDIDATE, "top_decile_capture", "bgnbd_gamma_gamma"),
        Claim(CANDIDATE, "spearman", "bgnbd_gamma_gamma", strict=True),
    ]
    return ModelReport("clv", fold.cutoff, rows, "spearman", True, notes, claims)


def _score_rows(
    functions: Mapping[str, metrics.Metric],
    ranking: Sequence[str],
    primary: str,
    truth: FloatArray,
    scores: _Scores,
    seed: int,
    draws: int,
) -> list[ScoreRow]:
    rows = []
    for name, score in scores.values.items():
        chosen = {
            metric: function
            for metric, function in functions.items()
            if metric in ranking or name not in scores.ranks_only
        }
        values = {
            metric: bootstrap_statistic(function, truth, score, seed=seed, draws=draws)
            for metric, function in chosen.items()
        }
        differences: dict[str, Estimate] = {}
        if name != CANDIDATE:
            paired = partial(paired_statistic_difference, functions[primary], truth)
            differences[primary] = paired(scores.values[CANDIDATE], score, seed=seed, draws=draws)
        rows.append(ScoreRow(name, scores.roles[name], values, differences))
    return rows


def _with_earlier_folds(reports: list[ModelReport]) -> tuple[ModelReport, ...]:
    """The reports, the last one with a note on each fold before it."""
    *earlier, last = reports
    notes = []
    for report in earlier:
        figures = [
            f"{row.name} {', '.join(f'{name} {value.value:.3f}' for name, value in row.metrics.items())}"
            for row in report.rows
        ]
        notes.append(f"Fold of {report.cutoff:%Y-%m-%d}: {'; '.join(figures)}.")
    return (*earlier, replace(last, notes=[*last.notes, *notes]))


def _draws(fold: Fold, folds: Sequence[Fold], draws: int) -> int:
    """Of earlier folds the gate takes the values: their intervals are rough."""
    return draws if fold is folds[-1] else min(draws, EARLIER_DRAWS)


def _rows(frame: pd.DataFrame, cutoffs: Sequence[datetime]) -> pd.DataFrame:
    return frame[frame[CUTOFF].isin(list(cutoffs))].reset_index(drop=True)


def _complete(train: pd.DataFrame) -> pd.DataFrame:
    """The rows whose whole label window is known."""
    return train[train[SPEND_NEXT].notna()]


def _predictions(test: pd.DataFrame, truth: FloatArray, scores: _Scores) -> pd.DataFrame:
    frame = test[["user_id", CUTOFF]].assign(truth=truth)
    return frame.assign(**scores.values)


def _protocol(fold: Fold, customers: int) -> str:
    return (
        f"{customers} customers with an order before {fold.cutoff:%Y-%m-%d}, labels over the next "
        f"{fold.horizon_days} days; trained on {len(fold.training)} cut-offs from "
        f"{fold.training[0]:%Y-%m-%d} to {fold.training[-1]:%Y-%m-%d}, whose labels end by then, and on "
        f"{len(fold.partial)} later ones with the purchases known by then."
    )
