"""Dagster's instance of one home: `dagster.yaml`, and what a killed run left behind in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

# Pools: whoever writes the home's tables is alone (DuckDB takes one writing process and then no reader).
# Run monitoring and retries are opt-in; without the daemon (`attune run`) they do nothing.
_TEMPLATE = """\
# Written by attune; change the settings or ATTUNE_HOME, not this file.
telemetry:
  enabled: false
event_log_storage:
  module: orchestration.event_log
  class: BatchedSqliteEventLogStorage
  config:
    base_dir: "{history}"
concurrency:
  pools:
    default_limit: 1
    granularity: op
  runs:
    max_concurrent_runs: 1
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  cancel_timeout_seconds: 180
  poll_interval_seconds: 30
  free_slots_after_run_end_seconds: 60
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
retention:
  schedule:
    purge_after_days: 90
  sensor:
    purge_after_days:
      skipped: 7
      failure: 30
      success: 90
"""
# On every run that `attune run` executes in its own process.
ENGINE_TAG = "attune/engine"
INTERRUPTED = "the process of this run was killed; what it had begun is done again by the next run"


def write_instance_config(settings: Settings) -> None:
    """`dagster.yaml` in the Dagster home, unless the operator keeps one of their own there."""
    path = settings.dagster_home / "dagster.yaml"
    text = _TEMPLATE.format(history=(settings.dagster_home / "history" / "runs").as_posix())
    is_ours = not path.exists() or path.read_text(encoding="utf-8").startswith(_TEMPLATE.splitlines()[0])
    if is_ours and (not path.exists() or path.read_text(encoding="utf-8") != text):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(".dagster.yaml.new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of this home; the caller disposes of it."""
    import dagster as dg

    write_instance_config(settings)
    return dg.DagsterInstance.from_config(str(settings.dagster_home))


def end_interrupted_runs(instance: dg.DagsterInstance) -> int:
    """Marks in-process runs that were killed as failed and frees their pool slots; returns their number.

    Only for whoever holds the home's lock: then no other in-process run can be alive.
    """
    import dagster as dg

    unfinished = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED],
        tags={ENGINE_TAG: "true"},
    )
    runs = instance.get_runs(filters=unfinished)
    for run in runs:
        instance.report_run_failed(run, INTERRUPTED)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(runs)
