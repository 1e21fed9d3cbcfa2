"""Landed days written straight to disk, and dbt run on them in this process.

The project is parsed once per test run and the parsed form is used again for every invocation, so that
thirty of them take seconds; which days to rebuild is only read when a model runs.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from feature_repo.events import CUSTOMER_SCHEMA, EVENT_SCHEMA, ITEM_SCHEMA
from feature_repo.layout import Home
from orchestration.dbt import WINDOW, WINDOW_FILE
from orchestration.landed import content_hash
from orchestration.marts import dbt_arguments, dbt_environment, prepare_home
from orchestration.parquet_files import write_atomically

Event = dict[str, Any]


def at(text: str) -> datetime:
    """`2024-05-01 10:00` as an instant (UTC)."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def event(event_id: str, event_type: str, when: str, **fields: Any) -> Event:
    """One event of the contract; what is not given is null, the channel is web."""
    instant = at(when)
    return {
        "event_id": event_id,
        "event_type": event_type,
        "event_at": instant,
        "received_at": instant,
        "channel": "web",
        **fields,
    }


def land(home: Home, events: Iterable[Event]) -> None:
    """Replaces the days that these events fall on."""
    days: dict[date, list[Event]] = {}
    for row in events:
        days.setdefault(row["event_at"].date(), []).append(row)
    for day, rows in days.items():
        land_day(home, day, rows)


def land_day(home: Home, day: date, rows: Sequence[Event]) -> None:
    """Replaces one day; no rows leave an empty file."""
    ordered = sorted(rows, key=lambda row: (row["event_at"], row["event_id"]))
    table = pa.Table.from_pylist(ordered, EVENT_SCHEMA)
    metadata = {"attune.rows": str(len(rows)), "attune.content_hash": content_hash(table)}
    write_atomically(home.events / f"event_date={day}" / "shop.parquet", table, metadata)


def land_catalogue(
    home: Home, items: Sequence[Mapping[str, Any]] = (), customers: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Replaces items and customers."""
    write_atomically(home.items_file, pa.Table.from_pylist([dict(row) for row in items], ITEM_SCHEMA))
    write_atomically(
        home.customers_file, pa.Table.from_pylist([dict(row) for row in customers], CUSTOMER_SCHEMA)
    )


class Transforms:
    """dbt in this process. The parsed project names one path, a symlink to the home of each run."""

    def __init__(self, folder: Path) -> None:
        self._link = folder / "home"
        self._manifest: Any = None
        home = Home(folder / "empty")
        land_day(home, date(2024, 1, 1), [])
        self._manifest = self._invoke(home, dbt_arguments(home, command="parse"))

    def run(
        self, home: Home, days: Sequence[date] = (), full_refresh: bool = False, command: str = "run"
    ) -> None:
        """Builds the models (`command="build"`: and tests them) for these days; default: every landed day."""
        self._invoke(home, dbt_arguments(home, full_refresh, command=command), days)

    def invoke(self, home: Home, command: Sequence[str], variables: Mapping[str, Any]) -> None:
        """Any dbt command with these variables."""
        arguments = [*dbt_arguments(home, command=command[0]), "--vars", json.dumps(variables)]
        self._invoke(home, [*arguments, *command[1:]])

    def point_to(self, home: Home) -> None:
        """Makes the staging views read this home's landed files; a run does it first."""
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(home.root.resolve())

    def unit_tests(self, home: Home) -> list[tuple[str, str]]:
        """Name and status of each dbt unit test; `home` holds built models, whose columns they need."""
        arguments = [*dbt_arguments(home, command="run")[1:], "--select", "test_type:unit"]
        results = self._invoke(home, ["test", *arguments])
        return [(result.node.name, str(result.status)) for result in results]

    def _invoke(self, home: Home, arguments: list[str], days: Sequence[date] = ()) -> Any:
        prepare_home(home, days)
        self.point_to(home)
        window = (home.dbt_target / WINDOW_FILE).read_text(encoding="utf-8")
        os.environ.update(dbt_environment(home), ATTUNE_HOME=str(self._link), **{WINDOW: window})
        try:
            outcome = dbtRunner(manifest=self._manifest).invoke(["--quiet", "--no-write-json", *arguments])
        finally:
            DuckDBConnectionManager.close_all_connections()
        if outcome.exception is not None:
            raise outcome.exception
        failed = [
            f"{result.node.name}: {result.message}"
            for result in getattr(outcome.result, "results", [])
            if str(result.status) not in ("success", "pass")
        ]
        assert outcome.success and not failed, failed
        return outcome.result


def rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    """The result of a query on the warehouse; tables are `marts.<name>`."""
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.execute(query).fetchall()


def table(home: Home, mart: str) -> pa.Table:
    """A whole mart with its rows in a fixed order."""
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.execute(f"select * from marts.{mart} order by all").to_arrow_table()


def copy_home(home: Home, target: Path) -> Home:
    """An independent copy of a home, to change."""
    shutil.copytree(home.root, target, symlinks=True)
    return Home(target)
