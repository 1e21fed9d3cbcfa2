"""`attune run` through the real engine, on a small simulated world: released, repeated, interrupted, locked.

The world is simulated once and run once; what an interrupted run must arrive at is compared with that.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_repo.layout import Home
from orchestration.completion import is_complete
from orchestration.data import Data
from orchestration.interleaving import interleave
from orchestration.landed import landed_days, landing_summary
from orchestration.lock import hold
from orchestration.marts import current_manifest, dirty_days
from orchestration.promotion import read_history
from orchestration.resources import Models
from orchestration.settings import read_settings
from orchestration.shadowing import kept_lists, shadow
from orchestration.simulator import simulate
from tests.integration.small_shop import END, ROOT, USERS, Shop, attune, environment, run, run_arguments
from training.artifacts import Release, current_release_id, load_release, read_withdrawn
from training.gate import Check, Decision
from training.registry import Registry

pytestmark = pytest.mark.integration

LATE_DAY = date(2026, 1, 20)
# A stage's line is printed when it has ended; the run is killed with -9 soon after, within the next stage.
KILL_AFTER = ("publish tables", "write release")


@pytest.fixture(scope="module")
def home(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """What was run on the shop, ours alone: to look at, and to run on again."""
    return shop.copy(tmp_path_factory.mktemp("run") / "home")


@pytest.fixture(scope="module")
def young_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop of five months, run on once, uninterrupted."""
    base = tmp_path_factory.mktemp("young")
    shop = Shop(base / "world", Home(base / "home"))
    simulate(shop.world, USERS, 150, seed=5, end_date=END)
    run(shop, "simulator")
    return shop


def release_of(home: Home) -> Release:
    release_id = current_release_id(home.current_release)
    assert release_id is not None
    return load_release(home.release(release_id))


def mart(home: Home, name: str) -> pd.DataFrame:
    with duckdb.connect() as connection:
        return connection.execute(f"select * from read_parquet('{home.mart_glob(name)}') order by all").df()


def candidates(home: Home) -> pd.DataFrame:
    with duckdb.connect() as connection:
        return connection.execute(
            "select user_id, item_ids, algorithms, seen from read_parquet(?) order by user_id",
            [home.prediction_glob("user_candidates")],
        ).df()


def assert_same_result(found: Home, expected: Home) -> None:
    """The same marts, candidates and release content, whatever happened on the way."""
    assert landed_days(found) == landed_days(expected)
    assert dirty_days(found) == []
    assert is_complete(found)
    for name in ("orders", "sessions", "user_features", "item_features", "interactions", "item_pairs"):
        pd.testing.assert_frame_equal(mart(found, name), mart(expected, name), rtol=1e-9)
    pd.testing.assert_frame_equal(candidates(found), candidates(expected))
    mine, theirs = release_of(found), release_of(expected)
    assert mine.popularity == theirs.popularity
    assert mine.factors.item_ids == theirs.factors.item_ids
    assert abs(mine.factors.vectors - theirs.factors.vectors).max() < 1e-5
    assert mine.manifest.models.keys() == theirs.manifest.models.keys()


def test_a_run_lands_publishes_and_releases(home: Home) -> None:
    summary = landing_summary(home)
    assert summary.rows > 20_000
    assert summary.quarantined > 0
    assert summary.duplicates > 0
    manifest = current_manifest(home)
    assert manifest is not None
    assert manifest.data_until == END
    release = release_of(home)
    assert release.manifest.data_until == END
    assert "collaborative" in release.manifest.models
    assert len(release.items) == manifest.rows["items"]
    assert len(candidates(home)) > 0.5 * USERS


def test_an_outlook_is_published_of_what_the_release_can_say(home: Home) -> None:
    name = "2026-02-01.parquet"
    scored = pq.read_table(home.prediction("user_predictions") / name).to_pandas()
    outlook = pq.read_table(home.prediction("user_outlook") / name).to_pandas()
    assert outlook["user_id"].tolist() == scored["user_id"].tolist()
    models = release_of(home).manifest.models
    for column, kind in (
        ("clv_horizons", "clv"),
        ("clv_parts", "clv"),
        ("churn_drivers", "churn"),
        ("next_order_days", "next_purchase"),
    ):
        assert (outlook[column].notna() == (kind in models)).all(), column
    assert outlook["segment"].nunique() >= 2
    assert outlook["due_items"].notna().any()
    listed = pq.read_table(home.prediction("retention_list") / name).to_pandas()
    assert listed["expected_saving"].is_monotonic_decreasing
    assert set(listed["user_id"]) == set(outlook.loc[outlook["expected_saving"] > 0, "user_id"])


def test_a_run_compares_its_models_with_their_training(home: Home) -> None:
    found = pd.read_parquet(home.drift / f"{END}.parquet")
    aspects = {(model, aspect) for model, aspect in zip(found["model"], found["aspect"], strict=True)}
    assert ("collaborative", "feature") in aspects
    # A shop this small may have no value model that the gate lets pass.
    compared = {"collaborative", "clv", "churn"} & release_of(home).manifest.models.keys()
    assert {model for model, _ in aspects} == compared


def test_the_same_again_has_nothing_to_do(shop: Shop, home: Home) -> None:
    before = release_of(home).release_id
    result = attune(home, *run_arguments(shop.world))
    assert result.returncode == 0, result.stderr
    assert "Nothing new" in result.stdout
    assert "build and test tables" not in result.stdout
    assert release_of(home).release_id == before


def test_status_tells_of_it_as_json(home: Home) -> None:
    result = attune(home, "status", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["complete"]
    assert found["dirty_days"] == []
    assert found["landed"]["last_day"] == END.isoformat()
    assert found["features"]["user_behavior"].startswith("2026-02-01T00:00:00")
    assert found["champions"]["collaborative"]["metrics"]["all_recall_at_20"] > 0
    assert found["release"]["release_id"] == release_of(home).release_id


def test_a_customer_s_list_is_explained(home: Home) -> None:
    customer, *_ = candidates(home)["user_id"]
    listed = attune(home, "explain", customer, "--limit", "2")
    assert listed.returncode == 0, listed.stderr
    first, second = (line for line in listed.stdout.splitlines() if line[:2] in ("1.", "2."))
    best = candidates(home).set_index("user_id")["item_ids"][customer][:2]
    assert [first.split()[1], second.split()[1]] == best.tolist()
    assert listed.stdout.count("   proposed by ") == 2
    assert listed.stdout.count("   order: ") == 2

    unknown = attune(home, "explain", "nobody")
    assert (unknown.returncode, "customer 'nobody' did nothing" in unknown.stderr) == (2, True)


def test_a_search_keeps_what_it_found_for_the_next_training(shop: Shop, tmp_path: Path) -> None:
    home = shop.copy(tmp_path / "home")
    found = attune(home, "tune", "--trials", "2")
    assert found.returncode == 0, found.stderr
    assert "2 trials in" in found.stdout
    registry = Registry(f"sqlite:///{home.mlflow_db}", home.mlflow_artifacts)
    kept = registry.configuration("collaborative")
    assert kept is not None
    assert kept["search"] in found.stdout


def test_two_runs_at_once_are_one_run_and_a_clear_error(shop: Shop, home: Home) -> None:
    with hold(home.lock):
        result = attune(home, *run_arguments(shop.world))
    assert result.returncode == 3
    assert result.stderr == (
        f"error: another run (process {os.getpid()}) is working in {home.root}; "
        "wait for it to end, or use another ATTUNE_HOME.\n"
    )


def test_no_day_in_the_asked_range_is_an_input_error(shop: Shop, home: Home) -> None:
    result = attune(home, *run_arguments(shop.world, "--from", "2030-01-01"))
    assert result.returncode == 4
    assert "it has events from" in result.stderr
    assert is_complete(home)


def days_named(home: Home) -> set[date]:
    """The days that the SQL of a windowed model names, as it was last run."""
    sql = (home.dbt_target / "compiled/attune/models/intermediate/int_visits_daily.sql").read_text()
    return {date.fromisoformat(day) for day in re.findall(r"cast\('(\d{4}-\d\d-\d\d)' as date\)", sql)}


def test_a_late_day_is_rebuilt_alone_and_ends_where_a_full_run_does(shop: Shop, tmp_path: Path) -> None:
    home = shop.copy(tmp_path / "home")
    (home.events / f"event_date={LATE_DAY}" / "simulator.parquet").unlink()
    before = attune(home, *run_arguments(shop.world), "--to", (LATE_DAY - timedelta(days=1)).isoformat())
    assert before.returncode == 0, before.stderr
    assert LATE_DAY not in mart(home, "daily_kpis")["event_date"].dt.date.tolist()
    result = attune(home, *run_arguments(shop.world))
    assert result.returncode == 0, result.stderr
    assert "(1 changed)" in result.stdout
    assert days_named(home) == {LATE_DAY}
    assert_same_result(home, shop.home)


def test_a_refused_version_is_forced_by_name_and_taken_back_in_one_command(
    shop: Shop, tmp_path: Path
) -> None:
    home = shop.copy(tmp_path / "home")
    registry = Registry(f"sqlite:///{home.mlflow_db}", home.mlflow_artifacts)
    champion = registry.champion("collaborative")
    assert champion is not None
    first = release_of(home).release_id
    refused = registry.log_run(
        "collaborative",
        config={},
        seed=1,
        window=(END, END),
        data_hash="",
        feature_service="none",
        report=registry.report(champion),
        files=registry.download(champion, tmp_path / "files"),
    )
    registry.promote(refused, Decision(False, ["too slow"], [Check("latency", False, "too slow")]))

    signed = ("--by", "Ada", "--reason", "its lists are what we want")
    forced = attune(home, "promote", "collaborative", "--force", *signed)
    assert forced.returncode == 0, forced.stderr
    second = release_of(home)
    assert second.manifest.model_versions["collaborative"] == refused.version
    tags = registry.version("collaborative", refused.version).tags
    assert (tags["attune.decision"], tags["attune.forced_by"]) == ("rejected", "Ada")

    back = attune(home, "rollback", *signed)
    assert back.returncode == 0, back.stderr
    assert release_of(home).release_id == first
    assert registry.champion("collaborative") == champion
    assert read_withdrawn(home.withdrawn_releases) == {second.release_id}
    assert set(pq.read_table(home.prediction("user_candidates"))["release_id"].to_pylist()) == {first}
    assert is_complete(home)
    assert [(line["act"], line["by"]) for line in read_history(home)] == [
        ("forced", "Ada"),
        ("rolled back", "Ada"),
    ]
    again = attune(home, "rollback", *signed)
    assert (again.returncode, "none to go back to" in again.stderr) == (5, True)

    settings = read_settings(environment(home))
    beside = shadow(Data.published(home), Models(settings), settings.seed)
    assert beside is not None
    assert (beside.champion_version, beside.challenger_version) == (champion.version, refused.version)
    [(day, lists)] = kept_lists(home)
    assert day == END
    assert 0 < lists.num_rows <= USERS
    assert set(lists["challenger_version"].to_pylist()) == {refused.version}

    candidates = pq.read_table(home.prediction("user_candidates"))
    drafted = interleave(candidates, Data.published(home), Models(settings), 0.5, settings.seed)
    teams = {name.partition("@")[2] for names in drafted["algorithms"].to_pylist() for name in names}
    assert teams == {"", champion.version, refused.version}


def test_a_short_history_is_released_without_value_models(young_shop: Shop) -> None:
    assert list(release_of(young_shop.home).manifest.models) == ["collaborative"]


def test_one_partition_materialized_in_the_ui_rebuilds_its_day(shop: Shop, tmp_path: Path) -> None:
    home = shop.copy(tmp_path / "home")
    drop_last_row(home.events / f"event_date={LATE_DAY}" / "simulator.parquet")
    assert dirty_days(home) == [LATE_DAY]
    selection = ["--select", 'group:"transforms"', "--partition", LATE_DAY.isoformat()]
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "dagster",
            "asset",
            "materialize",
            "-m",
            "orchestration.definitions",
            *selection,
        ],
        env=environment(home) | {"DAGSTER_HOME": str(home.dagster)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert dirty_days(home) == []
    assert days_named(home) == {LATE_DAY}
    kpis = mart(home, "daily_kpis").merge(
        mart(shop.home, "daily_kpis"), on="event_date", suffixes=("", "_before")
    )
    changed = kpis[kpis["event_count"] != kpis["event_count_before"]]
    assert changed["event_date"].dt.date.tolist() == [LATE_DAY]


def drop_last_row(path: Path) -> None:
    """A corrected day: one event fewer, under another content hash."""
    table = pq.read_table(path)
    shorter = table.slice(0, table.num_rows - 1)
    metadata = dict(table.schema.metadata) | {b"attune.content_hash": b"corrected"}
    pq.write_table(shorter.replace_schema_metadata(metadata), path)


@contextmanager
def running(home: Home, world: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "orchestration.cli", *run_arguments(world, source="simulator")]
    with subprocess.Popen(
        command, env=environment(home), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def kill(process: subprocess.Popen[str]) -> None:
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_killed_again_and_again_ends_where_an_uninterrupted_one_does(
    young_shop: Shop, tmp_path: Path
) -> None:
    shop = Shop(young_shop.world, Home(tmp_path / "home"))
    with running(shop.home, shop.world) as process:
        deadline = time.monotonic() + 120
        while not shop.home.warehouse.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        kill(process)  # while dbt writes
    assert current_manifest(shop.home) is None
    for stage in KILL_AFTER:
        with running(shop.home, shop.world) as process:
            assert process.stdout is not None
            if not any(f"done   {stage} " in line for line in process.stdout):
                pytest.fail(f"the run ended before {stage!r}")
            kill(process)
        assert not is_complete(shop.home)
    run(shop, "simulator")
    assert_same_result(shop.home, young_shop.home)
