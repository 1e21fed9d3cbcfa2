"""The stage `models`: train and gate each kind, then predict for every customer with the champions."""

import base64
import io
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from orchestration.assets import (
    BUILT_RELEASE,
    CHURN,
    CLV,
    COLLABORATIVE,
    DEFINITIONS,
    GATE,
    MARTS,
    NEXT_PURCHASE,
    ONLINE,
    OWNERS,
    PREDICTIONS,
    TRAINING_FRAME,
    WRITER_POOL,
    Result,
)
from orchestration.quality.checks import blocking_failures, check_results, check_specs, skipped_results
from orchestration.quality.evaluation import run_suite
from orchestration.quality.suites import predictions as prediction_rules
from orchestration.quality.suites import training_frame as training_frame_rules
from orchestration.resources import Features, Models, Workspace, erased_now
from training.errors import NotEnoughData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from orchestration.predicting import Prediction
    from orchestration.training_runs import Trained

PLOT_DPI = 60


class TrainingConfig(dg.Config):
    """`again`: train even if the champion is not due, or these very data have been trained on before."""

    again: bool = True


def model_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """The training frame, a model of each kind, and the predictions."""
    common: dict[str, Any] = {
        "group_name": "models",
        "owners": OWNERS,
        "pool": WRITER_POOL,
        "retry_policy": retries,
    }

    @dg.asset(
        key=TRAINING_FRAME,
        description="Point-in-time features and labels of the value models, a row per customer and cut-off.",
        deps=[MARTS, DEFINITIONS],
        check_specs=check_specs(TRAINING_FRAME, training_frame_rules()),
        kinds={"feast", "parquet"},
        **common,
    )
    def training_frame(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        workspace: dg.ResourceParam[Workspace],
        features: dg.ResourceParam[Features],
        models: dg.ResourceParam[Models],
    ) -> Result:
        from orchestration.data import Data
        from orchestration.training_runs import build_training_frame, frame_is_due, read_training_frame

        started = monotonic()
        with workspace.writing() as home:
            data, settings = Data.published(home), workspace.settings
            is_due = config.again or frame_is_due(data, settings, models)
            try:
                frame = (
                    build_training_frame(data, settings, features) if is_due else read_training_frame(data)
                )
            except NotEnoughData as error:
                context.log.warning("no value model in this run: %s", error)
                skipped = skipped_results(TRAINING_FRAME, training_frame_rules(), str(error))
                return Result(metadata={"rows": 0, "skipped": str(error)}, check_results=skipped)
        outcomes = run_suite(frame, training_frame_rules())
        metadata: dict[str, Any] = {
            "rows": len(frame),
            "kept": not is_due,
            "columns": frame.shape[1],
            "cutoffs": sorted(str(each.date()) for each in frame["cutoff"].unique()),
            "seconds": round(monotonic() - started, 1),
        }
        return Result(metadata=metadata, check_results=check_results(TRAINING_FRAME, outcomes))

    def trainer(
        key: dg.AssetKey,
        description: str,
        deps: list[dg.AssetKey],
    ) -> dg.AssetsDefinition:
        @dg.asset(
            key=key,
            description=description,
            deps=deps,
            check_specs=[gate_spec(key)],
            kinds={"mlflow"},
            **common,
        )
        def model(
            context: dg.AssetExecutionContext,
            config: TrainingConfig,
            workspace: dg.ResourceParam[Workspace],
            models: dg.ResourceParam[Models],
        ) -> Result:
            from orchestration.data import Data
            from orchestration.training_runs import TRAINERS

            train = TRAINERS[key.path[-1]]
            started = monotonic()
            with workspace.writing() as home:
                try:
                    trained = train(Data.published(home), workspace.settings, models, config.again)
                except NotEnoughData as error:
                    if key == COLLABORATIVE:
                        raise
                    return untrained(key, error)
            context.log.info("%s: %s", key.path[-1], trained.verdict)
            metadata = trained_metadata(trained) | {"seconds": round(monotonic() - started, 1)}
            return Result(metadata=metadata, check_results=[gate_result(key, trained)])

        return cast("dg.AssetsDefinition", model)

    collaborative = trainer(
        COLLABORATIVE,
        "Candidates of many sources, ordered by a ranker; measured on a global time split.",
        [MARTS],
    )
    clv = trainer(
        CLV,
        "Spend in the next 90 days with an interval; measured on rolling cut-offs.",
        [TRAINING_FRAME],
    )
    churn = trainer(
        CHURN,
        "Probability of no purchase in the next 90 days; measured on rolling cut-offs.",
        [TRAINING_FRAME],
    )

    next_purchase = trainer(
        NEXT_PURCHASE,
        "Days to the next order with an interval; measured on the last cut-off.",
        [TRAINING_FRAME],
    )

    @dg.asset(
        key=PREDICTIONS,
        description="Values and ranked candidates of every customer, from the champions, put online.",
        deps=[BUILT_RELEASE, DEFINITIONS, ONLINE, MARTS],
        check_specs=check_specs(PREDICTIONS, prediction_rules()),
        kinds={"feast", "parquet"},
        **common,
    )
    def predictions(
        context: dg.AssetExecutionContext,
        workspace: dg.ResourceParam[Workspace],
        features: dg.ResourceParam[Features],
        models: dg.ResourceParam[Models],
    ) -> Result:
        from orchestration.data import Data
        from orchestration.predicting import predict, publish_predictions

        started = monotonic()
        with workspace.writing() as home:
            prediction = predict(Data.published(home), workspace.settings, features, models)
            outcomes = run_suite(prediction.checked, prediction_rules())
            failures = blocking_failures(outcomes)
            written: dict[str, int] = {}
            if failures:
                context.log.error("not published: %s", "; ".join(failures))
            else:
                written = publish_predictions(home, features, prediction, erased_now(workspace.settings))
        metadata = prediction_metadata(prediction) | {
            "rows_written": written,
            "seconds": round(monotonic() - started, 1),
        }
        return Result(metadata=metadata, check_results=check_results(PREDICTIONS, outcomes))

    return [training_frame, collaborative, clv, churn, next_purchase, predictions]


def gate_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The gate's decision; a candidate that is refused stops nothing, for the champion goes on serving."""
    description = "The candidate beats its baselines and is not worse than the champion."
    return dg.AssetCheckSpec(GATE, asset=asset, description=description, blocking=False)


def gate_result(asset: dg.AssetKey, trained: "Trained") -> dg.AssetCheckResult:
    """The decision with its reasons."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=GATE,
        passed=trained.decision.promoted,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "reasons": "\n".join(trained.decision.reasons),
            "version": trained.version.version,
            "refused_by": ", ".join(trained.decision.refused_by),
            "checks": dg.MetadataValue.md(trained.decision.table()),
        },
    )


def trained_metadata(trained: "Trained") -> dict[str, Any]:
    """The version, the whole table against the baselines, the candidate's figures, and the plots."""
    candidate = trained.report.candidate
    return {
        "gate": "promoted" if trained.decision.promoted else "refused",
        "verdict": trained.verdict,
        "model_version": trained.version.version,
        "mlflow_run": trained.version.run_id,
        "reused": trained.reused,
        "scores": dg.MetadataValue.md(trained.report.table()),
        "protocol": dg.MetadataValue.md("\n".join(f"- {note}" for note in trained.report.notes)),
        **{name: estimate.value for name, estimate in candidate.metrics.items()},
        **{f"plot_{name}": dg.MetadataValue.md(inline_plot(one)) for name, one in trained.figures.items()},
    }


def untrained(key: dg.AssetKey, error: NotEnoughData) -> Result:
    """A history that is too short for this kind: the release goes without it, or keeps its champion."""
    check = dg.AssetCheckResult(
        asset_key=key,
        check_name=GATE,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"reasons": str(error)},
    )
    metadata = {"gate": "not trained", "verdict": f"not trained: {error}"}
    return Result(metadata=metadata, check_results=[check])


def inline_plot(figure: "Figure") -> str:
    """The figure as Markdown that holds its own PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PLOT_DPI)
    return f"![plot](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"


def prediction_metadata(prediction: "Prediction") -> dict[str, Any]:
    """How many customers, by whom, and how they fall into segments."""
    outlook = prediction.outlook
    return {
        "customers_scored": len(prediction.values),
        "customers_with_candidates": prediction.candidates.num_rows,
        "customers_ranked_again": prediction.ranked.rescored,
        "release_id": prediction.release_id,
        "value_segments": prediction.values["value_segment"].value_counts().to_dict(),
        "segments": outlook.rows["segment"].to_pandas().value_counts().to_dict(),
        "segment_moves": outlook.moved.to_dict("records"),
        "audiences": outlook.tables["retention_list"]["audience"].to_pandas().value_counts().to_dict(),
    }
