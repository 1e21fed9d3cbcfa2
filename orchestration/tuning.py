"""One search for a better recommender, bounded by trials and time; every trial is a run in MLflow.

It sees only days before the ones that the next training is tested on, so the gate stays honest. The best
configuration is kept with the registered model and used by the next training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from orchestration.data import Data
from orchestration.resources import Models
from orchestration.settings import Settings
from orchestration.training_runs import recommendation_horizon, recommender_configs, stored_recommender
from training.interactions import read_interactions
from training.search import OBJECTIVE, Budget, Trial, search

KIND = "collaborative"
PRESENT = 1
"""Number of the trial that is the present configuration."""


@dataclass(frozen=True)
class Tuned:
    """All trials, best first, and the MLflow run that holds them."""

    trials: list[Trial]
    run_id: str
    seconds: float

    def summary(self) -> str:
        """What was found, for people."""
        best = self.trials[0]
        present = next((one for one in self.trials if one.number == PRESENT), None)
        lines = [
            f"{len(self.trials)} trials in {self.seconds:.0f} s; best: trial {best.number} with Recall@20 +"
            f" NDCG@20 {best.metrics[OBJECTIVE]:.4f} on the validation fold",
        ]
        if present is not None:
            lines[0] += f" (before: {present.metrics[OBJECTIVE]:.4f})"
        lines += [f"  {name} = {value}" for name, value in best.parameters.items()]
        return "\n".join([*lines, f"MLflow run {self.run_id}. Next: attune run"])


def tune(settings: Settings, models: Models, budget: Budget, say: Callable[[str], None]) -> Tuned:
    """Searches, logs, and keeps the best configuration; `say` gets a line for each trial."""
    started = monotonic()
    data, registry = Data.published(settings.home), models.open()
    als, hybrid = recommender_configs(registry)
    horizon = recommendation_horizon(data)
    interactions = read_interactions(
        data.home.mart_glob("interactions_daily"), data.until + timedelta(days=1 - horizon)
    )
    champion = registry.champion(KIND)
    plan = None if champion is None else stored_recommender(registry, champion).recipe.plan
    params = {
        "trials": budget.trials,
        "seconds": budget.seconds,
        "seed": settings.seed,
        "data_hash": data.fingerprint,
        "cutoff": interactions.cutoff,
        "horizon_days": horizon,
        "champion": None if champion is None else champion.version,
    }
    with registry.search(KIND, params) as run_id:

        def log(trial: Trial) -> None:
            metrics = {**trial.metrics, "seconds": trial.seconds}
            registry.log_trial(KIND, run_id, f"trial {trial.number}", trial.parameters, metrics)
            say(f"trial {trial.number}: {trial.metrics[OBJECTIVE]:.4f} in {trial.seconds:.0f} s")

        trials = search(interactions, horizon, als, hybrid, settings.seed, budget, plan, log)
        best = trials[0]
        found = {"als": best.als.to_dict(), "hybrid": best.hybrid.to_dict(), "search": run_id}
        registry.keep_configuration(KIND, found)
    return Tuned(trials, run_id, monotonic() - started)
