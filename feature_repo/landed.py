"""What was landed, for one customer: their events of the past and what the source says of them.

The files are the batch's, replaced whole, one folder a day: reading them takes no lock and disturbs no run.
Days are read from the latest back, a growing number at once, until enough was found or the time is over.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from feature_repo.layout import Home
from feature_repo.online_store import EPOCH, instant_of, microseconds_of

FIRST_DAYS = 16
FOLDER = "event_date="
FIELDS = (
    "event_id",
    "event_type",
    "item_id",
    "order_id",
    "session_id",
    "channel",
    "device_type",
    "quantity",
    "price",
    "currency",
    "query",
    "recommendation_id",
    "campaign_id",
    "experiment_id",
    "context",
)
CUSTOMER_FIELDS = ("age", "gender", "location", "attributes", "created_at")


@dataclass(frozen=True, slots=True)
class Span:
    """Events wanted: of these types (all if empty), from `start` on, before the pair (`end`, `before_id`).

    Instants are microseconds since 1970. Events at `end` are wanted if their id sorts before `before_id`.
    """

    start: int
    end: int
    before_id: str = ""
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Landed:
    """Rows (with `event_at` in microseconds), latest first, and the instant from which on none is missing.

    `is_whole`: no landed day of the span is before that instant.
    """

    rows: list[dict[str, Any]]
    since: int
    is_whole: bool


class LandedReader:
    """Reads landed files. For one thread."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._connection: duckdb.DuckDBPyConnection | None = None

    def events(self, user_id: str, span: Span, limit: int, seconds: float) -> Landed | None:
        """The latest `limit` events of a customer in the span; None if nothing was landed at all.

        After `seconds` no further days are read: the rest is for another call.
        """
        deadline = time.monotonic() + seconds
        days = self._days(span)
        if days is None:
            return None
        rows: list[dict[str, Any]] = []
        count, since = FIRST_DAYS, span.start
        whole = max(span.start, _midnight(days[-1])) if days else span.start
        while days and len(rows) < limit:
            if rows or count > FIRST_DAYS:
                since = _midnight(days[0]) + 86_400_000_000
                if time.monotonic() > deadline:
                    return Landed(rows, since, is_whole=False)
            some, days, count = days[:count], days[count:], 2 * count
            rows += self._read(user_id, span, some, limit - len(rows))
            since = _midnight(some[-1])
        return Landed(rows, since if days else whole, is_whole=not days)

    def customer(self, user_id: str) -> dict[str, Any] | None:
        """What the source says of a customer (published mart `customers`); None if it does not know them."""
        files = [str(path) for path in self._home.mart("customers").glob("*.parquet")]
        if not files:
            return None
        columns = ", ".join(f'"{name}"' for name in CUSTOMER_FIELDS)
        rows = self._rows(f"select {columns} from read_parquet(?) where user_id = ?", [files, user_id])
        return rows[0] if rows else None

    def close(self) -> None:
        """Close the connection; a later read opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _days(self, span: Span) -> list[date] | None:
        """Landed days of the span, latest first; None if none was ever landed."""
        if not self._home.events.is_dir():
            return None
        days = sorted(
            (
                date.fromisoformat(path.name.removeprefix(FOLDER))
                for path in self._home.events.iterdir()
                if path.name.startswith(FOLDER)
            ),
            reverse=True,
        )
        if not days:
            return None
        first, last = (EPOCH + timedelta(microseconds=each) for each in (span.start, span.end))
        return [day for day in days if first.date() <= day <= last.date()]

    def _read(self, user_id: str, span: Span, days: Sequence[date], limit: int) -> list[dict[str, Any]]:
        files = [str(path) for day in days for path in _files(self._home, day)]
        if not files:
            return []
        where = "user_id = ? and event_at >= ? and (event_at < ? or (event_at = ? and event_id < ?))"
        first, last = instant_of(span.start), instant_of(span.end)
        values: list[Any] = [files, user_id, first, last, last, span.before_id]
        if span.types:
            where += " and event_type in (select unnest(?))"
            values.append(list(span.types))
        columns = ", ".join(f'"{name}"' for name in FIELDS)
        return self._rows(
            f"select {columns}, epoch_us(event_at) as event_at"
            f" from read_parquet(?, hive_partitioning = false) where {where}"
            " order by event_at desc, event_id desc limit ?",
            [*values, limit],
        )

    def _rows(self, sql: str, values: list[Any]) -> list[dict[str, Any]]:
        if self._connection is None:
            self._connection = duckdb.connect()
            self._connection.execute("set TimeZone = 'UTC'")
            self._connection.execute("set threads = 1")
            self._connection.execute("set enable_progress_bar = false")
        found = self._connection.execute(sql, values)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _files(home: Home, day: date) -> list[Path]:
    return sorted((home.events / f"{FOLDER}{day.isoformat()}").glob("*.parquet"))


def _midnight(day: date) -> int:
    return microseconds_of(datetime(day.year, day.month, day.day, tzinfo=UTC))
