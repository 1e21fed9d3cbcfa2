"""Dagster's definitions load, and say what an engineer looks for: keys, groups, lineage, checks."""

from pathlib import Path

import dagster as dg
import pytest

from orchestration.definitions import build_definitions
from orchestration.settings import read_settings

STAGES = (
    "events", "privacy", "transforms", "analysis", "features", "models", "release", "campaigns",
    "monitoring",
)  # fmt: skip


@pytest.fixture(scope="module")
def settings_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def definitions(settings_home: Path) -> dg.Definitions:
    settings = read_settings(
        {"ATTUNE_HOME": str(settings_home), "ATTUNE_SOURCE": "simulator", "ATTUNE_SOURCE_PATH": "world"}
    )
    return build_definitions(settings, {"workspace": "stand-in"})


@pytest.fixture(scope="module")
def graph(definitions: dg.Definitions) -> "dg.AssetGraph":
    return definitions.resolve_asset_graph()


def test_definitions_are_valid(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_keys_are_stage_and_name_and_the_group_is_the_stage(graph: "dg.AssetGraph") -> None:
    for key in graph.materializable_asset_keys:
        stage, _name = key.path
        assert stage in STAGES
        assert graph.get(key).group_name == stage


def test_every_asset_has_a_description_and_an_owner(graph: "dg.AssetGraph") -> None:
    for key in graph.materializable_asset_keys:
        assert graph.get(key).description, key
        assert graph.get(key).owners, key


def test_lineage_runs_from_the_landed_events_to_the_release(graph: "dg.AssetGraph") -> None:
    upstream = dg.AssetSelection.assets("release/current").upstream().resolve(graph)
    aside = dg.AssetSelection.groups("privacy", "analysis", "campaigns", "monitoring").resolve(graph)
    assert upstream == graph.materializable_asset_keys - aside


def test_events_and_tables_are_daily_and_share_one_partitions_definition(graph: "dg.AssetGraph") -> None:
    landed = graph.get(dg.AssetKey(["events", "landed"])).partitions_def
    assert isinstance(landed, dg.DailyPartitionsDefinition)
    orders = graph.get(dg.AssetKey(["transforms", "orders"]))
    assert orders.partitions_def == landed
    assert orders.backfill_policy == dg.BackfillPolicy.single_run()


def test_checks_that_protect_downstream_block(graph: "dg.AssetGraph") -> None:
    checks = {key: graph.get(key) for key in graph.asset_check_keys}
    names = {(key.asset_key.to_user_string(), key.name): node.blocking for key, node in checks.items()}
    assert names["events/landed", "ids_unique_in_day"]
    assert not names["events/landed", "volume_is_usual"]
    assert names["models/training_frame", "nothing_after_the_cutoff"]
    assert names["models/predictions", "churn_is_probability"]
    assert not names["models/clv", "gate"]
    assert ("transforms/orders", "orders_key") in names


def test_writers_share_one_pool(definitions: dg.Definitions) -> None:
    job = definitions.resolve_implicit_global_asset_job_def()
    pools = {
        node.definition.pool for node in job.graph.nodes if not node.definition.name.startswith("freshness")
    }
    assert pools - {None} == {"home_writer"}


def test_the_schedule_lands_the_last_week_again(definitions: dg.Definitions) -> None:
    from datetime import UTC, datetime

    schedule = definitions.resolve_schedule_def("daily_landing")
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2024, 3, 10, 3, tzinfo=UTC))
    [request] = schedule.evaluate_tick(context).run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == "2024-03-02"
    assert request.tags["dagster/asset_partition_range_end"] == "2024-03-09"


def test_the_sensor_waits_while_nothing_is_landed(definitions: dg.Definitions) -> None:
    sensor = definitions.resolve_sensor_def("changed_days")
    with dg.instance_for_test() as instance:
        result = sensor.evaluate_tick(dg.build_sensor_context(instance=instance))
    assert result.run_requests == []
    assert result.skip_message == "nothing is landed yet"


def test_the_parsed_project_is_kept(settings_home: Path, definitions: dg.Definitions) -> None:
    assert len(list((settings_home / "dbt").glob("manifest-*.json"))) == 1
