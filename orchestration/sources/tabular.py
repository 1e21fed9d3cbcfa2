"""Any Parquet, CSV or NDJSON files, by a mapping (``orchestration.sources.mapping``).

Opening reads the mapping, checks each named column in each file, and reads the files' instants to learn
which days are where; rows are read when their days are landed. An event without a mapped event_id gets one
from the content of its row: equal rows of one file are different events, the same row in a second file is
the same event again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.columns import text
from feature_repo.content import CONTENT_SCHEMA
from feature_repo.events import CUSTOMER_SCHEMA, ITEM_SCHEMA
from feature_repo.marketing import SPEND_SCHEMA
from feature_repo.validation import RAW_PREFIX, row_days
from orchestration.errors import MappingError, SourceColumnMissing
from orchestration.sources.base import EventBatch
from orchestration.sources.files import column_names, read_file
from orchestration.sources.mapping import ColumnMapping, TableMapping, TabularMapping, read_mapping

BATCH_ROWS = 1_000_000
INSTANTS = ("event_at", "received_at", "first_seen_at", "created_at", "published_at", "day")
_HASH_KEYS = ("attune-event-id1", "attune-event-id2")
_Unit = Literal["s", "ms", "us"]
_HAS_ZONE = r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})$"


@dataclass(frozen=True)
class _File:
    """One event file: its mapping, how many rows each day has in it, and whether some have no day."""

    path: Path
    table: TableMapping
    rows_by_day: Mapping[date, int]
    has_undated: bool


@dataclass(frozen=True)
class TabularSource:
    """Mapped files."""

    mapping: TabularMapping
    files: tuple[_File, ...]
    name: str = "tabular"

    @classmethod
    def open(cls, path: Path) -> TabularSource:
        """Reads the mapping and indexes the event files; raises a SourceError naming file, line and field."""
        mapping = read_mapping(path)
        files = tuple(
            _indexed(mapping, table, file)
            for table in mapping.events
            for file in _files(mapping, "events", table)
        )
        sections = (
            ("items", mapping.items),
            ("customers", mapping.customers),
            ("content", mapping.content),
            ("marketing_spend", mapping.marketing_spend),
        )
        for section, tables in sections:
            for table in tables:
                for file in _files(mapping, section, table):
                    _check_columns(mapping, section, table, file)
        return cls(mapping, files)

    def days(self) -> list[date]:
        return sorted({day for file in self.files for day in file.rows_by_day})

    def events(self, days: Sequence[date]) -> Iterator[EventBatch]:
        """Batches of about a million rows; a file stays open while the next batch needs it too."""
        opened: dict[Path, tuple[pd.DataFrame, pd.Series]] = {}
        is_first = True
        for batch in self._batches(sorted(set(days))) or [[]]:
            needed = [
                file
                for file in self.files
                if not file.rows_by_day.keys().isdisjoint(batch) or (is_first and file.has_undated)
            ]
            opened = {file.path: opened.get(file.path) or self._read(file) for file in needed}
            parts = [
                frame[(day.isin(batch) | (day.isna() if is_first else False)).to_numpy()]
                for frame, day in opened.values()
            ]
            is_first = False
            if parts:
                yield EventBatch(tuple(batch), pd.concat(parts, ignore_index=True))

    def items(self) -> pd.DataFrame:
        return self._entities(self.mapping.items, "items", ITEM_SCHEMA.names)

    def customers(self) -> pd.DataFrame:
        return self._entities(self.mapping.customers, "customers", CUSTOMER_SCHEMA.names)

    def content(self) -> pd.DataFrame:
        return self._entities(self.mapping.content, "content", CONTENT_SCHEMA.names)

    def marketing_spend(self) -> pd.DataFrame:
        return self._entities(self.mapping.marketing_spend, "marketing_spend", SPEND_SCHEMA.names)

    def _batches(self, days: list[date]) -> list[list[date]]:
        batches: list[list[date]] = []
        size = BATCH_ROWS
        for day in days:
            rows = sum(file.rows_by_day.get(day, 0) for file in self.files)
            if rows and size + rows > BATCH_ROWS:
                batches.append([])
                size = 0
            if rows:
                batches[-1].append(day)
                size += rows
        return batches

    def _read(self, file: _File) -> tuple[pd.DataFrame, pd.Series]:
        frame = _mapped(read_file(file.path, declared=file.table.format, as_text=True), file.table)
        if "event_id" not in frame:
            frame["event_id"] = _content_ids(frame)
        return frame, _days(frame)

    def _entities(self, tables: tuple[TableMapping, ...], section: str, fields: list[str]) -> pd.DataFrame:
        frames = [
            _mapped(read_file(file, declared=table.format, as_text=True), table)
            for table in tables
            for file in _files(self.mapping, section, table)
        ]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=fields)


def _files(mapping: TabularMapping, section: str, table: TableMapping) -> list[Path]:
    found = sorted(path for path in mapping.folder.glob(table.files) if path.is_file())
    if not found:
        problem = f"no file matches {table.files!r} below {mapping.folder}"
        raise MappingError(mapping.path, table.line, f"{section}.files", problem)
    return found


def _check_columns(mapping: TabularMapping, section: str, table: TableMapping, file: Path) -> None:
    existing = column_names(file, table.format)
    for column in table.columns:
        if column.column is not None and column.column not in existing:
            problem = f"{file} has no column {column.column!r}; it has {', '.join(existing)}"
            raise MappingError(mapping.path, column.line, f"{section}.columns.{column.field}", problem)


def _indexed(mapping: TabularMapping, table: TableMapping, file: Path) -> _File:
    _check_columns(mapping, "events", table, file)
    instants = [column for column in table.columns if column.field in INSTANTS]
    names = list(dict.fromkeys(column.column for column in instants if column.column is not None))
    try:
        rows = read_file(file, columns=names or None, declared=table.format, as_text=True)
    except SourceColumnMissing as error:  # the file changed since its columns were looked at
        raise MappingError(mapping.path, table.line, "events.files", str(error)) from error
    days = _days(pd.DataFrame({c.field: _values(rows, c, table.time_zone) for c in instants}))
    counts = days.value_counts()
    return _File(file, table, dict(zip(counts.index, counts, strict=True)), bool(days.isna().any()))


def _days(frame: pd.DataFrame) -> pd.Series:
    return pd.Series(row_days(frame).to_pylist(), dtype=object)


def _mapped(rows: pa.Table, table: TableMapping) -> pd.DataFrame:
    """Contract columns as the mapping says, and every column of the file as its raw form."""
    columns = {column.field: _values(rows, column, table.time_zone) for column in table.columns}
    raw = {f"{RAW_PREFIX}{name}": _series(rows[name]) for name in rows.column_names}
    frame = pd.DataFrame({**columns, **raw}, index=pd.RangeIndex(rows.num_rows))
    if table.event_types is not None:
        given = pd.Series(text(frame["event_type"], len(frame)).to_pandas(), dtype=object)
        frame["event_type"] = given.map(table.event_types).where(given.isin(list(table.event_types)), given)
    return frame


def _values(rows: pa.Table, column: ColumnMapping, time_zone: str) -> pd.Series:
    if column.constant is not None or column.column is None:
        return (
            pd.Series([column.constant], dtype=pd.ArrowDtype(pa.string()))
            .repeat(rows.num_rows)
            .reset_index(drop=True)
        )
    values = _series(rows[column.column])
    return _instants(values, column, time_zone) if column.field in INSTANTS else values


def _series(values: pa.ChunkedArray) -> pd.Series:
    """Arrow-backed values; nested ones as JSON text."""
    if pa.types.is_nested(values.type):
        texts = [None if v is None else json.dumps(v, default=str) for v in values.to_pylist()]
        values = pa.chunked_array([pa.array(texts, pa.string())])
    return pd.Series(values.to_pandas(types_mapper=pd.ArrowDtype))


def _instants(values: pd.Series, column: ColumnMapping, time_zone: str) -> pd.Series:
    """ISO 8601 text in UTC for what can be read; the rest stays as it is and is refused by the contract."""
    array = pa.array(values)
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(array.type):
        return values if array.type.tz else _filled(array.cast(pa.string()), _utc(values, time_zone))
    written = text(values, len(values))
    if column.unit is not None:
        numbers = pd.to_numeric(written.to_pandas(), errors="coerce")
        return _filled(
            written, pd.to_datetime(numbers, unit=cast(_Unit, column.unit), utc=True, errors="coerce")
        )
    has_zone = np.asarray(pc.fill_null(pc.match_substring_regex(written, _HAS_ZONE), True))
    if column.format is None and (has_zone.all() or time_zone == "UTC"):
        return pd.Series(written.to_pandas(), dtype=object)
    texts = pd.Series(written.to_pandas(), dtype=object)
    if column.format is None:
        return _filled(written, _utc(_parsed(texts.where(~has_zone), "ISO8601"), time_zone))
    if "%z" in column.format:
        return _filled(written, pd.to_datetime(texts, format=column.format, errors="coerce", utc=True))
    return _filled(written, _utc(_parsed(texts, column.format), time_zone))


def _parsed(texts: pd.Series, written_as: str) -> pd.Series:
    return pd.to_datetime(texts, format=written_as, errors="coerce")


def _utc(local: pd.Series, time_zone: str) -> pd.Series:
    """Local clock times as UTC: of an hour that came twice the first, for one that never came the next."""
    stamps = pd.Series(local.to_numpy(dtype="datetime64[us]"))
    first = np.ones(len(stamps), dtype=bool)
    return stamps.dt.tz_localize(time_zone, ambiguous=first, nonexistent="shift_forward").dt.tz_convert("UTC")


def _filled(written: pa.Array, stamps: pd.Series) -> pd.Series:
    utc = pa.array(
        stamps.dt.tz_convert("UTC").dt.as_unit("us"), pa.timestamp("us", tz="UTC"), from_pandas=True
    )
    return pd.Series(pc.coalesce(utc.cast(pa.string()), written).to_pandas(), dtype=object)


def _content_ids(frame: pd.DataFrame) -> pd.Series:
    """32 hexadecimal digits of a row as it stands in its file, and a number where it stands there again."""
    raw = [name for name in frame.columns if name.startswith(RAW_PREFIX)]
    values = pd.DataFrame({name: text(frame[name], len(frame)).to_pandas() for name in raw}, dtype=object)
    halves = [pd.util.hash_pandas_object(values, index=False, hash_key=key) for key in _HASH_KEYS]
    ids = pd.Series([f"{one:016x}{two:016x}" for one, two in zip(*halves, strict=True)], dtype=object)
    again = ids.groupby(ids).cumcount()
    return ids.where(again == 0, ids + "-" + again.astype(str))
