"""The stage `events`: land the raw events of a range of days, quarantine what breaks the contract."""

from datetime import date
from time import monotonic
from typing import Any

import dagster as dg

from orchestration.assets import LANDED, OWNERS, WRITER_POOL, Result
from orchestration.landing import LandedDay, LandingReport, land_days, quarantine_reasons
from orchestration.partitions import as_days
from orchestration.quality.checks import check_results, check_specs, run_suite
from orchestration.quality.profiles import profile_events
from orchestration.quality.suites import landed_events
from orchestration.resources import Workspace
from orchestration.sources.base import Source


def event_assets(
    partitions: dg.DailyPartitionsDefinition, retries: dg.RetryPolicy | None
) -> list[dg.AssetsDefinition]:
    """The asset `events/landed`, one partition a day; many days are one run."""

    @dg.asset(
        key=LANDED,
        group_name="events",
        description="Raw events that keep the contract, one Parquet file a day; the rest is quarantined.",
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(LANDED, landed_events()),
        owners=OWNERS,
        kinds={"parquet", "python"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def landed(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> Result:
        started = monotonic()
        with workspace.writing() as home:
            source = workspace.source()
            wanted = days_to_land(source, as_days(context.partition_keys))
            report = land_days(home, source, wanted, workspace.progress)
        for warning in report.warnings:
            context.log.warning(warning)
        outcomes = run_suite(profile_events(home, report.days), landed_events())
        for day in report.days:
            context.add_asset_metadata(day_metadata(day), LANDED, partition_key=day.day.isoformat())
        metadata = report_metadata(report) | {
            "quarantine_reasons": quarantine_reasons(home),
            "seconds": round(monotonic() - started, 1),
        }
        return dg.MaterializeResult(metadata=metadata, check_results=check_results(LANDED, outcomes))

    return [landed]


def days_to_land(source: Source, asked: list[date]) -> list[date]:
    """The asked days that the source has; all of them, to be reported as empty, if it has none."""
    present = set(source.days())
    return [day for day in asked if day in present] or asked


def day_metadata(day: LandedDay) -> dict[str, Any]:
    """What the day's own materialization says."""
    return {
        "dagster/partition_row_count": day.rows,
        "day_quarantined": day.quarantined,
        "day_duplicates": day.duplicates,
        "day_changed": day.changed,
    }


def report_metadata(report: LandingReport) -> dict[str, Any]:
    """What every materialization of the run says."""
    return {
        "days": len(report.days),
        "changed_days": len(report.changed_days),
        "empty_days": len(report.empty_days),
        "rows": report.rows,
        "quarantined": report.quarantined,
        "duplicates": report.duplicates,
        "undated": report.undated,
        "items": report.items,
        "customers": report.customers,
    }
