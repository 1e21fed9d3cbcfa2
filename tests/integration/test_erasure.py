"""An erased customer is nowhere: searched in every byte of every file, and in what compressed files hold.

The world is small, but everything is in it: a run with value models, an operational store with something in
every table that knows people, refused rows, logs. The shop's own files stay outside the home and keep the
customer: what is landed from them again must be refused.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from feature_repo.erasure import (
    STORES,
    TABLES_OF_NOBODY,
    add_tombstones,
    erased_in,
    store_of,
    subject_columns,
)
from feature_repo.event_log import tombstones
from feature_repo.layout import Home
from orchestration.completion import is_complete
from orchestration.landing import landed_days
from orchestration.marts import dirty_days
from orchestration.simulator import simulate
from serving.store import all_tables
from tests.leftovers import found_in
from tests.operational_store import OperationalStore, micros

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
CANARY = "canaryQx7Zk"
VISITOR = "visitorQx7Zk"
WHOLE = "Qx7Zk"
"""What the customer's id, the visitor's, the e-mail address and the street have in common."""
USERS, DAYS, END = 250, 240, date(2026, 1, 31)
AFTER = "2026-01-31T12:00:00Z"


@dataclass(frozen=True)
class Shop:
    """The shop's own files, with the customer in them, and a home that was run on them."""

    world: Path
    home: Home


def attune(home: Home, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *arguments],
        env={**os.environ, "ATTUNE_HOME": str(home.root), "ATTUNE_CUTOFFS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    base = tmp_path_factory.mktemp("erasure")
    home = Home(base / "home")
    simulate(base / "world", USERS, DAYS, seed=3, end_date=END)
    rename_a_customer(base / "world")
    shutil.copytree(base / "world", home.root / "world")
    fill(OperationalStore(home))
    attune(home, "run", "--source", "simulator,event_log", "--path", str(base / "world"))
    for name in ("run.log", "serve.log"):
        with (home.root / "logs" / name).open("a", encoding="utf-8") as log:
            log.write(f"something failed for user={CANARY} of [{VISITOR}]\n")
    output = home.dagster / "storage" / "a-run" / "compute_logs" / "step.err"
    output.parent.mkdir(parents=True)
    output.write_text(f'ValueError: "{CANARY}"\n', encoding="utf-8")
    plan = pa.table({"user_id": [CANARY, "somebody-else"], "subject": [f"For {CANARY}", "For you"]})
    home.campaign_run("spring", str(END)).parent.mkdir(parents=True)
    pq.write_table(plan, home.campaign_run("spring", str(END)))
    return Shop(base / "world", home)


def rename_a_customer(world: Path) -> None:
    """The busiest customer gets the canary's id in all files; one event of theirs is made unreadable."""
    drops = sorted((world / "drops").glob("*.parquet"))
    users = pa.concat_tables([pq.read_table(path, columns=["user_id"], partitioning=None) for path in drops])
    counts = users["user_id"].drop_null().value_counts()
    busiest = max(counts.to_pylist(), key=lambda entry: entry["counts"])["values"]
    for path in [*drops, world / "customers.parquet", world / "truth" / "users.parquet"]:
        table = pq.read_table(path, partitioning=None)
        column = table["user_id"].combine_chunks()
        is_theirs = pc.fill_null(pc.equal(column, busiest), False)
        renamed = pc.if_else(is_theirs, CANARY, column)
        table = table.set_column(table.schema.get_field_index("user_id"), "user_id", renamed)
        if path in drops[::9]:
            broken = pc.if_else(is_theirs, "nonsense", table["event_at"].combine_chunks())
            table = table.set_column(table.schema.get_field_index("event_at"), "event_at", broken)
        pq.write_table(table, path)


def fill(store: OperationalStore) -> None:
    """Something of the customer in every table of the operational store that knows people."""
    store.track("live-1", "2026-01-31T10:00:00Z", user_id=CANARY, context={"note": "live"})
    store.track("live-2", "2026-01-31T10:01:00Z", anonymous_id=VISITOR)
    store.track("live-3", AFTER, user_id="somebody-else", item_id="i00001")
    store.link(VISITOR, CANARY, "2026-01-31T10:02:00Z")
    store.decide("decision-1", VISITOR, "2026-01-31T10:03:00Z", [{"item_id": "i00001", "position": 1}])
    with store.writing() as connection:
        for table in all_tables().sorted_tables:
            columns = subject_columns(connection).get(table.name)
            if columns is None or table.name in ("events", "identities", "decisions"):
                continue
            connection.execute(sa.insert(table).values(row_about(table, set(columns))))


def row_about(table: sa.Table, subjects: set[str]) -> dict[str, object]:
    """Every text names the customer somehow, every number is 1."""
    row: dict[str, object] = {}
    for column in table.columns:
        if column.name in subjects:
            row[column.name] = CANARY
        elif column.autoincrement is True:
            continue
        elif isinstance(column.type, sa.Boolean):
            row[column.name] = True
        elif isinstance(column.type, sa.Integer | sa.BigInteger):
            row[column.name] = micros(AFTER)
        elif isinstance(column.type, sa.Float):
            row[column.name] = 1.0
        elif column.name in ("attributes", "inputs", "output", "body", "definition", "document"):
            row[column.name] = json.dumps({"email": f"{CANARY}@example.org"})
        else:
            row[column.name] = f"{CANARY} street"
    return row


def test_every_file_of_a_home_belongs_to_a_declared_store(shop: Shop) -> None:
    paths = [path for path in shop.home.root.rglob("*") if path.is_file() and not path.is_symlink()]
    unnamed = [path for path in paths if store_of(path.relative_to(shop.home.root)) is None]
    assert unnamed == []
    named = {store_of(path.relative_to(shop.home.root)) for path in paths}
    absent = {store.pattern for store in STORES if store not in named}
    of_operators = {"experiments.yaml", "experiment_metrics.yaml", "rules.yaml", "config/**"}
    of_operators |= {"campaigns.yaml", "journeys.yaml"}
    of_experiments = {"experiments/**"}
    assert absent <= {"landing/content.parquet", "truth/**", *of_experiments, *of_operators}
    assert store_of(Path("surprise/file.parquet")) is None


def test_every_table_of_the_operational_store_has_a_subject_or_is_known_to_have_none(shop: Shop) -> None:
    store = OperationalStore(shop.home)
    with store.writing() as connection:
        subjects = subject_columns(connection)
        names = set(sa.inspect(connection).get_table_names())
    assert names - subjects.keys() <= TABLES_OF_NOBODY


def test_an_erased_customer_is_nowhere_even_after_replay_and_backfill(shop: Shop, tmp_path: Path) -> None:
    home = shop.home
    before = {hit.partition("/")[0] for hit in found_in(home.root, WHOLE)}
    assert before >= {"landing", "warehouse", "marts", "features", "operational", "logs", "dagster", "world"}
    plan = f"runs/spring/{END}.parquet"
    campaigns = {hit.partition(" ")[0] for hit in found_in(home.campaigns, WHOLE)}
    assert campaigns >= {"customers.parquet:user_id", f"{plan}:user_id", f"{plan}:subject"}

    receipt = attune(home, "erase", CANARY, "--home", str(home.root))

    assert "2 ids" in receipt
    for store in ("landing/events", "landing/quarantine", "landing/customers.parquet", "warehouse", "marts"):
        [line] = [line for line in receipt.splitlines() if line.split()[0] == store]
        assert int(line.split()[-1].replace(",", "")) > 0, line
    assert found_in(home.root, WHOLE) == []
    assert dirty_days(home) == []
    assert is_complete(home)

    # The same run again: the shop's files still have the customer, and so has an event that was under way.
    OperationalStore(home).track("live-4", "2026-01-31T13:00:00Z", user_id=CANARY)
    output = attune(home, "run", "--source", "simulator,event_log", "--path", str(shop.world))
    assert "rows of people who were erased" in output
    assert "Nothing new" in output
    assert found_in(home.root / "landing", WHOLE) == []
    with OperationalStore(home).writing() as connection:
        connection.execute(sa.text("delete from events where event_id = 'live-4'"))

    # A backfill: a landed day is lost, and all tables are built again from what is landed.
    day = max(landed_days(home))
    (home.events / f"event_date={day}" / "simulator.parquet").unlink()
    attune(home, "run", "--source", "simulator", "--path", str(shop.world), "--full-refresh")
    OperationalStore(home).engine.dispose()
    assert found_in(home.root, WHOLE) == []


def test_whom_the_service_marked_is_erased_by_the_next_run(shop: Shop) -> None:
    home = shop.home
    store = OperationalStore(home)
    customers = pq.read_table(home.customers_file)["user_id"].to_pylist()
    marked = customers[len(customers) // 2]
    with store.writing() as connection:
        add_tombstones(connection, [marked], micros(AFTER))
    output = attune(home, "run", "--source", "event_log")
    assert "Erased 1 people" in output
    assert marked not in pq.read_table(home.customers_file)["user_id"].to_pylist()
    assert dirty_days(home) == []
    with store.writing() as connection:
        assert not erased_in(connection, pending=True)
        assert connection.execute(sa.select(sa.func.count()).select_from(tombstones)).scalar() == 3
