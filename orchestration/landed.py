"""What is landed: where its files lie, what their metadata says, and counts over all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pa_dataset

from feature_repo import columns
from feature_repo.events import INSTANT
from feature_repo.layout import Home
from orchestration.parquet_files import read_metadata

DAY_FILES = "event_date=*/*.parquet"
UNKNOWN_DAY = "unknown"
QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
        pa.field("raw", pa.string()),
        pa.field("event_id", pa.string()),
        pa.field("received_at", INSTANT),
    ]
)


@dataclass(frozen=True)
class LandingSummary:
    """What is landed in total; ``reasons`` counts quarantined rows (duplicates among them) by reason."""

    first_day: date | None
    last_day: date | None
    days: int
    rows: int
    quarantined: int
    duplicates: int
    undated: int
    reasons: dict[str, int]
    items: int
    customers: int


@dataclass(frozen=True)
class DayCounts:
    """What came for a day, over all sources."""

    rows: int = 0
    quarantined: int = 0
    duplicates: int = 0


def landed_days(home: Home) -> dict[date, str]:
    """Day -> content hash of its landed events, ascending; of several sources' files, a hash of theirs."""
    hashes: dict[date, list[str]] = {}
    for day, metadata in _landed_metadata(home):
        hashes.setdefault(day, []).append(metadata["attune.content_hash"])
    return {day: _joint_hash(found) for day, found in hashes.items()}


def source_days(home: Home, source: str) -> dict[date, Path]:
    """Day -> the landed file of this source, ascending."""
    paths = sorted(home.events.glob(f"event_date=*/{source}.parquet"))
    return {_day_of(path): path for path in paths}


def events_path(home: Home, source: str, day: date) -> Path:
    """The file of one day of one source."""
    return home.events / f"event_date={day}" / f"{source}.parquet"


def quarantine_path(home: Home, source: str, day: date | str) -> Path:
    """What of that day and source was refused; the day may be UNKNOWN_DAY."""
    return home.quarantine / f"event_date={day}" / f"{source}.parquet"


def landing_summary(home: Home) -> LandingSummary:
    """Counts of everything landed, from file metadata; only the quarantine's reasons are read."""
    found = list(_landed_metadata(home))
    days = {day for day, _ in found}
    undated = home.quarantine.glob(f"event_date={UNKNOWN_DAY}/*.parquet")
    return LandingSummary(
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        days=len(days),
        rows=sum(int(entry["attune.rows"]) for _, entry in found),
        quarantined=sum(int(entry["attune.quarantined"]) for _, entry in found),
        duplicates=sum(int(entry["attune.duplicates"]) for _, entry in found),
        undated=sum(map(row_count, undated)),
        reasons=quarantine_reasons(home),
        items=row_count(home.items_file),
        customers=row_count(home.customers_file),
    )


def landed_counts(home: Home) -> dict[date, DayCounts]:
    """Counts of each landed day, ascending, from file metadata."""
    found: dict[date, DayCounts] = {}
    for day, entry in _landed_metadata(home):
        before = found.get(day, DayCounts())
        found[day] = DayCounts(
            before.rows + int(entry["attune.rows"]),
            before.quarantined + int(entry["attune.quarantined"]),
            before.duplicates + int(entry["attune.duplicates"]),
        )
    return found


def quarantine_reasons(home: Home) -> dict[str, int]:
    """Reason -> quarantined rows over all days, most frequent first."""
    files = [str(path) for path in sorted(home.quarantine.glob(DAY_FILES))]
    if not files:
        return {}
    reasons = pa_dataset.dataset(files, schema=QUARANTINE_SCHEMA).to_table(columns=["reason"])["reason"]
    counts = {str(entry["values"]): int(entry["counts"]) for entry in pc.value_counts(reasons).to_pylist()}
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def event_metadata(events: pa.Table) -> dict[str, str]:
    """What the metadata of an event file says of its rows."""
    return {"attune.rows": str(events.num_rows), "attune.content_hash": content_hash(events)}


def content_hash(table: pa.Table) -> str:
    """A hash of the values: equal for equal tables, however they were built, chunked or compressed."""
    digest = hashlib.blake2b(digest_size=16)
    for name in table.column_names:
        array = table[name].combine_chunks()
        digest.update(f"{name}:{array.type}:{len(array)}:".encode())
        digest.update(np.packbits(columns.present(array)).tobytes())
        if pa.types.is_string(array.type):
            filled = array.fill_null("")
            digest.update(np.asarray(pc.binary_length(filled)).tobytes())
            digest.update(_text_bytes(filled))
        else:
            values = array.cast(pa.int64()) if pa.types.is_timestamp(array.type) else array
            digest.update(np.asarray(values.fill_null(0)).tobytes())
    return digest.hexdigest()


def _text_bytes(array: pa.Array) -> memoryview:
    """The characters of a null-free string array, one after the other, without copying them."""
    _, offsets, data = array.buffers()
    if data is None or len(array) == 0:
        return memoryview(b"")
    ends = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]


def _landed_metadata(home: Home) -> Iterator[tuple[date, dict[str, str]]]:
    for path in sorted(home.events.glob(DAY_FILES)):
        yield _day_of(path), read_metadata(path)


def _day_of(path: Path) -> date:
    return date.fromisoformat(path.parent.name.removeprefix("event_date="))


def _joint_hash(found: list[str]) -> str:
    """A file's own hash where it is alone, so that a second source changes the days that it adds to."""
    return (
        found[0] if len(found) == 1 else hashlib.blake2b("".join(found).encode(), digest_size=16).hexdigest()
    )


def row_count(path: Path) -> int:
    """Rows of a file; 0 without one."""
    return int(pa_dataset.dataset(str(path)).count_rows()) if path.is_file() else 0
