"""The live event log: what the service stored since it was last landed, read from the operational store.

A day of this source is what is landed of it already and what the log has beside, by event_id; so the log may
be purged of what is landed. How far it was read is noted beside the landed files, after they are on disk: a
run that is killed anywhere reads the same rows again, and a row that was landed before changes nothing.

- Commits may overtake each other, so the last `SETTLING` of the log is read again by the next run.
- A visitor who turned out to be a customer since the last run has the customer's id from then on: the landed
  days that hold the anonymous id are given again.
- A day that nobody asked for (another window, a date that no partition holds) waits, and is given once asked.
- What was decided comes as `recommendation_served`, one event for each item that was shown: the goods of a
  message when the event says that it was sent, and never if it was not. Offers come as `offer_served`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from feature_repo import columns
from feature_repo.erasure import store_exists
from feature_repo.event_log import events as event_table
from feature_repo.event_log import identities, open_engine
from feature_repo.events import CUSTOMER_SCHEMA, EVENT_SCHEMA, ITEM_SCHEMA, MESSAGE_LIST, SENT_TYPES
from feature_repo.layout import Home
from feature_repo.validation import CLOCK_SKEW, EARLIEST, LATEST
from orchestration.completion import read_note, write_note
from orchestration.errors import SourceError, one_line
from orchestration.landed import source_days
from orchestration.sources.base import EVENT_LOG, EventBatch
from orchestration.sources.decisions import impressions

BATCH_ROWS = 250_000
IDS_A_QUERY = 500
BY_VISITOR = frozenset({"experiment_exposure", "experiment_conversion", "experience_served"})
"""Events of the service itself, whose `user_id` is whatever id a visitor was asked about."""
MICROS = 1_000_000
SETTLING = 300 * MICROS
"""A transaction that began this much before the newest row is taken to be through (microseconds)."""

BODY = tuple(
    name
    for name in EVENT_SCHEMA.names
    if name not in ("event_id", "event_type", "user_id", "anonymous_id", "event_at", "received_at")
)

# The service owns these tables; a contract test compares the columns.
decision_table = sa.table(
    "decisions",
    *map(sa.column, ("sequence", "decision_id", "kind", "visitor_id", "at", "release", "output")),
)
customer_table = sa.table(
    "customers",
    *map(sa.column, ("user_id", "created_at", "age", "gender", "location", "attributes")),
)


@dataclass(frozen=True)
class Mark:
    """How far the log is landed: the last sequence of each table, and days below it that nobody asked for."""

    events: int = 0
    decisions: int = 0
    identities: int = 0
    waiting: frozenset[date] = frozenset()

    @classmethod
    def read(cls, home: Home) -> Mark:
        note = read_note(home.event_log_mark) or {}
        waiting = frozenset(map(date.fromisoformat, note.pop("waiting", ())))
        return cls(**note, waiting=waiting)

    def write(self, home: Home) -> None:
        note = {"events": self.events, "decisions": self.decisions, "identities": self.identities}
        write_note(home.event_log_mark, {**note, "waiting": sorted(map(str, self.waiting))})


@dataclass(frozen=True)
class _Tail:
    """What a table has beyond the mark: its end now, where it is settled, and the rows of each day."""

    start: int
    end: int
    settled: int
    rows_by_day: Mapping[date, int]


@dataclass(frozen=True)
class EventLogSource:
    """The operational store's log, as it was when this was opened."""

    home: Home
    engine: sa.Engine | None
    mark: Mark
    events_tail: _Tail
    decisions_tail: _Tail
    linked_until: int
    relinked: frozenset[date]
    name: str = field(default=EVENT_LOG)

    @classmethod
    def open(cls, home: Home, url: sa.URL) -> EventLogSource:
        """Looks how far the log has grown; a store that does not exist yet is an empty one.

        Raises SourceError if the store does not answer.
        """
        mark = Mark.read(home)
        if not store_exists(url):
            nothing = _Tail(0, 0, 0, {})
            return cls(home, None, mark, nothing, nothing, mark.identities, frozenset())
        engine = open_engine(url, poolclass=NullPool)
        with reading(engine) as connection:
            names = set(sa.inspect(connection).get_table_names())
            events = _tail(connection, _EVENTS, mark.events, names)
            decided = _tail(connection, _DECISIONS, mark.decisions, names)
            until, linked = mark.identities, set[str]()
            if identities.name in names:
                until, linked = _linked_since(connection, mark.identities)
        return cls(home, engine, mark, events, decided, until, frozenset(_days_holding(home, linked)))

    def days(self) -> list[date]:
        """The days for which there is something new."""
        return sorted(
            {
                *self.events_tail.rows_by_day,
                *self.decisions_tail.rows_by_day,
                *self.relinked,
                *self.mark.waiting,
            }
        )

    def events(self, days: Sequence[date]) -> Iterator[EventBatch]:
        """These days, whole; the mark moves when all of them have been taken, for then they are on disk."""
        wanted = sorted(set(days))
        for batch in self._batches(wanted):
            frame = self._rows(batch).to_pandas(types_mapper=pd.ArrowDtype)
            yield EventBatch(tuple(batch), frame)
        self._remember(wanted)

    def items(self) -> pd.DataFrame:
        """None: the catalogue is the shop's."""
        return pd.DataFrame(columns=ITEM_SCHEMA.names)

    def customers(self) -> pd.DataFrame:
        """Customers made or changed through the service; what it does not know stays as it is landed."""
        rows: list[dict[str, Any]] = []
        if self.engine is not None:
            with reading(self.engine) as connection:
                if sa.inspect(connection).has_table(customer_table.name):
                    rows = [dict(row._mapping) for row in connection.execute(sa.select(customer_table))]
        known = _landed_customers(self.home, [row["user_id"] for row in rows])
        merged = [_merged_customer(known.get(row["user_id"], {}), row) for row in rows]
        return pd.DataFrame(merged, columns=CUSTOMER_SCHEMA.names)

    def _batches(self, days: list[date]) -> Iterator[list[date]]:
        batch: list[date] = []
        size = 0
        for day in days:
            rows = self.events_tail.rows_by_day.get(day, 0) + self.decisions_tail.rows_by_day.get(day, 0)
            if batch and size + rows > BATCH_ROWS:
                yield batch
                batch, size = [], 0
            batch.append(day)
            size += rows
        if batch:
            yield batch

    def _rows(self, days: list[date]) -> pa.Table:
        """Landed and new, each event once, under the customer's id where it is known by now."""
        parts = [_landed(self.home, days)]
        if self.engine is not None:
            with reading(self.engine) as connection:
                logged = self._logged(connection, days)
                parts = [logged, self._served(connection, days), self._sent(connection, logged), *parts]
                table = pa.concat_tables(parts)
                return _linked(connection, _first_of_each(table))
        return _first_of_each(pa.concat_tables(parts))

    def _logged(self, connection: sa.Connection, days: list[date]) -> pa.Table:
        query = self._of_days(_EVENTS, self.events_tail, days, sa.select(event_table))
        rows = [dict(row._mapping) for row in connection.execute(query)]
        asked = {row["user_id"] for row in rows if _is_by_visitor(row)}
        anonymous = _anonymous_among(connection, asked)
        return _event_rows(
            row | {"user_id": None, "anonymous_id": row["user_id"]}
            if _is_by_visitor(row) and row["user_id"] in anonymous
            else row
            for row in rows
        )

    def _served(self, connection: sa.Connection, days: list[date]) -> pa.Table:
        if not self.decisions_tail.end:
            return EVENT_SCHEMA.empty_table()
        shown_at_once = sa.select(decision_table).where(decision_table.c.kind != MESSAGE_LIST)
        query = self._of_days(_DECISIONS, self.decisions_tail, days, shown_at_once)
        return _impressions(connection, [dict(row._mapping) for row in connection.execute(query)])

    def _sent(self, connection: sa.Connection, logged: pa.Table) -> pa.Table:
        """The goods of the messages that were sent, as shown at that instant."""
        is_sent = pc.is_in(logged["event_type"], pa.array(SENT_TYPES.values(), pa.string()))
        sent = logged.filter(pc.and_(is_sent, pc.is_valid(logged["recommendation_id"])))
        at = dict(zip(sent["recommendation_id"].to_pylist(), _micros(sent["event_at"]), strict=True))
        if not at or not self.decisions_tail.end:
            return EVENT_SCHEMA.empty_table()
        query = sa.select(decision_table).where(decision_table.c.kind == MESSAGE_LIST)
        found = _rows_among(connection, query, decision_table.c.decision_id, list(at))
        return _impressions(connection, [row | {"at": at[row["decision_id"]]} for row in found])

    def _of_days(
        self, table: _Logged, tail: _Tail, days: list[date], query: sa.Select[Any]
    ) -> sa.Select[Any]:
        """The rows of these days up to the end; from the mark on, unless a day may have some before it."""
        is_new = all(day in tail.rows_by_day and day not in self.mark.waiting for day in days)
        numbers = [_number(day) for day in days]
        first, last = min(numbers), max(numbers)
        query = query.where(table.sequence <= tail.end, table.day >= first, table.day <= last)
        if last - first + 1 != len(numbers):
            query = query.where(table.day.in_(numbers))
        return query.where(table.sequence > tail.start) if is_new else query

    def _remember(self, taken: list[date]) -> None:
        waiting = frozenset(self.days()) - frozenset(taken)
        mark = Mark(self.events_tail.settled, self.decisions_tail.settled, self.linked_until, waiting)
        if mark != self.mark:
            mark.write(self.home)


@dataclass(frozen=True)
class _Logged:
    """What the two logs have in common, as SQL: sequence, the UTC day of a row, when it was written."""

    name: str
    sequence: Any
    day: Any
    written_at: Any


def _day_expression() -> Any:
    """The day of an event as landing finds it: where its instant cannot be true, the day of its arrival."""
    at, received = event_table.c.event_at, event_table.c.received_at
    cannot_be = sa.or_(
        at > received + CLOCK_SKEW // pd.Timedelta(microseconds=1),
        at < EARLIEST.value // 1000,
        at >= LATEST.value // 1000,
    )
    return sa.case((cannot_be, received), else_=at) // columns.DAY_MICROS


_EVENTS = _Logged(event_table.name, event_table.c.sequence, _day_expression(), event_table.c.received_at)
_DECISIONS = _Logged(
    decision_table.name,
    decision_table.c.sequence,
    sa.cast(decision_table.c.at, sa.BigInteger) // columns.DAY_MICROS,
    decision_table.c.at,
)


def _impressions(connection: sa.Connection, decisions: Sequence[Mapping[str, Any]]) -> pa.Table:
    visitors = {row["visitor_id"] for row in decisions if row["visitor_id"] is not None}
    anonymous = _anonymous_among(connection, visitors)
    return _event_rows(event for row in decisions for event in impressions(row, anonymous))


class reading:  # noqa: N801 (used like a function)
    """A connection for a block of reads; what the store refuses is a SourceError."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def __enter__(self) -> sa.Connection:
        try:
            self._connection = self._engine.connect()
        except SQLAlchemyError as error:
            raise _away(error) from error
        return self._connection

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._connection.close()
        if isinstance(error, SQLAlchemyError):
            raise _away(error) from error


def _away(error: SQLAlchemyError) -> SourceError:
    cause = one_line(getattr(error, "orig", None) or error)
    return SourceError(f"the operational store cannot be read ({cause}); check DATABASE_URL, then run again.")


def _tail(connection: sa.Connection, table: _Logged, start: int, names: set[str]) -> _Tail:
    if table.name not in names:
        return _Tail(start, 0, start, {})
    newest = sa.select(table.sequence, table.written_at).order_by(table.sequence.desc()).limit(1)
    found = connection.execute(newest).first()
    if found is None or found[0] <= start:
        return _Tail(start, found[0] if found else 0, start, {})
    end, written_at = found
    beyond = (table.sequence > start, table.sequence <= end)
    early = table.written_at <= written_at - SETTLING
    settled = connection.execute(sa.select(sa.func.max(table.sequence)).where(*beyond, early)).scalar()
    counts = connection.execute(sa.select(table.day, sa.func.count()).where(*beyond).group_by(table.day))
    return _Tail(start, end, settled or start, {_day(number): count for number, count in counts})


def _linked_since(connection: sa.Connection, start: int) -> tuple[int, set[str]]:
    """Where the links end, settled, and the anonymous ids that were linked since."""
    table = identities.c
    rows = connection.execute(
        sa.select(table.sequence, table.anonymous_id, table.linked_at).where(table.sequence > start)
    ).all()
    if not rows:
        return start, set()
    newest = max(row.linked_at for row in rows)
    settled = [row.sequence for row in rows if row.linked_at <= newest - SETTLING]
    return max(settled, default=start), {row.anonymous_id for row in rows}


def _days_holding(home: Home, anonymous: set[str]) -> Iterator[date]:
    """The landed days of this source in which one of these visitors is nobody yet."""
    if not anonymous:
        return
    wanted = pa.array(sorted(anonymous), pa.string())
    for day, path in source_days(home, EVENT_LOG).items():
        rows = pq.read_table(path, columns=["user_id", "anonymous_id"], partitioning=None)
        is_open = pc.and_(pc.is_null(rows["user_id"]), pc.is_in(rows["anonymous_id"], wanted))
        if pc.any(is_open).as_py():
            yield day


def _landed(home: Home, days: list[date]) -> pa.Table:
    files = source_days(home, EVENT_LOG)
    tables = [pq.ParquetFile(files[day]).read() for day in days if day in files]
    return pa.concat_tables([EVENT_SCHEMA.empty_table(), *(_as_events(table) for table in tables)])


def _as_events(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata(None).select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)


def _event_rows(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows of the log as a table of the contract, not yet validated."""
    found = [{**row, **_body(row["body"])} for row in rows]
    arrays = []
    for schema_field in EVENT_SCHEMA:
        values = [row.get(schema_field.name) for row in found]
        if pa.types.is_string(schema_field.type):
            values = [value if value is None or isinstance(value, str) else str(value) for value in values]
        arrays.append(pa.array(values, schema_field.type))
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


def _body(body: str | Mapping[str, Any]) -> dict[str, Any]:
    fields: Mapping[str, Any] = orjson.loads(body) if isinstance(body, str) else body
    known = {name: fields[name] for name in BODY if fields.get(name) is not None}
    if isinstance(known.get("context"), dict):
        known["context"] = json.dumps(known["context"], sort_keys=True, ensure_ascii=False)
    return known


def _micros(instants: pa.ChunkedArray) -> list[int]:
    return list(instants.cast(pa.int64()).to_pylist())


def _first_of_each(table: pa.Table) -> pa.Table:
    """One row per event_id, the first: what the log says goes before what was landed of it."""
    codes = np.asarray(table["event_id"].combine_chunks().dictionary_encode().indices)
    _, first = np.unique(codes, return_index=True)
    return table if len(first) == table.num_rows else table.take(pa.array(np.sort(first)))


def _linked(connection: sa.Connection, table: pa.Table) -> pa.Table:
    """The customer's id for the visitors without one who turned out to be that customer."""
    is_open = pc.and_(pc.is_null(table["user_id"]), pc.is_valid(table["anonymous_id"]))
    visitors = pc.unique(table["anonymous_id"].filter(is_open)).to_pylist()
    links = dict(_chunked(connection, identities.c.anonymous_id, visitors, identities.c.user_id))
    if not links:
        return table
    anonymous = table["anonymous_id"].combine_chunks()
    position = pc.index_in(anonymous, pa.array(list(links), pa.string()))
    customer = pa.array(list(links.values()), pa.string()).take(position)
    user = pc.coalesce(table["user_id"], customer)
    return table.set_column(table.schema.get_field_index("user_id"), EVENT_SCHEMA.field("user_id"), user)


def _is_by_visitor(event: Mapping[str, Any]) -> bool:
    """Whether the service wrote it, which asks nobody whether the visitor of a request has signed in."""
    return (
        event["event_type"] in BY_VISITOR and event["user_id"] is not None and event["anonymous_id"] is None
    )


def _anonymous_among(connection: sa.Connection, visitors: set[str]) -> set[str]:
    """Those of the visitors whom the log knows by a device only."""
    wanted = sorted(visitors)
    found = dict(_chunked(connection, identities.c.anonymous_id, wanted, identities.c.anonymous_id))
    column = event_table.c.anonymous_id
    return {*found, *dict(_chunked(connection, column, wanted, column, distinct=True))}


def _chunked(
    connection: sa.Connection, key: Any, values: Sequence[str], result: Any, distinct: bool = False
) -> Iterator[tuple[str, str]]:
    """(key, result) of the rows whose key is one of the values; nothing where the table does not exist."""
    if not values or not sa.inspect(connection).has_table(key.table.name):
        return
    query = sa.select(key.label("key"), result.label("result"))
    for row in _rows_among(connection, query.distinct() if distinct else query, key, values):
        yield row["key"], row["result"]


def _rows_among(
    connection: sa.Connection, query: sa.Select[Any], key: Any, values: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The rows of a query whose key is one of the values."""
    for start in range(0, len(values), IDS_A_QUERY):
        for row in connection.execute(query.where(key.in_(values[start : start + IDS_A_QUERY]))):
            yield dict(row._mapping)


def _landed_customers(home: Home, user_ids: list[str]) -> dict[str, dict[str, Any]]:
    if not user_ids or not home.customers_file.is_file():
        return {}
    table = pq.read_table(home.customers_file, filters=[("user_id", "in", user_ids)])
    return {row["user_id"]: row for row in table.to_pylist()}


def _merged_customer(known: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The service's word where it has one; attributes are merged by name."""
    given = {name: value for name, value in row.items() if value is not None}
    if isinstance(given.get("created_at"), int):
        given["created_at"] = pd.Timestamp(given["created_at"], unit="us", tz="UTC")
    attributes = {**_object(known.get("attributes")), **_object(given.get("attributes"))}
    merged = {**known, **given, "attributes": json.dumps(attributes, sort_keys=True) if attributes else None}
    return {name: merged.get(name) for name in CUSTOMER_SCHEMA.names}


def _object(text: Any) -> dict[str, Any]:
    if isinstance(text, dict):
        return text
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=int(number))
