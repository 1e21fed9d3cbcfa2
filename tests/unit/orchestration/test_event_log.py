"""Our event log says of a partitioned run what Dagster's own says."""

import warnings
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

PARTITIONS = dg.DailyPartitionsDefinition("2024-01-01")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a preview
    DAILY = dg.AssetCheckSpec("plausible_daily", asset="table", partitions_def=PARTITIONS)
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]


@dg.asset(
    partitions_def=PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("plausible", asset="table"), DAILY],
)
def table(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
    for number, day in enumerate(DAYS):
        context.add_asset_metadata({"rows_of_day": number}, partition_key=day)
    results = [dg.AssetCheckResult(passed=True, check_name=name) for name in ("plausible", "plausible_daily")]
    return dg.MaterializeResult(metadata={"rows": 6}, check_results=results)


def instance_at(home: Path, event_log: str) -> dg.DagsterInstance:
    home.mkdir()
    (home / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{event_log}")
    return dg.DagsterInstance.from_config(str(home))


def recorded(instance: dg.DagsterInstance) -> dict[str, object]:
    key = dg.AssetKey("table")
    tags = {
        "dagster/asset_partition_range_start": DAYS[0],
        "dagster/asset_partition_range_end": DAYS[-1],
    }
    result = dg.materialize([table], instance=instance, tags=tags)
    records = instance.fetch_materializations(key, limit=10).records
    latest = instance.get_latest_materialization_event(key)
    [check] = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(key, "plausible"), limit=1
    )
    assert latest is not None
    assert latest.asset_materialization is not None
    return {
        "success": result.success,
        "partitions": instance.get_materialized_partitions(key),
        "days": {
            record.partition_key: record.asset_materialization.metadata["rows_of_day"].value
            for record in records
            if record.asset_materialization
        },
        "latest": latest.asset_materialization.partition,
        "versions": {
            record.asset_materialization.tags["dagster/data_version"] is not None for record in records
        },
        "planned": instance.get_status_by_partition(key, DAYS, PARTITIONS),
        "check": check.status.value,
        "events": sorted(
            record.event_log_entry.dagster_event.event_type_value
            for record in instance.get_records_for_run(result.run_id).records
            if record.event_log_entry.dagster_event
            and record.event_log_entry.dagster_event.event_type_value.startswith("ASSET")
        ),
    }


def test_batches_record_the_same_as_single_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance_at(tmp_path / "stock", "") as stock:
        expected = recorded(stock)
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    ours = (
        "event_log_storage:\n  module: orchestration.event_log\n  class: BatchedSqliteEventLogStorage\n"
        f"  config: {{base_dir: {tmp_path / 'ours' / 'history'}}}\n"
    )
    with instance_at(tmp_path / "ours", ours) as batched:
        assert recorded(batched) == expected
        [done] = batched.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("table"), "plausible_daily"), limit=10
        )
    assert done.status is AssetCheckExecutionRecordStatus.SUCCEEDED, "no day's row stays planned for ever"
    assert expected["partitions"] == set(DAYS)
    assert expected["days"] == {day: number for number, day in enumerate(DAYS)}
