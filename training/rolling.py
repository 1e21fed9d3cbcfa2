"""Recipes on rolling folds: each is fitted anew at earlier cut-offs, and judged by what came next.

A recommender that is released was fitted on everything, so its arrays and trees have seen the labels of
every earlier fold. The candidate's and the champion's recipe are therefore fitted on each fold's training
part: the plan's sources with their parameters stay, vectors and trees are learned anew. Value models are
fitted on each fold anyhow; of them only the champion's recipe is missing, and only where it is another one.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar, cast, get_type_hints

import numpy as np
import numpy.typing as npt
import pandas as pd

from training import collaborative
from training.cores import run_side_by_side
from training.dataset import CUTOFF
from training.errors import InvalidConfig, NotEnoughData
from training.evaluation import ModelReport
from training.evidence import FoldFigure
from training.hybrid import HybridConfig, tune_hybrid
from training.intervals import bootstrap_mean
from training.popularity import BuyAgainScorer
from training.ranker import RankerConfig
from training.ranking_metrics import hits_of, recall_at
from training.recommenders import Fold, Recipe, make_fold
from training.splits import Fold as ValueFold
from training.top_items import Scorer, recommend
from training.value_evaluation import training_rows
from training.value_metrics import Metric

FloatArray = npt.NDArray[np.float64]
Config = TypeVar("Config")

STEP_DAYS = 30
FOLD_USERS = 800
LEAST_HISTORY_DAYS = 60
LEARNING = HybridConfig(
    earlier_folds=0,
    rankers=1,
    fold_users=800,
    ranker=RankerConfig(rounds=60, max_rows=60_000),
)
"""How a plan is learned anew on a fold: one ranker on one window, for both recipes alike."""


def recommender_folds(
    mart_glob: str,
    first: date,
    cutoff: date,
    horizon_days: int,
    count: int,
    recipe: Recipe,
    champion: Recipe | None,
    measured: FoldFigure,
) -> list[FoldFigure]:
    """Recall@20 over all items on up to `count` folds, ascending, 30 days apart; the last is `measured`.

    Folds with less than 60 days of history, or without labels, are left out. Nothing is fitted where there is
    no champion to compare with, nor for a recipe that is the champion's own.
    """
    if champion is None or _fixed_parts(champion) == _fixed_parts(recipe):
        return []

    def figure(at: date) -> FoldFigure | None:
        try:
            fold = make_fold(mart_glob, at, horizon_days, FOLD_USERS, recipe.seed)
        except NotEnoughData:
            return None
        return _fold_figure(fold, horizon_days, recipe, champion)

    cutoffs = [cutoff - timedelta(days=STEP_DAYS * back) for back in range(count - 1, 0, -1)]
    known = [at for at in cutoffs if (at - first).days >= LEAST_HISTORY_DAYS]
    found = run_side_by_side(figure, known)
    return [*(one for one in found if one is not None), measured]


def _fixed_parts(recipe: Recipe) -> tuple[object, ...]:
    """What a recipe decides before anything is learned; the blend orders only where there is no plan."""
    plan = recipe.plan
    order = recipe.choice if plan is None else (plan.sources, plan.exclude_taken, plan.per_source)
    return recipe.als, recipe.seed, order


def _fold_figure(fold: Fold, horizon_days: int, recipe: Recipe, champion: Recipe) -> FoldFigure:
    mine = _recalls(fold, _learned(fold, horizon_days, recipe))
    again = _recalls(fold, BuyAgainScorer(fold.train))
    theirs = float(np.nanmean(_recalls(fold, _learned(fold, horizon_days, champion))))
    at = datetime.combine(fold.cutoff, time.min, UTC)
    gain = bootstrap_mean(mine - again, seed=recipe.seed)
    return FoldFigure(at, float(np.nanmean(mine)), theirs, gain)


def _learned(fold: Fold, horizon_days: int, recipe: Recipe) -> Scorer:
    """The recipe as a release at the fold's cut-off would have held it."""
    plan = recipe.plan
    if plan is not None:
        plan = tune_hybrid(fold.train, horizon_days, recipe.als, LEARNING, recipe.seed, start=plan)
    factors = collaborative.fit(fold.train, recipe.als, recipe.seed).factors
    return replace(recipe, plan=plan).scorer(fold.train, factors)


def _recalls(fold: Fold, scorer: Scorer) -> FloatArray:
    """Recall@20 of each user of the fold."""
    top = recommend(scorer, fold.users, 20)
    counts = np.asarray(np.diff(fold.labels.indptr) + fold.unknown_labels, dtype=np.int64)
    return recall_at(hits_of(top.positions, fold.labels), counts, 20)


def value_folds(
    reports: Sequence[ModelReport],
    frame: pd.DataFrame,
    folds: Sequence[ValueFold],
    champion: Callable[[pd.DataFrame, pd.DataFrame], FloatArray] | None,
    truth: Callable[[pd.DataFrame], FloatArray],
    metric: Metric,
) -> list[FoldFigure]:
    """The candidate's figure of each fold's report, and the champion's recipe on the same rows.

    `champion(train, test)` fits it on the one and scores the other; None where the recipe is the same.
    """
    found = []
    for report, fold in zip(reports, folds, strict=True):
        theirs = None
        if champion is not None:
            train = training_rows(frame, fold)
            test = frame[frame[CUTOFF] == fold.cutoff].reset_index(drop=True)
            theirs = metric(truth(test), champion(train, test))
        found.append(FoldFigure(report.cutoff, report.candidate.metrics[report.primary].value, theirs))
    return found


def config_from(kind: type[Config], values: dict[str, Any]) -> Config | None:
    """A configuration from what was logged; None if this code no longer knows or needs such a one."""
    try:
        return cast(Config, _built(kind, values))
    except (KeyError, TypeError, InvalidConfig):
        return None


def _built(kind: Any, values: Any) -> Any:
    """Nested frozen dataclasses from nested dicts, every field present; lists become tuples."""
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return tuple(values) if isinstance(values, list) else values
    if set(values) != {field.name for field in fields(kind)}:
        raise KeyError(f"{kind.__name__} has other fields than {sorted(values)}")
    hints = get_type_hints(kind)
    return cast(Any, kind)(**{name: _built(hints[name], value) for name, value in values.items()})
