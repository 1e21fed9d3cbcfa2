"""What the gate is shown of a churn or CLV model: its own files read back, beside the champion's."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training import evidence
from training.churn import churned, fit_churn, read_churn
from training.clv import fit_clv, read_clv, score_clv
from training.dataset import CUTOFF, SPEND_NEXT
from training.evidence import Evidence
from training.rolling import config_from, value_folds
from training.splits import Fold
from training.value_config import ChurnConfig, ClvConfig
from training.value_evaluation import (
    CHURN_METRICS,
    CLV_METRICS,
    ChurnEvaluation,
    ClvEvaluation,
    training_rows,
)

FloatArray = npt.NDArray[np.float64]


def value_evidence(
    kind: str,
    found: ChurnEvaluation | ClvEvaluation,
    frame: pd.DataFrame,
    folds: Sequence[Fold],
    past: pd.DataFrame | None,
    orders: pd.DataFrame,
    files: Path,
    champion: Path | None,
    champion_config: dict[str, Any] | None,
    config: ChurnConfig | ClvConfig,
    seed: int,
) -> Evidence:
    """Everything that is measured of a churn or CLV model on its last fold.

    `past`: features of some customers from tables that end at the cut-off; `orders`: `dataset.last_orders`
    at it. `files` and `champion` are the directories of the two models, `champion_config` what was logged.
    """
    rows = frame[frame[CUTOFF] == folds[-1].cutoff].reset_index(drop=True)
    labels = churned if kind == "churn" else _spend
    truth = labels(rows)
    mine = found.predictions[found.report.candidate.name].to_numpy(dtype=np.float64)
    score = _scorer(kind, files)
    others = {
        row.name: found.predictions[row.name].to_numpy(dtype=np.float64)
        for row in ([found.report.champion] if found.report.champion else found.report.baselines)
    }
    metric = found.report.primary
    function = (CHURN_METRICS if kind == "churn" else CLV_METRICS)[metric]
    theirs = None if champion is None else _scorer(kind, champion)
    if theirs is None:
        again = _refit(config, training_rows(frame, folds[-1]), rows, seed + 1)
        overlap = evidence.top_overlap(mine, again, "two seeds", True)
    else:
        overlap = evidence.top_overlap(mine, others["champion"], "candidate and champion", False)
    timed = evidence.timed_rows(rows)
    return Evidence(
        answers=evidence.answers_of(mine),
        readback=evidence.readback(score, rows, mine),
        stale=evidence.stale_share(rows, orders),
        replay=None if past is None else evidence.replay(score, rows, past),
        calibration=(
            evidence.probability_calibration(truth, mine)
            if kind == "churn"
            else evidence.money_calibration(truth, mine)
        ),
        newcomers=evidence.newcomers(rows, truth, mine, others, metric, function, seed),
        folds=value_folds(
            found.reports,
            frame,
            folds,
            _other_recipe(config, champion_config, seed),
            labels,
            function,
        ),
        overlap=overlap,
        size=evidence.size_cost(files, champion),
        seconds=evidence.scoring_cost(
            lambda: score(timed), None if theirs is None else lambda: theirs(timed), len(timed)
        ),
    )


def _scorer(kind: str, files: Path) -> evidence.Score:
    """The model as the release will read it."""
    if kind == "churn":
        return read_churn(files).probability
    clv = read_clv(files)
    return lambda rows: score_clv(clv, rows)["clv"].to_numpy(dtype=np.float64)


def _refit(config: ChurnConfig | ClvConfig, train: pd.DataFrame, test: pd.DataFrame, seed: int) -> FloatArray:
    if isinstance(config, ChurnConfig):
        return fit_churn(train, config, seed).probability(test)
    return score_clv(fit_clv(train, config, seed), test)["clv"].to_numpy(dtype=np.float64)


def _other_recipe(
    config: ChurnConfig | ClvConfig, logged: dict[str, Any] | None, seed: int
) -> Callable[[pd.DataFrame, pd.DataFrame], FloatArray] | None:
    """The champion's recipe, if it is another one that this code can still fit."""
    champion = None if logged is None else config_from(type(config), logged)
    if champion is None or champion == config:
        return None
    return lambda train, test: _refit(champion, train, test, seed)


def _spend(frame: pd.DataFrame) -> FloatArray:
    return frame[SPEND_NEXT].to_numpy(dtype=np.float64)
