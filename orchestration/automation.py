"""What starts runs without anybody: a daily landing, a sensor for days to rebuild, freshness checks.

The schedule lands the last week again, since events arrive late: a day that did not change is left alone.
Whatever did change is a dirty day, whoever landed it; the sensor asks for one run over all of them.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, date, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from orchestration.assets import ERASURES, LANDED, RETENTION, SENDING, WHEN_DUE
from orchestration.campaigns import are_declared
from orchestration.completion import is_complete, pending_window
from orchestration.errors import one_line
from orchestration.landed import landed_days
from orchestration.marts import dirty_days
from orchestration.monitoring.delivery import deliver, is_configured
from orchestration.settings import Settings
from orchestration.sources.base import EVENT_LOG

LATE_DAYS = 7
# A day's events are landed by noon of the next.
LANDED_DEADLINE = "0 12 * * *"
FIRST_PARTITION_TAG = "dagster/asset_partition_range_start"
LAST_PARTITION_TAG = "dagster/asset_partition_range_end"


def jobs() -> list[UnresolvedAssetJobDefinition]:
    """`land` for a range of days, `rebuild` for all that follows from them; `forget` and `send` aside."""
    landing = dg.AssetSelection.assets(LANDED)
    privacy = dg.AssetSelection.assets(ERASURES, RETENTION)
    sending = dg.AssetSelection.assets(SENDING)
    return [
        dg.define_asset_job("land", landing, description="Land raw events of a day or a range of days."),
        dg.define_asset_job(
            "rebuild",
            dg.AssetSelection.all() - landing - privacy - sending,
            description="Everything from tables to release, for days whose landed events changed.",
        ),
        dg.define_asset_job(
            "forget", privacy, description="Complete erasures, and remove what is older than it may be kept."
        ),
        dg.define_asset_job("send", sending, description="Send the messages of campaigns that are due."),
    ]


def daily_landing(settings: Settings) -> dg.ScheduleDefinition:
    """Every day: land the last week up to yesterday. It runs once a source is configured."""

    def request(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        last = context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)
        first = max(min([last - timedelta(days=LATE_DAYS), *late_days(settings)]), settings.first_day)
        return dg.RunRequest(run_key=last.isoformat(), tags=range_tags([first, last]))

    return dg.ScheduleDefinition(
        name="daily_landing",
        job_name="land",
        cron_schedule=settings.schedule,
        execution_timezone="UTC",
        execution_fn=request,
        default_status=dg.DefaultScheduleStatus.RUNNING
        if settings.sources
        else dg.DefaultScheduleStatus.STOPPED,
        description="Lands the last week again, so that late events reach their day.",
    )


def late_days(settings: Settings) -> list[date]:
    """Days for which the event log has something that is not landed, however late it came."""
    if EVENT_LOG not in settings.sources:
        return []
    from orchestration.sources.event_log import EventLogSource

    log = EventLogSource.open(settings.home, settings.operational_url)
    return [day for day in log.days() if day >= settings.first_day]


def daily_forgetting(settings: Settings) -> dg.ScheduleDefinition:
    """Every day: complete the erasures that the service asked for, and apply the retention."""
    return dg.ScheduleDefinition(
        name="daily_forgetting",
        job_name="forget",
        cron_schedule=settings.schedule,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Erases whom the service marked, and what is older than it may be kept.",
    )


def regular_sending(settings: Settings) -> dg.ScheduleDefinition:
    """Every ten minutes: send what is due; it runs once campaigns are declared."""
    is_wanted = are_declared(settings.home)
    return dg.ScheduleDefinition(
        name="regular_sending",
        job_name="send",
        cron_schedule="*/10 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING if is_wanted else dg.DefaultScheduleStatus.STOPPED,
        description="Sends messages of campaigns whose time has come, by mail or webhook.",
    )


def changed_days(settings: Settings) -> dg.SensorDefinition:
    """Asks for a rebuild when landed days differ from the published tables, or a run did not finish."""

    @dg.sensor(
        name="changed_days",
        job_name="rebuild",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.sources else dg.DefaultSensorStatus.STOPPED,
        description="New, late or corrected days: rebuilds them and what follows.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        home = settings.home
        days = dirty_days(home)
        landed = landed_days(home)
        if not landed:
            return dg.SensorResult(skip_reason="nothing is landed yet")
        if not days and pending_window(home) is None and is_complete(home):
            return dg.SensorResult(skip_reason="everything that is landed is released")
        state = {day.isoformat(): landed.get(day) for day in days}
        key = hashlib.sha256(json.dumps([state, context.cursor], sort_keys=True).encode()).hexdigest()[:16]
        days_of_run = {"config": {"days": [day.isoformat() for day in days]}}
        config = {"ops": {**WHEN_DUE, "transforms": days_of_run}}
        request = dg.RunRequest(run_key=key, run_config=config, tags=range_tags(days or [max(landed)]))
        return dg.SensorResult(run_requests=[request])

    return sensor


def failed_runs(settings: Settings) -> dg.SensorDefinition:
    """Tells whoever gets alerts that a run failed, with its error and what to do."""

    @dg.run_failure_sensor(
        name="failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING
        if is_configured(settings)
        else dg.DefaultSensorStatus.STOPPED,
        description="Tells ATTUNE_ALERT_WEBHOOK and ATTUNE_ALERT_EMAIL of failed runs.",
    )
    def sensor(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        deliver(settings, f"Attune: the run of {run.job_name} failed", failure_lines(run, context))

    return sensor


def failure_lines(run: dg.DagsterRun, context: dg.RunFailureSensorContext) -> list[str]:
    """What failed, why, for which days, and where to look."""
    first, last = (run.tags.get(tag) for tag in (FIRST_PARTITION_TAG, LAST_PARTITION_TAG))
    days = f"Days {first} to {last}. " if first else ""
    steps = [str(event.step_key) for event in context.get_step_failure_events()]
    return [
        one_line(context.failure_event.message or "no message"),
        f"{days}Failed steps: {', '.join(steps) or 'none; the run did not start'}.",
        f"Open run {run.run_id} in the Dagster UI. What it had published stays published; "
        "run it again once the cause is mended, it takes up what is left.",
    ]


def freshness_checks(landed: dg.AssetsDefinition) -> Sequence[dg.AssetChecksDefinition]:
    """Yesterday is landed by noon: by partition, which freshness policies are not. Warns, never blocks."""
    return dg.build_time_partition_freshness_checks(assets=[landed], deadline_cron=LANDED_DEADLINE)


def range_tags(days: Sequence[date]) -> dict[str, str]:
    """Run tags that make one run of all partitions from the first to the last of the days."""
    return {FIRST_PARTITION_TAG: min(days).isoformat(), LAST_PARTITION_TAG: max(days).isoformat()}
