"""A simulated world's drops, read like any shop's daily exports: a file holds what arrived on one day.

An event may arrive days after it happened, so the rows of a day are looked for in the drops of that day and
of the ARRIVAL_DAYS after it. The truth beside the drops is never opened here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.marketing import SPEND_SCHEMA
from orchestration.errors import SourceMissing, SourceUnreadable
from orchestration.sources.base import EventBatch
from orchestration.sources.files import read_file, require_type

ARRIVAL_DAYS = 7
BATCH_DAYS = 14
PREFIX = "received_date="
EVENT_COLUMNS = (
    "event_id",
    "event_type",
    "user_id",
    "item_id",
    "order_id",
    "event_at",
    "received_at",
    "session_id",
    "channel",
    "device_type",
    "quantity",
    "price",
    "currency",
    "query",
    "campaign_id",
    "context",
)


@dataclass(frozen=True)
class SimulatorSource:
    """Drops by day of arrival, and the span of days that the world covers."""

    path: Path
    drops: dict[date, Path]
    first_day: date
    last_day: date
    name: str = field(default="simulator")

    @classmethod
    def open(cls, path: Path) -> SimulatorSource:
        """Finds the drops; raises SourceMissing or SourceUnreadable."""
        expected = f"a simulated world with drops/{PREFIX}YYYY-MM-DD.parquet and world.json (attune simulate)"
        drops = {_arrival_day(file): file for file in sorted((path / "drops").glob(f"{PREFIX}*.parquet"))}
        if not (path / "drops").is_dir():
            raise SourceMissing(path, expected)
        first, last = _span(path / "world.json", expected)
        return cls(path, drops, first, last)

    def days(self) -> list[date]:
        """The world's days up to its end; what arrives later belongs to them."""
        span = (self.last_day - self.first_day).days + 1
        return [self.first_day + timedelta(days=number) for number in range(span)]

    def events(self, days: Sequence[date]) -> Iterator[EventBatch]:
        """Batches of up to 14 days; each drop is read once as long as the days are consecutive."""
        wanted = sorted(day for day in set(days) if self.first_day <= day <= self.last_day)
        opened: dict[date, pa.Table] = {}
        for batch in _batches(wanted):
            arrivals = [
                day for day in self.drops if batch[0] <= day <= batch[-1] + timedelta(days=ARRIVAL_DAYS)
            ]
            opened = {day: opened[day] if day in opened else self._drop(day) for day in arrivals}
            if opened:
                parts = [_of_days(table, day, set(batch)) for day, table in opened.items()]
                frame = pa.concat_tables(parts).to_pandas(types_mapper=pd.ArrowDtype)
                yield EventBatch(tuple(batch), frame)

    def items(self) -> pd.DataFrame:
        return self._entities("items.parquet")

    def customers(self) -> pd.DataFrame:
        return self._entities("customers.parquet")

    def content(self) -> pd.DataFrame:
        """None for a world that was simulated before there was content."""
        if not (self.path / "content.parquet").is_file():
            return pd.DataFrame({"content_id": []})
        return self._entities("content.parquet")

    def marketing_spend(self) -> pd.DataFrame:
        """None for a world that was simulated before marketing cost anything."""
        if not (self.path / "marketing_spend.parquet").is_file():
            return pd.DataFrame(columns=SPEND_SCHEMA.names)
        return self._entities("marketing_spend.parquet")

    def _drop(self, day: date) -> pa.Table:
        file = self.drops[day]
        table = read_file(file, columns=EVENT_COLUMNS)
        require_type(file, table, "event_at", "text")
        require_type(file, table, "received_at", "timestamp")
        return table

    def _entities(self, name: str) -> pd.DataFrame:
        frame: pd.DataFrame = read_file(self.path / name).to_pandas(types_mapper=pd.ArrowDtype)
        return frame


def _of_days(drop: pa.Table, arrived: date, wanted: set[date]) -> pa.Table:
    """The drop's rows that belong to the wanted days: by event_at, else by arrival."""
    text = pc.utf8_slice_codeunits(drop["event_at"].combine_chunks(), 0, 10).dictionary_encode()
    is_wanted = [_day(value, arrived) in wanted for value in text.dictionary.to_pylist()]
    keep = pa.array([*is_wanted, arrived in wanted])
    return drop.filter(keep.take(text.indices.fill_null(len(is_wanted))))


def _day(text: str, arrived: date) -> date:
    """The day of an instant's text; the arrival's where there is none or it cannot be true."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return arrived
    is_plausible = arrived - timedelta(days=365 * 20) <= day <= arrived + timedelta(days=1)
    return day if is_plausible else arrived


def _batches(days: list[date]) -> Iterator[list[date]]:
    batch: list[date] = []
    for day in days:
        if batch and (day - batch[0]).days >= BATCH_DAYS:
            yield batch
            batch = []
        batch.append(day)
    if batch:
        yield batch


def _arrival_day(file: Path) -> date:
    try:
        return date.fromisoformat(file.stem.removeprefix(PREFIX))
    except ValueError as error:
        raise SourceUnreadable(file, f"the name should be {PREFIX}YYYY-MM-DD.parquet") from error


def _span(world: Path, expected: str) -> tuple[date, date]:
    """The first and last day of the world; its file is written last, so a world without it is unfinished."""
    if not world.is_file():
        raise SourceMissing(world, expected)
    try:
        parameters = json.loads(world.read_text(encoding="utf-8"))
        return date.fromisoformat(parameters["start_date"]), date.fromisoformat(parameters["end_date"])
    except (ValueError, KeyError, TypeError) as error:
        raise SourceUnreadable(world, f"{type(error).__name__}: {error}") from error
