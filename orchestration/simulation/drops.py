"""What the shop receives: happenings as raw rows, a file for each day of arrival, with the usual faults.

Faults come on top of the true events, so that what the contract accepts is exactly what happened: 1 % of the
rows are garbled copies that must be refused, 1 % are repetitions of a row with the same event_id. 2 % of the
true events arrive one to three days late. Amounts and instants are text, as in an export.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.simulation.calendar import DAY_MICROS, Calendar, Floats, Ints
from orchestration.simulation.catalogue import Catalogue
from orchestration.simulation.content import KIND_NAMES, Content
from orchestration.simulation.happenings import CHANNEL_NAMES, KIND, KINDS, Happenings
from orchestration.simulation.population import DEVICES, Population

MALFORMED_SHARE = 0.01
DUPLICATE_SHARE = 0.01
LATE_SHARE = 0.02
LATEST_ARRIVAL_DAYS = 4
"""No row arrives later than this many days after its event."""

CURRENCY = "EUR"
BROWSERS = ("firefox", "chrome", "safari", "edge")
TRAFFIC = ("direct", "search", "email_campaign", "social", "affiliate")

FAULTS: tuple[tuple[str, str, str | None], ...] = (
    # the reason for which the contract refuses it, the column, what stands there
    ("unknown_event_type", "event_type", "teleported"),
    ("missing_event_type", "event_type", None),
    ("missing_event_id", "event_id", None),
    ("missing_event_at", "event_at", None),
    ("bad_event_at", "event_at", "31/02/2025 25:61"),
    ("event_in_future", "event_at", "2099-12-31T00:00:00Z"),
    ("event_at_out_of_range", "event_at", "1970-01-01T00:00:00Z"),
    ("missing_item_id", "item_id", None),
    ("bad_quantity", "quantity", "two"),
    ("non_positive_quantity", "quantity", "-1"),
    ("bad_price", "price", "free"),
    ("negative_price", "price", "-9.99"),
    ("bad_currency", "currency", "Euro"),
    ("unknown_channel", "channel", "carrier pigeon"),
    ("bad_context", "context", "{broken"),
)

DROP_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("event_type", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("order_id", pa.string()),
        ("event_at", pa.string()),
        ("received_at", pa.timestamp("us", tz="UTC")),
        ("session_id", pa.string()),
        ("channel", pa.string()),
        ("device_type", pa.string()),
        ("quantity", pa.string()),
        ("price", pa.string()),
        ("currency", pa.string()),
        ("query", pa.string()),
        ("campaign_id", pa.string()),
        ("context", pa.string()),
    ]
)


@dataclass
class DropCounts:
    """Rows written: true events, and the faults among or beside them."""

    events: int = 0
    malformed: int = 0
    duplicates: int = 0
    late: int = 0


@dataclass
class DropWriter:
    """Turns blocks of happenings into files by day of arrival; holds only what has not yet arrived."""

    folder: Path
    calendar: Calendar
    catalogue: Catalogue
    population: Population
    content: Content
    counts: DropCounts = field(default_factory=DropCounts)
    _pending: dict[int, list[pa.Table]] = field(default_factory=dict)

    def add(self, rng: np.random.Generator, block: Happenings, last: int) -> None:
        """Takes the events of a block that ends before day ``last``, and writes what has arrived by then."""
        at = self.calendar.to_micros(block.at)
        received = at + np.ceil(4e6 * rng.exponential(size=block.count)).astype(np.int64)
        is_late = rng.random(block.count) < LATE_SHARE
        received[is_late] = at[is_late] + np.round(rng.uniform(1, 3, int(is_late.sum())) * DAY_MICROS).astype(
            np.int64
        )
        rows = self._rows(block, at, received, self.counts.events)
        repeated, repeated_at = _repetitions(rng, received)
        garbled, garbled_at = self._garbled(rng, rows, received)
        self._keep(rows, received)
        self._keep(_received(rows.take(pa.array(repeated)), repeated_at), repeated_at)
        self._keep(garbled, garbled_at)
        self.counts.events += block.count
        self.counts.duplicates += len(repeated)
        self.counts.malformed += garbled.num_rows
        self.counts.late += int(is_late.sum())
        self._write([day for day in self._pending if day < self._first_day + last])

    def close(self) -> None:
        """Writes what is still on its way."""
        self._write(list(self._pending))

    @property
    def _first_day(self) -> int:
        return self.calendar.start_micros // DAY_MICROS

    def _rows(self, block: Happenings, at: Ints, received: Ints, first_number: int) -> pa.Table:
        priced = ~np.isnan(block.price)
        columns = {
            "event_id": _numbered("e", first_number + np.arange(block.count)),
            "event_type": _named(pa.array(KINDS), block.kind),
            "user_id": _named(pa.array(self.population.ids()), block.user),
            "item_id": _named(pa.array(self.catalogue.ids()), block.item),
            "order_id": _numbered("o", block.order),
            "event_at": _instants(at).cast(pa.string()),
            "received_at": _instants(received),
            "session_id": _numbered("s", block.session),
            "channel": _named(pa.array(CHANNEL_NAMES), block.channel),
            "device_type": _named(pa.array(DEVICES), block.device),
            "quantity": _amounts(block.quantity),
            "price": _amounts(block.price),
            "currency": _named(pa.array([CURRENCY]), np.where(priced, 0, -1)),
            "query": self._queries(block),
            "campaign_id": self._campaigns(block),
            "context": self._contexts(block),
        }
        return pa.table(columns, schema=DROP_SCHEMA)

    def _queries(self, block: Happenings) -> pa.Array:
        names = [name.lower() for name in self.catalogue.leaf_names]
        phrases = names + [f"best {name}" for name in names]
        second = len(names) * (block.session % 3 == 0)
        return _named(pa.array(phrases), np.where(block.kind == KIND["search"], block.query + second, -1))

    def _campaigns(self, block: Happenings) -> pa.Array:
        numbers = np.unique(block.campaign[block.campaign >= 0])
        days = [self.calendar.day_of(int(day)) for day in numbers]
        names = [campaign_name(way, day) for way in ("email", "push") for day in days]
        is_push = block.channel == CHANNEL_NAMES.index("push")
        code = np.searchsorted(numbers, block.campaign) + len(numbers) * is_push
        return _named(pa.array(names, pa.string()), np.where(block.campaign >= 0, code, -1))

    def _contexts(self, block: Happenings) -> pa.Array:
        """Where a page view came from, the category browsed, the stars given, the piece read."""
        visits = [json.dumps({"browser": b, "traffic_source": t}) for b in BROWSERS for t in TRAFFIC]
        leaves = [json.dumps({"category": name}) for name in self.catalogue.leaf_names]
        stars = [json.dumps({"rating": number}) for number in range(1, 6)]
        filters = [json.dumps({"filters": {"in_stock": True}})]
        pieces = [
            json.dumps({"content_id": name, "kind": KIND_NAMES[kind]})
            for name, kind in zip(self.content.ids(), self.content.kind, strict=True)
        ]
        code = np.full(block.count, -1)
        code = np.where(block.kind == KIND["page_view"], block.session * 7 % len(visits), code)
        code = np.where(block.kind == KIND["category_browse"], len(visits) + block.query, code)
        code = np.where(block.stars > 0, len(visits) + len(leaves) + block.stars - 1, code)
        last = len(visits) + len(leaves) + len(stars)
        code = np.where(block.kind == KIND["filter_applied"], last, code)
        code = np.where(block.content >= 0, last + 1 + block.content, code)
        return _named(pa.array(visits + leaves + stars + filters + pieces), code)

    def _garbled(self, rng: np.random.Generator, rows: pa.Table, received: Ints) -> tuple[pa.Table, Ints]:
        """Copies of some rows under new ids, each with one fault; the faults take turns."""
        chosen = np.flatnonzero(rng.random(rows.num_rows) < MALFORMED_SHARE)
        fault = (self.counts.malformed + np.arange(len(chosen))) % len(FAULTS)
        copies = rows.take(pa.array(chosen))
        ids = _numbered("m", self.counts.malformed + np.arange(len(chosen)))
        copies = copies.set_column(0, DROP_SCHEMA.field("event_id"), ids)
        arrived = received[chosen]
        order = np.argsort(fault, kind="stable")
        parts = [
            _with_fault(copies.take(pa.array(np.flatnonzero(fault == number))), reason, column, value)
            for number, (reason, column, value) in enumerate(FAULTS)
        ]
        return pa.concat_tables(parts), arrived[order]

    def _keep(self, rows: pa.Table, received: Ints) -> None:
        if len(received) == 0:
            return
        days = received // DAY_MICROS
        order = np.argsort(days, kind="stable")
        ordered, sorted_days = rows.take(pa.array(order)), days[order]
        starts = np.flatnonzero(np.diff(sorted_days, prepend=-1))
        for start, end in zip(starts, np.append(starts[1:], len(order)), strict=True):
            self._pending.setdefault(int(sorted_days[start]), []).append(ordered.slice(start, end - start))

    def _write(self, days: list[int]) -> None:
        for day in sorted(days):
            table = pa.concat_tables(self._pending.pop(day))
            path = self.folder / f"received_date={np.datetime64(day, 'D')}.parquet"
            pq.write_table(table, path, compression="zstd", compression_level=1)


def campaign_name(way: str, day: date) -> str:
    """The id of the campaign that went out on a day, by email or push."""
    return f"{'newsletter' if way == 'email' else way}-{day}"


def _repetitions(rng: np.random.Generator, received: Ints) -> tuple[Ints, Ints]:
    """(rows that come twice, when they come again: minutes later, some the next day)."""
    rows = np.flatnonzero(rng.random(len(received)) < DUPLICATE_SHARE)
    minutes = 1.0 + rng.exponential(10.0, len(rows)) + np.where(rng.random(len(rows)) < 0.2, 1380.0, 0.0)
    return rows, received[rows] + np.round(np.minimum(minutes, 1440.0) * 60e6).astype(np.int64)


def _received(rows: pa.Table, at: Ints) -> pa.Table:
    position = DROP_SCHEMA.get_field_index("received_at")
    return rows.set_column(position, DROP_SCHEMA.field("received_at"), _instants(at))


def _with_fault(rows: pa.Table, reason: str, column: str, value: str | None) -> pa.Table:
    if reason == "missing_item_id":
        rows = _constant(rows, "event_type", "product_view")
    return _constant(rows, column, value)


def _constant(rows: pa.Table, column: str, value: str | None) -> pa.Table:
    position = DROP_SCHEMA.get_field_index(column)
    values = pa.array([value] * rows.num_rows, pa.string())
    return rows.set_column(position, DROP_SCHEMA.field(column), values)


def _named(names: pa.Array, codes: Ints) -> pa.Array:
    """Names by number; null where the number is negative."""
    return names.take(pa.array(np.maximum(codes, 0), mask=codes < 0))


def _numbered(prefix: str, numbers: Ints) -> pa.Array:
    text = pa.array(numbers, mask=numbers < 0).cast(pa.string())
    return pc.binary_join_element_wise(prefix, text, "")


def _amounts(values: Floats) -> pa.Array:
    return pa.array(values, mask=np.isnan(values)).cast(pa.string())


def _instants(micros: Ints) -> pa.Array:
    return pa.array(micros).cast(pa.timestamp("us", tz="UTC"))
