"""The stage `monitoring`: judge the shop's daily figures by their own past, and models by their training."""

from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.assets import ANOMALIES, DRIFT, MARTS, OWNERS, PREDICTIONS, SHADOW, WRITER_POOL, Result
from orchestration.assets.models import inline_plot
from orchestration.resources import Features, Models, Workspace, erased_now

if TYPE_CHECKING:
    from orchestration.drift_reports import DriftReport
    from orchestration.interleaving import Contest
    from orchestration.monitoring.series import Family
    from orchestration.monitoring.watching import Look
    from orchestration.shadowing import Shadow

MEANINGS: dict[str, str] = {
    "volume": "As much came in as usual for the weekday.",
    "quality": "No more rows than usual broke the contract or came twice.",
    "features": "As many customers' features changed as usual.",
    "models": "Predictions are as high as usual.",
    "business": "Orders, revenue, returns and conversion are as usual for the weekday.",
}

DRIFT_CHECKS = {
    "feature": ("features_stable", "At most a quarter of a model's features moved (PSI > 0.25 or KS > 0.2)."),
    "prediction": ("predictions_stable", "Predictions are as at training (PSI <= 0.25, KS <= 0.2)."),
    "outcome": ("outcomes_stable", "Churn, spend and clicks came as expected, within a factor of 1.5."),
}
"""Aspect -> name and meaning of its check."""

CHAMPION_HOLDS, CHAMPION_PREFERRED = "champion_holds", "champion_preferred"
SHADOW_CHECKS = {
    CHAMPION_HOLDS: "A refused challenger's lists find no more of what customers buy than the champion's.",
    CHAMPION_PREFERRED: "Where both drafted a list, visitors do not prefer what the challenger put there.",
}


def monitoring_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """`monitoring/anomalies`, a check for each family of figures, `drift` and `shadow`; none blocks."""
    common: dict[str, Any] = {
        "group_name": "monitoring",
        "owners": OWNERS,
        "pool": WRITER_POOL,
        "retry_policy": retries,
    }

    @dg.asset(
        key=ANOMALIES,
        description="The shop's daily figures against what their own past leads one to expect; alerts.",
        deps=[MARTS, PREDICTIONS],
        check_specs=[
            dg.AssetCheckSpec(family, asset=ANOMALIES, description=meaning, blocking=False)
            for family, meaning in MEANINGS.items()
        ],
        kinds={"python"},
        **common,
    )
    def anomalies(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> Result:
        from orchestration.monitoring.series import FAMILIES
        from orchestration.monitoring.watching import look

        started = monotonic()
        with workspace.writing():
            found = look(workspace.settings, datetime.now(UTC).date())
        for problem in found.undelivered:
            context.log.warning(problem)
        metadata: dict[str, Any] = {
            "figures_judged": sum(bool(one.days) for one in found.watched),
            "alerts_open": sum(alert.is_open for alert in found.ledger),
            "figures": dg.MetadataValue.md(figures_table(found)),
            "seconds": round(monotonic() - started, 1),
        }
        return Result(metadata=metadata, check_results=[family_result(found, family) for family in FAMILIES])

    @dg.asset(
        key=DRIFT,
        description="Each champion's features, predictions and outcomes against its training.",
        deps=[PREDICTIONS],
        check_specs=[
            dg.AssetCheckSpec(name, asset=DRIFT, description=meaning, blocking=False)
            for name, meaning in DRIFT_CHECKS.values()
        ],
        kinds={"parquet", "python"},
        **common,
    )
    def drift(
        context: dg.AssetExecutionContext,
        workspace: dg.ResourceParam[Workspace],
        features: dg.ResourceParam[Features],
        models: dg.ResourceParam[Models],
    ) -> Result:
        from orchestration.data import Data
        from orchestration.drift_reports import write_report
        from orchestration.drifting import measure_drift
        from orchestration.monitoring.watching import look_at_drift
        from training.drift import reasons

        started = monotonic()
        with workspace.writing() as home:
            report = measure_drift(Data.published(home), features, models)
            write_report(home, report)
            undelivered = look_at_drift(workspace.settings, report)
        for problem in undelivered:
            context.log.warning(problem)
        for each in reasons(report.found):
            context.log.warning("%s has drifted: %s", each.model, each.text)
        metadata: dict[str, Any] = {
            "compared": len(report.found),
            "seconds": round(monotonic() - started, 1),
        }
        return Result(metadata=metadata, check_results=drift_results(report))

    @dg.asset(
        key=SHADOW,
        description="A refused challenger's lists beside the champion's: what is bought, what is clicked.",
        deps=[PREDICTIONS],
        check_specs=[
            dg.AssetCheckSpec(name, asset=SHADOW, description=meaning, blocking=False)
            for name, meaning in SHADOW_CHECKS.items()
        ],
        kinds={"parquet", "python"},
        **common,
    )
    def shadow(
        context: dg.AssetExecutionContext,
        workspace: dg.ResourceParam[Workspace],
        models: dg.ResourceParam[Models],
    ) -> Result:
        from orchestration.data import Data
        from orchestration.interleaving import judge
        from orchestration.shadowing import shadow as judge_shadow

        started = monotonic()
        settings = workspace.settings
        with workspace.writing() as home:
            data = Data.published(home)
            found = judge_shadow(data, models, settings.seed, erased_now(settings))
            contest = judge(data, models) if settings.interleaved_share else None
        return Result(
            metadata={"seconds": round(monotonic() - started, 1)},
            check_results=[shadow_result(found), contest_result(contest)],
        )

    return [anomalies, drift, shadow]


def shadow_result(found: "Shadow | None") -> dg.AssetCheckResult:
    """Passed unless the challenger is surely better on customers as they come."""
    told = "no refused challenger" if found is None else str(found)
    return champion_result(CHAMPION_HOLDS, found is None or not found.is_better, told)


def contest_result(found: "Contest | None") -> dg.AssetCheckResult:
    """Passed unless visitors surely prefer what the challenger drafted."""
    told = "no lists of two versions" if found is None else str(found)
    return champion_result(CHAMPION_PREFERRED, found is None or not found.challenger_is_preferred, told)


def champion_result(name: str, passed: bool, told: str) -> dg.AssetCheckResult:
    """What one of the comparisons with a refused challenger says."""
    return dg.AssetCheckResult(
        asset_key=SHADOW,
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=SHADOW_CHECKS[name],
        metadata={"compared": told},
    )


def family_result(found: "Look", family: "Family") -> dg.AssetCheckResult:
    """Passed while nothing of the family is unusual; the texts of the alerts otherwise."""
    alerts = found.open_alerts(family)
    metadata: dict[str, Any] = {"figures_judged": len(found.judged(family))}
    if alerts:
        metadata["alerts"] = "\n".join(alert.text for alert in alerts)
    return dg.AssetCheckResult(
        asset_key=ANOMALIES,
        check_name=family,
        passed=not alerts,
        severity=dg.AssetCheckSeverity.WARN,
        description=MEANINGS[family],
        metadata=metadata,
    )


def figures_table(found: "Look") -> str:
    """The last judged day of every figure, as Markdown."""
    lines = ["| figure | day | value | expected | usual |", "| --- | --- | --- | --- | --- |"]
    for one in found.watched:
        if one.days:
            last = one.days[-1]
            lines.append(
                f"| {one.figure.name} | {last.day} | {last.value:,.4g} | {last.expected:,.4g} "
                f"| {last.low:,.4g} to {last.high:,.4g} |"
            )
    return "\n".join(lines)


def drift_results(report: "DriftReport") -> list[dg.AssetCheckResult]:
    """A check for each aspect, with a plot and the reasons to train again; drift stops nothing."""
    from training import plots
    from training.drift import DriftConfig, reasons

    told = reasons(report.found)
    results = []
    for aspect, (name, description) in DRIFT_CHECKS.items():
        found = [each for each in report.found if each.aspect == aspect]
        moved = [each for each in told if each.aspect == aspect]
        metadata: dict[str, Any] = {
            "compared": len(found),
            "drifted": "; ".join(f"{each.model}: {each.text}" for each in moved) or "none",
        }
        if found:
            if aspect == "outcome":
                pairs = {each.name: (each.reference_mean, each.current_mean) for each in found}
                figure = plots.expected_and_realized(pairs)
            else:
                indices = {f"{each.model} {each.name}": each.psi for each in found}
                figure = plots.drift(indices, DriftConfig().psi, f"Drift of {aspect}s since training")
            metadata["plot"] = dg.MetadataValue.md(inline_plot(figure))
        results.append(
            dg.AssetCheckResult(
                asset_key=DRIFT,
                check_name=name,
                passed=not moved,
                severity=dg.AssetCheckSeverity.WARN,
                description=description,
                metadata=metadata,
            )
        )
    return results
