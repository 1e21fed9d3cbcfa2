"""Raw events into one Parquet file a day, what breaks the contract into quarantine beside it.

Landing a day replaces it. The quarantine file is written first and the event file, whose metadata counts
both, last: so a day whose event file carries the right hashes is complete, and a run that was killed at any
point is repaired by running it again. A day that would not change is not touched.

An event_id is unique within whatever is validated together: within its day always, and across the days
that the source gives in one batch. The same id in days that were landed by different runs is not looked for,
since that would read all landed days for each new one; staging may still drop it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pa_dataset

from feature_repo import columns
from feature_repo.events import CONTRACT_VERSION, INSTANT
from feature_repo.layout import Home
from feature_repo.validation import validate_customers, validate_events, validate_items
from orchestration.errors import LandingError
from orchestration.parquet_files import read_metadata, remove, write_atomically
from orchestration.snapshots import upsert
from orchestration.sources.base import EventBatch, Source

Progress = Callable[[int, int, date], None]
"""Called after each day with (days done, days to do, the day)."""

EVENTS_FILE = "events.parquet"
QUARANTINE_FILE = "rows.parquet"
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
class LandedDay:
    """One day's result: ``quarantined`` without ``duplicates``; ``empty`` if the source had no row for it."""

    day: date
    rows: int
    quarantined: int
    duplicates: int
    changed: bool
    empty: bool = False


@dataclass(frozen=True)
class LandingReport:
    """What a landing did; ``undated`` rows are quarantined under ``event_date=unknown``."""

    days: list[LandedDay]
    items: int
    customers: int
    undated: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(day.rows for day in self.days)

    @property
    def quarantined(self) -> int:
        return sum(day.quarantined for day in self.days) + self.undated

    @property
    def duplicates(self) -> int:
        return sum(day.duplicates for day in self.days)

    @property
    def changed_days(self) -> list[date]:
        return [day.day for day in self.days if day.changed]

    @property
    def empty_days(self) -> list[date]:
        return [day.day for day in self.days if day.empty]


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


def land_days(
    home: Home,
    source: Source,
    days: Sequence[date] | None = None,
    progress: Progress | None = None,
) -> LandingReport:
    """Lands these days of the source (default: all that it has), its items and its customers.

    A day that is asked for but has no rows is reported as empty and warned about; what was landed for it
    before stays. Raises LandingError if the disk refuses; days written until then are complete.
    """
    wanted = sorted(set(source.days() if days is None else days))
    landed: dict[date, LandedDay] = {}
    undated: list[pd.DataFrame] = []
    for batch in source.events(wanted):
        for result in _land_batch(home, source.name, batch, undated):
            landed[result.day] = result
            if progress is not None:
                progress(len(landed), len(wanted), result.day)
    for day in wanted:
        if day not in landed:
            landed[day] = _empty_day(home, day)
    items = validate_items(source.items())
    customers = validate_customers(source.customers())
    item_count = upsert(home.items_file, items.valid)
    customer_count = upsert(home.customers_file, customers.valid)
    undated += [_named(items.rejected, "item"), _named(customers.rejected, "customer")]
    undated_count = _land_undated(home, source.name, undated)
    ordered = [landed[day] for day in wanted]
    return LandingReport(ordered, item_count, customer_count, undated_count, _warnings(source.name, ordered))


def landed_days(home: Home) -> dict[date, str]:
    """Day -> content hash of its landed events, ascending."""
    return {day: metadata["attune.content_hash"] for day, metadata in _landed_metadata(home)}


def landing_summary(home: Home) -> LandingSummary:
    """Counts of everything landed, from file metadata; only the quarantine's reasons are read."""
    metadata = dict(_landed_metadata(home))
    undated = home.quarantine / f"event_date={UNKNOWN_DAY}" / QUARANTINE_FILE
    return LandingSummary(
        first_day=min(metadata, default=None),
        last_day=max(metadata, default=None),
        days=len(metadata),
        rows=sum(int(entry["attune.rows"]) for entry in metadata.values()),
        quarantined=sum(int(entry["attune.quarantined"]) for entry in metadata.values()),
        duplicates=sum(int(entry["attune.duplicates"]) for entry in metadata.values()),
        undated=_row_count(undated),
        reasons=quarantine_reasons(home),
        items=_row_count(home.items_file),
        customers=_row_count(home.customers_file),
    )


def quarantine_reasons(home: Home) -> dict[str, int]:
    """Reason -> quarantined rows over all days, most frequent first."""
    files = [str(path) for path in sorted(home.quarantine.glob(f"event_date=*/{QUARANTINE_FILE}"))]
    if not files:
        return {}
    reasons = pa_dataset.dataset(files, schema=QUARANTINE_SCHEMA).to_table(columns=["reason"])["reason"]
    counts = {str(entry["values"]): int(entry["counts"]) for entry in pc.value_counts(reasons).to_pylist()}
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


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


def _land_batch(
    home: Home, source: str, batch: EventBatch, undated: list[pd.DataFrame]
) -> Iterator[LandedDay]:
    result = validate_events(batch.frame)
    undated.append(result.rejected[result.rejected["event_date"].isna()])
    slices = _by_day(result.valid)
    rejected = _quarantine_by_day(source, result.rejected)
    stray = sorted(day for day in {*slices, *rejected} if day not in batch.days)
    if stray:
        raise LandingError(
            f"source {source!r} gave rows of {stray[0]} in a batch of other days; "
            "its adapter must give all rows of a day, and only those, in one batch."
        )
    for day in batch.days:
        if day in slices or day in rejected:
            events = slices.get(day, result.valid.slice(0, 0))
            quarantine = rejected.get(day, QUARANTINE_SCHEMA.empty_table())
            yield _land_day(home, source, day, events, quarantine)


def _by_day(events: pa.Table) -> dict[date, pa.Table]:
    """The table, sorted by event_at, cut into its UTC days."""
    if events.num_rows == 0:
        return {}
    days = columns.micros(events["event_at"].combine_chunks()) // columns.DAY_MICROS
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    ends = np.append(starts[1:], len(days))
    return {
        np.datetime64(int(days[start]), "D").astype(date): events.slice(start, end - start)
        for start, end in zip(starts, ends, strict=True)
    }


def _quarantine_by_day(source: str, rejected: pd.DataFrame) -> dict[date, pa.Table]:
    """The rejected rows whose day is known, as one sorted table cut into its days."""
    dated = rejected[rejected["event_date"].notna()].sort_values("event_date", kind="stable")
    table = _quarantine_table(source, dated)
    days = dated["event_date"].tolist()
    bounds = [row for row, day in enumerate(days) if row == 0 or day != days[row - 1]] + [len(days)]
    return {days[start]: _sorted(table.slice(start, end - start)) for start, end in pairwise(bounds)}


def _land_day(home: Home, source: str, day: date, events: pa.Table, quarantine: pa.Table) -> LandedDay:
    path = home.events / f"event_date={day}" / EVENTS_FILE
    quarantine_path = home.quarantine / f"event_date={day}" / QUARANTINE_FILE
    duplicates = pc.sum(pc.equal(quarantine["reason"], "duplicate")).as_py() or 0
    metadata = {
        "attune.rows": str(events.num_rows),
        "attune.content_hash": content_hash(events),
        "attune.quarantined": str(quarantine.num_rows - duplicates),
        "attune.quarantine_hash": content_hash(quarantine),
        "attune.duplicates": str(duplicates),
        "attune.source": source,
        "attune.contract_version": str(CONTRACT_VERSION),
    }
    previous = read_metadata(path) if path.is_file() else {}
    changed = previous.get("attune.content_hash") != metadata["attune.content_hash"]
    has_quarantine = quarantine_path.is_file() == (quarantine.num_rows > 0)
    if not has_quarantine or any(previous.get(key) != value for key, value in metadata.items()):
        _write_quarantine(quarantine_path, quarantine)
        landed_at = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomically(path, events, {**metadata, "attune.landed_at": landed_at})
    return LandedDay(day, events.num_rows, quarantine.num_rows - duplicates, duplicates, changed)


def _empty_day(home: Home, day: date) -> LandedDay:
    path = home.events / f"event_date={day}" / EVENTS_FILE
    rows = int(read_metadata(path)["attune.rows"]) if path.is_file() else 0
    return LandedDay(day, rows, 0, 0, changed=False, empty=True)


def _land_undated(home: Home, source: str, parts: list[pd.DataFrame]) -> int:
    """Replaces this source's rows in the quarantine of unknown days; returns their number."""
    path = home.quarantine / f"event_date={UNKNOWN_DAY}" / QUARANTINE_FILE
    filled = [part for part in parts if len(part)]
    own = _sorted(_quarantine_table(source, pd.concat(filled) if filled else parts[0].iloc[:0]))
    before = _read_quarantine(path)
    others = before.filter(pc.not_equal(before["source"], source))
    after = pa.concat_tables([others, own])
    if content_hash(after) != content_hash(before):
        _write_quarantine(path, after)
    return int(own.num_rows)


def _read_quarantine(path: Path) -> pa.Table:
    if not path.is_file():
        return QUARANTINE_SCHEMA.empty_table()
    return pa_dataset.dataset(str(path), schema=QUARANTINE_SCHEMA).to_table()


def _write_quarantine(path: Path, rows: pa.Table) -> None:
    if rows.num_rows:
        write_atomically(path, rows)
    else:
        remove(path)


def _quarantine_table(source: str, rejected: pd.DataFrame) -> pa.Table:
    names = [name for name in QUARANTINE_SCHEMA.names if name != "source"]
    frame = rejected[names].assign(source=source)
    return pa.Table.from_pandas(frame, QUARANTINE_SCHEMA, preserve_index=False).replace_schema_metadata(None)


def _sorted(quarantine: pa.Table) -> pa.Table:
    return quarantine.sort_by([("event_id", "ascending"), ("raw", "ascending"), ("reason", "ascending")])


def _named(rejected: pd.DataFrame, entity: str) -> pd.DataFrame:
    return rejected.assign(reason=f"{entity}_" + rejected["reason"].astype(str))


def _landed_metadata(home: Home) -> Iterator[tuple[date, dict[str, str]]]:
    for path in sorted(home.events.glob(f"event_date=*/{EVENTS_FILE}")):
        yield date.fromisoformat(path.parent.name.removeprefix("event_date=")), read_metadata(path)


def _row_count(path: Path) -> int:
    return int(pa_dataset.dataset(str(path)).count_rows()) if path.is_file() else 0


def _warnings(source: str, days: list[LandedDay]) -> list[str]:
    empty = [day for day in days if day.empty]
    if not empty:
        return []
    span = f"{empty[0].day}" if len(empty) == 1 else f"{empty[0].day} to {empty[-1].day}"
    kept = sum(day.rows > 0 for day in empty)
    text = f"{source} has no rows for {len(empty)} of the days asked for ({span})"
    return [text + (f"; {kept} of them were landed before and are kept" if kept else "")]
