"""A bounded search over how candidates are made and ranked, on the validation fold alone.

The sources' own parameters are chosen step by step (`training.sources.portfolio`); what is left are the ones
that work together: the factors that histories are folded in with, how many candidates each source proposes
and how many are ranked, the weights of the blend and the trees. Optuna's sampler (tree-structured Parzen
estimators, Bergstra et al. 2011) draws them; the first trial is the documented 0.3 / 0.3 / 0.4, the second
the present configuration, so the best is never worse than either on the fold.

The trees are judged cross-fitted (`training.two_stage`), so no user is ranked by trees that saw them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from training.config import AlsConfig
from training.errors import NotEnoughData
from training.hybrid import HybridConfig, HybridFold, hybrid_folds
from training.interactions import Interactions
from training.top_items import Scorer
from training.two_stage import (
    GROUPS,
    Part,
    Plan,
    candidates_of_folds,
    fold_scorers,
    judge,
    portfolio_of,
    scopes_of,
)

FIRST_WEIGHTS = (0.3, 0.3, 0.4)
"""Of collaborative, content and habit: the documented start."""
STARTUP_TRIALS = 6
"""Trials before the sampler learns from them, the two given ones included; few, for budgets are small."""
OBJECTIVE = "quality"
ALS_FIELDS = ("factors", "regularization", "alpha", "half_life_days")
RANKER_FIELDS = ("rounds", "max_depth", "learning_rate", "min_child_weight", "colsample", "negatives")


@dataclass(frozen=True)
class Budget:
    """The search ends with the trial that reaches either."""

    trials: int = 20
    seconds: float = 1200.0


@dataclass(frozen=True)
class Trial:
    """One configuration with what it reached on the validation fold.

    `metrics` holds Recall@20 + NDCG@20 of each way to order each scope, and their sum over the scopes by the
    best way as `quality`.
    """

    number: int
    als: AlsConfig
    hybrid: HybridConfig
    metrics: dict[str, float]
    seconds: float

    @property
    def parameters(self) -> dict[str, Any]:
        """What was searched, by name."""
        searched = {f"als.{name}": getattr(self.als, name) for name in ALS_FIELDS}
        searched |= {f"ranker.{name}": getattr(self.hybrid.ranker, name) for name in RANKER_FIELDS}
        weights = dict(zip(GROUPS, self.hybrid.blend or (), strict=False)) or "tuned"
        return searched | {
            "per_source": self.hybrid.per_source,
            "kept": self.hybrid.kept,
            "blend": weights,
        }


def search(
    interactions: Interactions,
    horizon_days: int,
    als: AlsConfig,
    hybrid: HybridConfig,
    seed: int,
    budget: Budget,
    start: Plan | None = None,
    log: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """All trials, best first; each goes to `log` as it ends.

    `interactions` must end before the days that anything is tested on. The sources of `start`, the champion's
    plan, are kept where there is one. Raises `NotEnoughData` for a history without a validation fold.
    """
    begun = time.perf_counter()
    folds = hybrid_folds(interactions, horizon_days, hybrid)
    if not folds:
        days = int(interactions.age_days.max(initial=0.0))
        raise NotEnoughData("days of history to search on", days, horizon_days + 45, "land more days")
    candidates = _Candidates.of(folds, hybrid, seed, start)
    found: list[Trial] = []

    def run(drawn: optuna.Trial) -> float:
        started = time.perf_counter()
        own_als, own = draw(drawn, als, hybrid)
        metrics = candidates.measure(own_als, own)
        trial = Trial(drawn.number, own_als, own, metrics, time.perf_counter() - started)
        found.append(trial)
        log(trial)
        return metrics[OBJECTIVE]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(_as_drawn(als, replace(hybrid, blend=FIRST_WEIGHTS)))
    study.enqueue_trial(_as_drawn(als, hybrid))
    left = budget.seconds - (time.perf_counter() - begun)
    study.optimize(run, n_trials=budget.trials, timeout=max(1.0, left))
    return sorted(found, key=lambda trial: (-trial.metrics[OBJECTIVE], trial.number))


def draw(trial: optuna.Trial, als: AlsConfig, hybrid: HybridConfig) -> tuple[AlsConfig, HybridConfig]:
    """One configuration; what is not searched stays as it is."""
    own_als = replace(
        als,
        factors=trial.suggest_int("als.factors", 2, 192, log=True),
        regularization=trial.suggest_float("als.regularization", 1.0, 300.0, log=True),
        alpha=trial.suggest_float("als.alpha", 0.3, 30.0, log=True),
        half_life_days=trial.suggest_float("als.half_life_days", 14.0, 365.0, log=True),
    )
    ranker = replace(
        hybrid.ranker,
        rounds=trial.suggest_int("ranker.rounds", 10, 300),
        max_depth=trial.suggest_int("ranker.max_depth", 3, 8),
        learning_rate=trial.suggest_float("ranker.learning_rate", 0.02, 0.3, log=True),
        min_child_weight=trial.suggest_float("ranker.min_child_weight", 0.1, 50.0, log=True),
        colsample=trial.suggest_float("ranker.colsample", 0.2, 0.9),
        negatives=trial.suggest_int("ranker.negatives", 20, 150),
    )
    blend = None
    if trial.suggest_categorical("blend", ["tuned", "weights"]) == "weights":
        blend = tuple(trial.suggest_float(f"blend.{name}", 0.0, 1.0) for name in GROUPS)
    own = replace(
        hybrid,
        ranker=ranker,
        blend=blend,
        per_source=trial.suggest_int("per_source", 5, 100),
        kept=trial.suggest_int("kept", 10, 250),
    )
    return own_als, own


def _as_drawn(als: AlsConfig, hybrid: HybridConfig) -> dict[str, Any]:
    """The parameters under which `draw` gives this configuration."""
    values: dict[str, Any] = {f"als.{name}": getattr(als, name) for name in ALS_FIELDS}
    values |= {f"ranker.{name}": getattr(hybrid.ranker, name) for name in RANKER_FIELDS}
    values |= {"per_source": hybrid.per_source, "kept": hybrid.kept}
    if hybrid.blend is None:
        return values | {"blend": "tuned"}
    weights = {f"blend.{name}": weight for name, weight in zip(GROUPS, hybrid.blend, strict=True)}
    return values | weights | {"blend": "weights"}


@dataclass(frozen=True)
class _Candidates:
    """The folds with the sources that every trial shares, fitted once."""

    folds: Sequence[HybridFold]
    scorers: Sequence[tuple[Scorer, ...]]
    exclude: bool
    seed: int

    @classmethod
    def of(
        cls, folds: Sequence[HybridFold], hybrid: HybridConfig, seed: int, start: Plan | None
    ) -> "_Candidates":
        holdouts = [fold.holdout for fold in folds]
        exclude, portfolio = portfolio_of(holdouts[0], hybrid.two_stage(), seed, start)
        return cls(folds, list(fold_scorers(holdouts, portfolio, seed)), exclude, seed)

    def measure(self, als: AlsConfig, hybrid: HybridConfig) -> dict[str, float]:
        """See `Trial.metrics`."""
        parts = self._parts(als, hybrid)
        metrics: dict[str, float] = {}
        total = 0.0
        for scope in scopes_of(self.exclude):
            judged = judge(parts, scope, hybrid.two_stage(), [self.seed])
            metrics |= {f"{scope}/{_way(name)}": value for name, value in judged.figures.items()}
            total += judged.quality
        return {**metrics, OBJECTIVE: total}

    def _parts(self, als: AlsConfig, hybrid: HybridConfig) -> list[Part]:
        scorers = (
            (*shared, *fold.scorers(als, self.seed))
            for shared, fold in zip(self.scorers, self.folds, strict=True)
        )
        holdouts = [fold.holdout for fold in self.folds]
        return candidates_of_folds(holdouts, scorers, self.exclude, hybrid.two_stage(), self.seed)


def _way(name: str) -> str:
    """`single buy_again` is called `single`: which source is the best may differ between trials."""
    return name.split(" ", maxsplit=1)[0]
