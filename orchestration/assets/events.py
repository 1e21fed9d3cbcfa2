"""The stage `events`: land the raw events of a range of days, quarantine what breaks the contract."""

from collections.abc import Iterable, Sequence
from datetime import date
from time import monotonic
from typing import Any

import dagster as dg

from orchestration.assets import LANDED, OWNERS, WRITER_POOL, Result
from orchestration.landed import quarantine_reasons
from orchestration.landing import LandedDay, LandingReport, land_days
from orchestration.partitions import as_days
from orchestration.quality.checks import check_results, check_specs, skipped_results
from orchestration.quality.evaluation import run_suite
from orchestration.quality.profiles import profile_events
from orchestration.quality.suites import landed_events
from orchestration.resources import Workspace
from orchestration.sources.base import EVENT_LOG, Source


def event_assets(
    partitions: dg.DailyPartitionsDefinition, retries: dg.RetryPolicy | None
) -> list[dg.AssetsDefinition]:
    """The asset `events/landed`, one partition a day; many days are one run."""

    @dg.asset(
        key=LANDED,
        group_name="events",
        description="Raw events that keep the contract, by day and source; the rest is quarantined.",
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
            sources, keeping = workspace.sources(), workspace.keeping()
            asked = as_days(context.partition_keys)
            report = joined(
                land_days(home, source, days_to_land(source, asked), workspace.progress, keeping)
                for source in sources
            )
        for warning in report.warnings:
            context.log.warning(warning)
        profile = profile_events(home, report.days)
        if profile.empty and all(source.name == EVENT_LOG for source in sources):
            checks = skipped_results(LANDED, landed_events(), "nobody has done anything in these days")
        else:
            checks = check_results(LANDED, run_suite(profile, landed_events()))
        for day, landed_of_day in by_day(report.days).items():
            context.add_asset_metadata(day_metadata(landed_of_day), LANDED, partition_key=day.isoformat())
        metadata = report_metadata(report) | {
            "quarantine_reasons": quarantine_reasons(home),
            "seconds": round(monotonic() - started, 1),
        }
        return dg.MaterializeResult(metadata=metadata, check_results=checks)

    return [landed]


def days_to_land(source: Source, asked: list[date]) -> list[date]:
    """The asked days that the source has; all of them, to be reported as empty, if it has none.

    That the live log has nothing new is no news.
    """
    present = set(source.days())
    found = [day for day in asked if day in present]
    return found if found or source.name == EVENT_LOG else asked


def joined(reports: Iterable[LandingReport]) -> LandingReport:
    """What several sources landed, as one report; items and customers are counted in files they share."""
    found = list(reports)
    return LandingReport(
        days=[day for report in found for day in report.days],
        items=max((report.items for report in found), default=0),
        customers=max((report.customers for report in found), default=0),
        content=max((report.content for report in found), default=0),
        undated=sum(report.undated for report in found),
        erased_otherwise=sum(report.erased_otherwise for report in found),
        warnings=[text for report in found for text in report.warnings],
    )


def by_day(landed: Iterable[LandedDay]) -> dict[date, list[LandedDay]]:
    """Each day with what its sources landed."""
    found: dict[date, list[LandedDay]] = {}
    for one in landed:
        found.setdefault(one.day, []).append(one)
    return found


def day_metadata(landed: Sequence[LandedDay]) -> dict[str, Any]:
    """What the day's own materialization says."""
    return {
        "dagster/partition_row_count": sum(one.rows for one in landed),
        "day_quarantined": sum(one.quarantined for one in landed),
        "day_duplicates": sum(one.duplicates for one in landed),
        "day_changed": any(one.changed for one in landed),
    }


def report_metadata(report: LandingReport) -> dict[str, Any]:
    """What every materialization of the run says."""
    return {
        "days": len(by_day(report.days)),
        "changed_days": len(set(report.changed_days)),
        "empty_days": len(report.empty_days),
        "rows": report.rows,
        "quarantined": report.quarantined,
        "duplicates": report.duplicates,
        "undated": report.undated,
        "erased": report.erased,
        "expired": report.expired,
        "items": report.items,
        "customers": report.customers,
    }
