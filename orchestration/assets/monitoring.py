"""The stage `monitoring`: judge the shop's daily figures by their own past, and tell people what differs."""

from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.assets import ANOMALIES, MARTS, OWNERS, PREDICTIONS, WRITER_POOL, Result
from orchestration.resources import Workspace

if TYPE_CHECKING:
    from orchestration.monitoring.series import Family
    from orchestration.monitoring.watching import Look

MEANINGS: dict[str, str] = {
    "volume": "As much came in as usual for the weekday.",
    "quality": "No more rows than usual broke the contract or came twice.",
    "features": "As many customers' features changed as usual.",
    "models": "Predictions are as high as usual.",
    "business": "Orders, revenue, returns and conversion are as usual for the weekday.",
}


def monitoring_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """The asset `monitoring/anomalies`, with a check for each family of figures; none of them blocks."""

    @dg.asset(
        key=ANOMALIES,
        group_name="monitoring",
        description="The shop's daily figures against what their own past leads one to expect; alerts.",
        deps=[MARTS, PREDICTIONS],
        check_specs=[
            dg.AssetCheckSpec(family, asset=ANOMALIES, description=meaning, blocking=False)
            for family, meaning in MEANINGS.items()
        ],
        owners=OWNERS,
        kinds={"python"},
        pool=WRITER_POOL,
        retry_policy=retries,
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

    return [anomalies]


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
