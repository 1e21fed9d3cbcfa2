"""A small simulated shop that was run once, from raw files and a live event log to a release.

The run takes a minute, so all test files share it, whichever process of the test run needs it first: the home
is to be read. Who changes something works on a `copy`.

One customer is called `CANARY`, one visitor `VISITOR`; the operational store holds something of them in every
table that knows people, and one of the customer's raw events cannot be read.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa

from feature_repo.erasure import subject_columns
from feature_repo.layout import Home
from orchestration.simulator import simulate
from serving.store import all_tables
from tests.operational_store import OperationalStore, micros

ROOT = Path(__file__).parents[2]
CANARY = "canaryQx7Zk"
VISITOR = "visitorQx7Zk"
WHOLE = "Qx7Zk"
"""What the customer's id, the visitor's, the e-mail address and the street have in common."""
USERS, DAYS, END = 300, 260, date(2026, 1, 31)
AFTER = "2026-01-31T12:00:00Z"


@dataclass(frozen=True)
class Shop:
    """The shop's own files, and a home that was run on them."""

    world: Path
    home: Home

    def copy(self, folder: Path) -> Home:
        """The home after the run, to work on; its registry names its own artifacts, not the original's."""
        shutil.copytree(self.home.root, folder, symlinks=True)
        home = Home(folder)
        with sqlite3.connect(home.mlflow_db) as database:
            columns = database.execute(
                "select m.name, p.name from sqlite_master m, pragma_table_info(m.name) p"
                " where m.type = 'table' and p.type like '%CHAR%'"
            ).fetchall()
            for table, column in columns:
                database.execute(
                    f'update "{table}" set "{column}" = replace("{column}", :old, :new)'
                    f' where instr("{column}", :old)',
                    {"old": str(self.home.root), "new": str(folder)},
                )
        database.close()
        return home


def small_shop(folder: Path) -> Shop:
    """The shop in this folder. The first process to ask makes it, the others wait."""
    shop = Shop(folder / "world", Home(folder / "home"))
    finished = folder / "finished"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            _make(shop)
            finished.touch()
    return shop


def attune(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a user types it; one fold of the value models is enough here."""
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *arguments],
        env=environment(home),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def environment(home: Home) -> dict[str, str]:
    """The settings of a run in this home."""
    return {**os.environ, "ATTUNE_HOME": str(home.root), "ATTUNE_CUTOFFS": "1"}


def run_arguments(world: Path, *options: str, source: str = "simulator,event_log") -> list[str]:
    """`attune run` on a shop's own files, and on the live log beside them."""
    return ["run", "--source", source, "--path", str(world), *options]


def run(shop: Shop, source: str = "simulator,event_log") -> str:
    """Runs on the shop's files in its home; what was printed."""
    result = attune(shop.home, *run_arguments(shop.world, source=source))
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


def _make(shop: Shop) -> None:
    for part in (shop.world, shop.home.root):
        shutil.rmtree(part, ignore_errors=True)
    simulate(shop.world, USERS, DAYS, seed=3, end_date=END)
    _rename_a_customer(shop.world)
    store = OperationalStore(shop.home)
    _fill(store)
    store.engine.dispose()
    run(shop)


def _rename_a_customer(world: Path) -> None:
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


def _fill(store: OperationalStore) -> None:
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
            connection.execute(sa.insert(table).values(_row_about(table, set(columns))))


def _row_about(table: sa.Table, subjects: set[str]) -> dict[str, object]:
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
