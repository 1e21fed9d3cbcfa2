"""One training run of each kind: data, fit, measure, log, register, gate. The assets call these."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from feature_repo.layout import Home
from orchestration.completion import note_trained, trained_version
from orchestration.data import Data
from orchestration.drift_reports import recommender_reference, reuse_reason
from orchestration.gating import PAST_FRAME_FILE, read_past_frame, write_past_frame
from orchestration.resources import Features, Models
from orchestration.settings import Settings
from training import plots
from training.churn import churned, read_churn, score_churn, write_churn
from training.clv import read_clv, score_clv, write_clv
from training.config import AlsConfig, BlendConfig, GateConfig, PopularityConfig
from training.dataset import CUTOFF, SPEND_NEXT, customer_frame, frame_hash, last_orders
from training.drift import numbers, summary
from training.errors import NotEnoughData
from training.evaluation import ModelReport
from training.evidence import Evidence
from training.gate import Decision, decide
from training.hybrid import HybridConfig
from training.next_purchase import read_next_purchase, score_next_purchase, write_next_purchase
from training.next_purchase_evaluation import evaluate_next_purchase, next_purchase_evidence
from training.plan_files import plan_values
from training.recommender_evidence import recommender_evidence
from training.recommender_value import logged_values
from training.recommenders import (
    Recommender,
    fit_recommender,
    load_recommender,
    save_recommender,
    train_recommenders,
)
from training.registry import DatasetProfile, ModelVersion, Registry
from training.splits import Fold, folds
from training.value_config import ChurnConfig, ClvConfig, CutoffConfig, NextPurchaseConfig
from training.value_evaluation import (
    ChurnEvaluation,
    ClvEvaluation,
    cutoffs_of,
    evaluate_churn,
    evaluate_clv,
    evaluation_rows,
)
from training.value_evidence import value_evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEATURE_SERVICES = {
    "clv": "clv_v1",
    "churn": "churn_v1",
    "next_purchase": "clv_v1",
    "serving": "serving_v2",
}

FRAME_FILE = "training_frame.parquet"
LONGEST_HORIZON_DAYS = 90
SHORTEST_HORIZON_DAYS = 7
EXAMPLE_ROWS = 100
"""Rows from which a model's signature is inferred."""


@dataclass(frozen=True)
class Trained:
    """The outcome of one training run; `reused` if an interrupted run had trained this very version.

    `kept`: why the champion was not due for training, which then is `version`.
    """

    version: ModelVersion
    report: ModelReport
    decision: Decision
    figures: Mapping[str, Figure] = field(default_factory=dict)
    reused: bool = False
    kept: str | None = None

    @property
    def verdict(self) -> str:
        """One sentence: the candidate against its baselines on the primary metric, and the decision."""
        if self.kept is not None:
            return f"version {self.version.version} stays champion: {self.kept}"
        primary = self.report.primary
        baselines = [row for row in self.report.baselines if primary in row.metrics]
        sign = 1.0 if self.report.higher_is_better else -1.0
        best = max(baselines, key=lambda row: sign * row.metrics[primary].value)
        mine = self.report.candidate.metrics[primary].value
        word = "champion" if self.decision.promoted else "not promoted"
        text = f"version {self.version.version} {word}; {primary} {mine:.3f}"
        text += f" against {best.metrics[primary].value:.3f} ({best.name}, best baseline)"
        return text if self.decision.promoted else f"{text}: {self.decision.reasons[0]}"


VALUE_CONFIGS: Mapping[str, type[ClvConfig] | type[ChurnConfig] | type[NextPurchaseConfig]] = {
    "clv": ClvConfig,
    "churn": ChurnConfig,
    "next_purchase": NextPurchaseConfig,
}
"""What is trained on the frame."""


def cutoff_config(settings: Settings) -> CutoffConfig:
    """Where evaluation and training cut-offs lie."""
    return replace(CutoffConfig(), evaluation_cutoffs=settings.cutoffs)


def value_folds(data: Data, settings: Settings) -> list[Fold]:
    """The folds of both value models; raises NotEnoughData if the history is too short."""
    return folds(data.first, data.until, cutoff_config(settings))


def build_training_frame(data: Data, settings: Settings, features: Features) -> pd.DataFrame:
    """The point-in-time frame of all folds, also written for the models that follow.

    Raises NotEnoughData for a history that is too short; then no frame is left for them either.
    """
    path = data.home.features / FRAME_FILE
    path.unlink(missing_ok=True)
    (data.home.features / PAST_FRAME_FILE).unlink(missing_ok=True)
    cutoffs = cutoffs_of(value_folds(data, settings))
    horizon = cutoff_config(settings).horizon_days
    frame = customer_frame(features.open(), data.home.current_marts, cutoffs, horizon)
    temporary = path.with_name(f".{path.name}")
    frame.to_parquet(temporary, index=False)
    temporary.replace(path)
    write_past_frame(data.home, value_folds(data, settings)[-1].cutoff, settings.seed)
    return frame


def frame_is_due(data: Data, settings: Settings, models: Models) -> bool:
    """Whether a value model is to be trained on these data, or no frame is left of a training before."""
    if not (data.home.features / FRAME_FILE).exists():
        return True
    registry = models.open()
    for kind, config in VALUE_CONFIGS.items():
        recipe = data.recipe(settings, config(cutoffs=cutoff_config(settings)))
        is_trained = trained_version(data.home, kind, data.key(recipe)) is not None
        champion = registry.champion(kind)
        if not is_trained and _kept(data, registry, champion, recipe, settings.retrain_days) is None:
            return True
    return False


def read_training_frame(data: Data) -> pd.DataFrame:
    """The frame that was built last; raises NotEnoughData if there is none."""
    path = data.home.features / FRAME_FILE
    if not path.exists():
        raise NotEnoughData("training frames", 0, 1, "land more days, or materialize models/training_frame")
    return pd.read_parquet(path)


def train_clv(data: Data, settings: Settings, models: Models, again: bool) -> Trained:
    """Customer lifetime value: measured on rolling folds against BG/NBD and past spend."""
    config = ClvConfig(cutoffs=cutoff_config(settings))

    def evaluate(
        frame: pd.DataFrame, split: Sequence[Fold], champion: Path | None, files: Path
    ) -> tuple[ClvEvaluation, pd.DataFrame]:
        model = None if champion is None else read_clv(champion)
        found = evaluate_clv(frame, split, config, settings.seed, model)
        write_clv(found.model, files)
        return found, score_clv(found.model, frame.head(EXAMPLE_ROWS))[["clv", "clv_low", "clv_high"]]

    return _train_value_model("clv", config, evaluate, data, settings, models, again)


def train_churn(data: Data, settings: Settings, models: Models, again: bool) -> Trained:
    """Churn: measured on rolling folds against recency and BG/NBD."""
    config = ChurnConfig(cutoffs=cutoff_config(settings))

    def evaluate(
        frame: pd.DataFrame, split: Sequence[Fold], champion: Path | None, files: Path
    ) -> tuple[ChurnEvaluation, pd.DataFrame]:
        model = None if champion is None else read_churn(champion)
        found = evaluate_churn(frame, split, config, settings.seed, model)
        write_churn(found.model, files)
        return found, score_churn(found.model, frame.head(EXAMPLE_ROWS))[["churn_probability"]]

    return _train_value_model("churn", config, evaluate, data, settings, models, again)


def train_next_purchase(data: Data, settings: Settings, models: Models, again: bool) -> Trained:
    """The day of the next order: measured on the last fold against the customer's own mean gap."""
    config = NextPurchaseConfig(cutoffs=cutoff_config(settings))

    def fit(registry: Registry, place: Path) -> Trained:
        split = value_folds(data, settings)
        frame = read_training_frame(data)
        champion = _champion(registry, "next_purchase", place)
        model = None if champion is None else read_next_purchase(champion.files)
        found = evaluate_next_purchase(frame, split, config, settings.seed, model)
        write_next_purchase(found.model, place / "files")
        shown = next_purchase_evidence(
            found,
            evaluation_rows(frame, split[-1]),
            read_past_frame(data.home),
            last_orders(data.home.current_marts, [split[-1].cutoff]),
            place / "files",
            None if champion is None else champion.files,
        )
        outputs = score_next_purchase(found.model, frame.head(EXAMPLE_ROWS)).filter(like="next_order")
        figures = {"importance": plots.importance(found.model.trees.gain())}
        version = registry.log_run(
            "next_purchase",
            config=config.to_dict(),
            seed=settings.seed,
            window=(data.first, data.until),
            data_hash=frame_hash(frame),
            feature_service=FEATURE_SERVICES["next_purchase"],
            report=found.report,
            files=place / "files",
            figures=figures,
            inputs=frame[list(found.model.features)].head(EXAMPLE_ROWS),
            outputs=outputs,
            dataset=_frame_profile(frame, data),
            tags=found.boundaries,
        )
        return _gate(registry, version, found.report, figures, shown)

    recipe = data.recipe(settings, config)
    return _train("next_purchase", recipe, data, models, again, settings.retrain_days, fit)


def _train_value_model(
    kind: str,
    config: ClvConfig | ChurnConfig,
    evaluate: Callable[
        [pd.DataFrame, Sequence[Fold], Path | None, Path],
        tuple[ClvEvaluation | ChurnEvaluation, pd.DataFrame],
    ],
    data: Data,
    settings: Settings,
    models: Models,
    again: bool,
) -> Trained:
    """Measures, logs with figures and signature, and puts before the gate.

    `evaluate(frame, folds, champion, files)` reads the champion's directory, if there is one, writes the
    model to `files`, and also returns what it answers for the first rows.
    """

    def fit(registry: Registry, place: Path) -> Trained:
        split, frame, files = value_folds(data, settings), read_training_frame(data), place / "files"
        champion = _champion(registry, kind, place)
        found, outputs = evaluate(frame, split, None if champion is None else champion.files, files)
        figures = value_figures(found, kind)
        shown = value_evidence(
            kind,
            found,
            frame,
            split,
            read_past_frame(data.home),
            last_orders(data.home.current_marts, [split[-1].cutoff]),
            files,
            None if champion is None else champion.files,
            None if champion is None else champion.config,
            config,
            settings.seed,
        )
        version = registry.log_run(
            kind,
            config=config.to_dict(),
            seed=settings.seed,
            window=(data.first, data.until),
            data_hash=frame_hash(frame),
            feature_service=FEATURE_SERVICES[kind],
            report=found.report,
            files=files,
            figures=figures,
            inputs=frame[list(found.model.features)].head(EXAMPLE_ROWS),
            outputs=outputs,
            dataset=_frame_profile(frame, data),
            tags=found.boundaries,
            reference=value_reference(kind, frame[frame[CUTOFF] == split[-1].cutoff], found),
        )
        return _gate(registry, version, found.report, figures, shown)

    recipe = data.recipe(settings, config)
    return _train(kind, recipe, data, models, again, settings.retrain_days, fit)


def value_reference(kind: str, last: pd.DataFrame, found: ChurnEvaluation | ClvEvaluation) -> dict[str, Any]:
    """The customers of the last fold, `last`, what the model answered there and what came: for comparison.

    Not the earlier cut-offs that it was fitted on: a young shop's customers are longer with it every month.
    """
    predicted = found.predictions[found.report.candidate.name]
    return {
        "features": {name: summary(numbers(last[name])) for name in found.model.features},
        "prediction": summary(numbers(predicted)),
        "outcome": summary(churned(last) if kind == "churn" else numbers(last[SPEND_NEXT])),
    }


def train_collaborative(data: Data, settings: Settings, models: Models, again: bool) -> Trained:
    """Recommendations: tuned and measured on a global time split, then fitted on everything known."""
    als, hybrid = recommender_configs(models.open())
    blend, popularity = BlendConfig(), PopularityConfig()
    horizon = recommendation_horizon(data)

    def fit(registry: Registry, place: Path) -> Trained:
        champion = _champion(registry, "collaborative", place)
        glob = data.home.mart_glob("interactions_daily")
        cutoff = data.until + timedelta(days=1 - horizon)
        result = train_recommenders(
            glob,
            read_categories(data.home),
            cutoff=cutoff,
            horizon_days=horizon,
            als=als,
            blend_config=blend,
            popularity=popularity,
            seed=settings.seed,
            hybrid=hybrid,
            champion=None if champion is None else load_recommender(champion.files).recipe,
        )
        report = result.report
        logged = logged_values(data.home.events, glob, result.recipe, cutoff, data.until)
        if logged is not None:
            report = replace(report, notes=[*report.notes, *logged.notes])
        interactions, recommender = fit_recommender(glob, data.until + timedelta(days=1), result.recipe)
        save_recommender(recommender, place / "files")
        shown = recommender_evidence(
            result,
            recommender,
            interactions,
            glob,
            data.first,
            horizon,
            place / "files",
            None if champion is None else champion.files,
            GateConfig(),
        )
        if logged is not None:
            shown = replace(shown, off_policy=(logged.gain, logged.served))
        if shown.folds:
            figures_of_folds = "; ".join(str(fold) for fold in shown.folds)
            report = replace(
                report, notes=[*report.notes, f"{report.primary} on rolling folds: {figures_of_folds}."]
            )
        figures = {
            "recall_by_depth": plots.recall_by_depth(result.recall_by_depth),
            "recall_by_activity": plots.recall_by_activity(result.recall_by_activity),
            "blend": plots.blend_weights(result.validation),
        }
        version = registry.log_run(
            "collaborative",
            config={
                "als": als.to_dict(),
                "blend": blend.to_dict(),
                "popularity": popularity.to_dict(),
                "hybrid": hybrid.to_dict(),
                "plan": {} if result.recipe.plan is None else plan_values(result.recipe.plan),
            },
            seed=settings.seed,
            window=(data.first, data.until),
            data_hash=data.fingerprint,
            feature_service="none: interactions_daily",
            report=report,
            files=place / "files",
            figures=figures,
            dataset=DatasetProfile("interactions_daily", data.fingerprint, glob, len(interactions)),
            reference=recommender_reference(interactions, data.home.events, data.until),
        )
        return _gate(registry, version, report, figures, shown)

    return _train(
        "collaborative",
        data.recipe(settings, als, blend, popularity, hybrid),
        data,
        models,
        again,
        settings.retrain_days,
        fit,
    )


def recommender_configs(registry: Registry) -> tuple[AlsConfig, HybridConfig]:
    """What `attune tune` found best, or the defaults before it ran."""
    found = registry.configuration("collaborative")
    if found is None:
        return AlsConfig(), HybridConfig()
    return AlsConfig(**found["als"]), HybridConfig.from_dict(found["hybrid"])


TRAINERS: dict[str, Callable[[Data, Settings, Models, bool], Trained]] = {
    "collaborative": train_collaborative,
    "clv": train_clv,
    "churn": train_churn,
    "next_purchase": train_next_purchase,
}


def value_figures(found: ChurnEvaluation | ClvEvaluation, kind: str) -> dict[str, Figure]:
    """What a scientist wants to see of a value model, on the last fold."""
    rows = found.predictions
    truth = rows["truth"].to_numpy(dtype=np.float64)
    scores = {row.name: rows[row.name].to_numpy(dtype=np.float64) for row in found.report.rows}
    mine = scores[found.report.candidate.name]
    gain = found.model.purchase.score.trees.gain()
    shared = {"gains": plots.gains(truth, scores), "lift": plots.lift(truth, scores)}
    if kind == "churn":
        return shared | {
            "calibration": plots.calibration(truth, {found.report.candidate.name: mine}),
            "importance": plots.importance(gain),
        }
    return shared | {
        "residuals_by_decile": plots.residuals_by_decile(truth, mine),
        "importance": plots.importance(gain),
    }


def recommendation_horizon(data: Data) -> int:
    """Days of labels: 90, or a quarter of a shorter history, which needs two such windows besides."""
    quarter = ((data.until - data.first).days + 1) // 4
    return max(SHORTEST_HORIZON_DAYS, min(LONGEST_HORIZON_DAYS, quarter))


def read_categories(home: Home) -> dict[str, str | None]:
    """item_id -> top-level category."""
    table = pq.read_table(home.mart("items"), columns=["item_id", "category"])
    return dict(zip(table["item_id"].to_pylist(), table["category"].to_pylist(), strict=True))


def _train(
    kind: str,
    recipe: str,
    data: Data,
    models: Models,
    again: bool,
    retrain_days: int,
    fit: Callable[[Registry, Path], Trained],
) -> Trained:
    """A new version, unless an interrupted run has trained it on these data, or the champion is not due.

    With `again` always a new one.
    """
    registry = models.open()
    key = data.key(recipe)
    version = None if again else trained_version(data.home, kind, key)
    if version is not None:
        found = registry.version(kind, version)
        return Trained(found, registry.report(found), registry.decision(found), reused=True)
    champion = registry.champion(kind)
    kept = None if again else _kept(data, registry, champion, recipe, retrain_days)
    if champion is not None and kept is not None:
        decision = registry.decision(champion)
        return Trained(champion, registry.report(champion), decision, reused=True, kept=kept)
    with tempfile.TemporaryDirectory(prefix=f"attune-{kind}-") as place:
        trained = fit(registry, Path(place))
    note_trained(data.home, kind, key, recipe, trained.version.version)
    return trained


def _kept(
    data: Data, registry: Registry, champion: ModelVersion | None, recipe: str, retrain_days: int
) -> str | None:
    return reuse_reason(data.home, registry, champion, recipe, data.until, retrain_days)


def _gate(
    registry: Registry,
    version: ModelVersion,
    report: ModelReport,
    figures: Mapping[str, Figure],
    evidence: Evidence,
) -> Trained:
    # Data that failed its blocking checks never gets here: the run stops at the tables or the frame.
    decision = decide(report, validation_passed=True, config=GateConfig(), evidence=evidence)
    return Trained(registry.promote(version, decision), report, decision, figures)


@dataclass(frozen=True)
class Champion:
    """The present champion, to be measured beside the candidate: its files, and its configuration."""

    files: Path
    config: dict[str, Any] | None


def _champion(registry: Registry, kind: str, place: Path) -> Champion | None:
    """None before the first."""
    version = registry.champion(kind)
    if version is None:
        return None
    return Champion(registry.download(version, place / "champion"), registry.config(version))


def stored_recommender(registry: Registry, version: ModelVersion) -> Recommender:
    """The files of a version of the recommender, read back."""
    with tempfile.TemporaryDirectory(prefix="attune-recommender-") as place:
        return load_recommender(registry.download(version, Path(place)))


def _frame_profile(frame: pd.DataFrame, data: Data) -> DatasetProfile:
    columns = {str(name): str(kind) for name, kind in frame.dtypes.items()}
    return DatasetProfile(
        "training_frame", frame_hash(frame), f"marts {data.manifest.id}", len(frame), columns
    )
