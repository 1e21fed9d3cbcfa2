"""The live log as a source on both databases, with two processes that write to it at once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from feature_repo.erasure import add_tombstones, delete_subjects, read_erased, subjects_of
from feature_repo.layout import Home
from orchestration.assets.events import event_assets
from orchestration.automation import late_days, range_tags
from orchestration.landing import Keeping, land_days
from orchestration.partitions import between
from orchestration.resources import Workspace
from orchestration.settings import read_settings
from orchestration.simulator import simulate
from orchestration.sources.event_log import EventLogSource
from tests.operational_store import OperationalStore

pytestmark = pytest.mark.integration


def landed(home: Home) -> list[tuple[str, str | None]]:
    rows = [
        row
        for path in sorted(home.events.glob("*/event_log.parquet"))
        for row in pq.ParquetFile(path).read(columns=["event_id", "user_id"]).to_pylist()
    ]
    return [(row["event_id"], row["user_id"]) for row in rows]


def test_events_links_and_decisions_land_once(store_url: sa.URL, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = OperationalStore(home, store_url)
    store.track("a", "2025-03-01T10:00:00Z", anonymous_id="v1")
    store.track("b", "2025-03-02T10:00:00Z", user_id="u2")
    store.decide("d1", "v1", "2025-03-01T12:00:00Z", [{"item_id": "i1", "position": 1, "propensity": 1.0}])
    for _ in range(2):
        land_days(home, EventLogSource.open(home, store_url))
    assert landed(home) == [("a", None), ("d1:1", None), ("b", "u2")]
    store.link("v1", "u1", "2025-03-02T11:00:00Z")
    assert land_days(home, EventLogSource.open(home, store_url)).rows == 3
    assert landed(home) == [("a", "u1"), ("d1:1", "u1"), ("b", "u2")]


def test_a_guest_meets_experiments_as_a_guest_then_as_the_customer(store_url: sa.URL, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = OperationalStore(home, store_url)
    store.track("a", "2025-03-01T10:00:00Z", anonymous_id="v1")
    met = {"event_type": "experiment_exposure", "experiment_id": "x"}
    store.track("b", "2025-03-01T10:01:00Z", user_id="v1", **met)
    store.track("c", "2025-03-01T10:02:00Z", user_id="u2", **met)
    land_days(home, EventLogSource.open(home, store_url))
    assert landed(home) == [("a", None), ("b", None), ("c", "u2")]
    store.link("v1", "u1", "2025-03-02T11:00:00Z")
    land_days(home, EventLogSource.open(home, store_url))
    assert landed(home) == [("a", "u1"), ("b", "u1"), ("c", "u2")]


def test_a_transaction_that_commits_late_is_not_skipped(store_url: sa.URL, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = OperationalStore(home, store_url)
    if store_url.get_backend_name() == "sqlite":
        pytest.skip("SQLite has one writer at a time: nothing overtakes")
    with store.engine.connect() as slow, slow.begin():
        store.insert(slow, "slow", "2025-03-01T10:00:00Z", user_id="u1")
        store.track("quick", "2025-03-01T10:00:01Z", user_id="u1")
        land_days(home, EventLogSource.open(home, store_url))
    assert landed(home) == [("quick", "u1")]
    land_days(home, EventLogSource.open(home, store_url))
    assert landed(home) == [("slow", "u1"), ("quick", "u1")]


def test_the_erased_are_known_in_both_databases(store_url: sa.URL, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = OperationalStore(home, store_url)
    store.track("a", "2025-03-01T10:00:00Z", anonymous_id="v1")
    store.link("v1", "u1", "2025-03-01T11:00:00Z")
    with store.writing() as connection:
        ids = subjects_of(connection, "u1")
        add_tombstones(connection, ids, 1)
        add_tombstones(connection, ids, 2)
        assert delete_subjects(connection, ids) == {"events": 1, "identities": 1}
    store.track("b", "2025-03-01T12:00:00Z", user_id="u1")
    store.track("c", "2025-03-01T12:00:00Z", user_id="u2")
    keeping = Keeping(read_erased(store_url))
    report = land_days(home, EventLogSource.open(home, store_url), keeping=keeping)
    assert (report.rows, report.erased) == (1, 1)
    assert landed(home) == [("c", "u2")]


def test_a_scheduled_run_lands_the_files_and_the_log(tmp_path: Path) -> None:
    home, world = Home(tmp_path / "home"), tmp_path / "world"
    simulate(world, 20, 3, seed=1, end_date=date(2025, 3, 3))
    store = OperationalStore(home)
    store.track("live", "2025-03-02T10:00:00Z", user_id="u1")
    settings = read_settings(
        {
            "ATTUNE_HOME": str(home.root),
            "ATTUNE_SOURCE": "simulator,event_log",
            "ATTUNE_SOURCE_PATH": str(world),
        }
    )
    assert late_days(settings) == [date(2025, 3, 2)]
    days = between(date(2025, 3, 1), date(2025, 3, 3))
    result = dg.materialize(
        event_assets(days, None),
        resources={"workspace": Workspace(settings)},
        tags=range_tags([date(2025, 3, 1), date(2025, 3, 3)]),
        instance=dg.DagsterInstance.ephemeral(),
    )
    assert result.success
    names = {path.name for path in (home.events / "event_date=2025-03-02").iterdir()}
    assert names == {"simulator.parquet", "event_log.parquet"}
    assert landed(home) == [("live", "u1")]
