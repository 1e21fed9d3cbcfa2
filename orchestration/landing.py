"""Raw events into one Parquet file a day and source, what breaks the contract into quarantine beside it.

Landing a day replaces what this source has in it and leaves the files of other sources alone. The quarantine
file is written first and the event file, whose metadata counts both, last: so a day whose event file carries
the right hashes is complete, and a run that was killed at any point is repaired by running it again. A day
that would not change is not touched.

An event_id is unique within its day, whatever sources it has: of the same id in two sources the one landed
first stays. It is unique too across the days that the source gives in one batch. The same id in days that
were landed by different runs is not looked for, since that would read all landed days for each new one.

What `Keeping` forbids is landed neither as an event nor in quarantine, only counted: rows of people who were
erased, and rows that are older than their type is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from feature_repo.erasure import NOBODY, Erased
from feature_repo.events import CONTRACT_VERSION, EVENT_SCHEMA
from feature_repo.layout import Home
from feature_repo.validation import (
    validate_content,
    validate_customers,
    validate_events,
    validate_items,
    validate_marketing_spend,
)
from orchestration.errors import LandingError
from orchestration.landed import (
    QUARANTINE_SCHEMA,
    UNKNOWN_DAY,
    content_hash,
    event_metadata,
    events_path,
    landed_days,
    quarantine_path,
    row_count,
)
from orchestration.parquet_files import read_metadata, remove, write_atomically
from orchestration.raw_forms import names_any
from orchestration.retention import KEEP_ALL, Retention
from orchestration.snapshots import replace_days, upsert
from orchestration.sources.base import ContentSource, EventBatch, MarketingSource, Source

Progress = Callable[[int, int, date], None]
"""Called after each day with (days done, days to do, the day)."""


@dataclass(frozen=True)
class Keeping:
    """What may be kept: nobody who was erased, nothing beyond its retention."""

    erased: Erased = NOBODY
    retention: Retention = KEEP_ALL


KEEP_EVERYTHING = Keeping()


@dataclass(frozen=True)
class LandedDay:
    """One day of one source: ``quarantined`` without ``duplicates``; ``empty`` if there was no row for it.

    ``erased`` rows are of people who were erased, ``expired`` ones older than they may be kept.
    """

    source: str
    day: date
    rows: int
    quarantined: int
    duplicates: int
    changed: bool
    empty: bool = False
    erased: int = 0
    expired: int = 0


@dataclass(frozen=True)
class LandingReport:
    """What a landing did; ``undated`` rows are quarantined under ``event_date=unknown``.

    ``erased_otherwise`` counts customers and undated rows of people who were erased.
    """

    days: list[LandedDay]
    items: int
    customers: int
    undated: int = 0
    erased_otherwise: int = 0
    warnings: list[str] = field(default_factory=list)
    content: int = 0

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
    def erased(self) -> int:
        return sum(day.erased for day in self.days) + self.erased_otherwise

    @property
    def expired(self) -> int:
        return sum(day.expired for day in self.days)

    @property
    def changed_days(self) -> list[date]:
        return [day.day for day in self.days if day.changed]

    @property
    def empty_days(self) -> list[date]:
        return [day.day for day in self.days if day.empty]


def land_days(
    home: Home,
    source: Source,
    days: Sequence[date] | None = None,
    progress: Progress | None = None,
    keeping: Keeping = KEEP_EVERYTHING,
) -> LandingReport:
    """Lands these days of the source (default: all that it has), its items and its customers.

    A day that is asked for but has no rows is reported as empty and warned about; what was landed for it
    before stays. Raises LandingError if the disk refuses; days written until then are complete.
    """
    wanted = sorted(set(source.days() if days is None else days))
    last_day = max([*wanted, *landed_days(home)], default=None)
    landed: dict[date, LandedDay] = {}
    undated: list[pd.DataFrame] = []
    for batch in source.events(wanted):
        for result in _land_batch(home, source.name, batch, undated, keeping, last_day):
            landed[result.day] = result
            if progress is not None:
                progress(len(landed), len(wanted), result.day)
    for day in wanted:
        if day not in landed:
            landed[day] = _empty_day(home, source.name, day)
    items = validate_items(source.items())
    customers = validate_customers(source.customers())
    item_count = upsert(home.items_file, items.valid)
    is_erased = keeping.erased.mask(customers.valid["user_id"])
    customer_count = upsert(home.customers_file, customers.valid.filter(pa.array(~is_erased)))
    undated += [_named(items.rejected, "item"), _named(customers.rejected, "customer")]
    content_count = _land_content(home, source, undated, keeping.erased)
    if isinstance(source, MarketingSource):
        spend = validate_marketing_spend(source.marketing_spend())
        undated.append(_named(spend.rejected, "marketing_spend"))
        replace_days(home.marketing_spend_file, spend.valid)
    undated_count, undated_erased = _land_undated(home, source.name, undated, keeping.erased)
    ordered = [landed[day] for day in wanted]
    return LandingReport(
        ordered,
        item_count,
        customer_count,
        undated_count,
        int(is_erased.sum()) + undated_erased,
        _warnings(source.name, ordered),
        content_count,
    )


def _land_content(home: Home, source: Source, undated: list[pd.DataFrame], erased: Erased) -> int:
    """The pieces of a source that has some, without what the erased made; how many are landed now."""
    if isinstance(source, ContentSource):
        content = validate_content(source.content())
        undated.append(_named(content.rejected, "content"))
        kept = content.valid.filter(pa.array(~erased.mask(content.valid["author"])))
        if kept.num_rows or home.content_file.is_file():
            return upsert(home.content_file, kept)
    return row_count(home.content_file)


def _land_batch(
    home: Home,
    source: str,
    batch: EventBatch,
    undated: list[pd.DataFrame],
    keeping: Keeping,
    last_day: date | None,
) -> Iterator[LandedDay]:
    result = validate_events(batch.frame)
    valid, is_erased = forgotten(
        result.valid,
        keeping.erased.mask(result.valid["user_id"]),
        keeping.erased.mask(result.valid["anonymous_id"]),
    )
    slices = _by_day(valid)
    flags = _cut(is_erased, slices)
    undated.append(result.rejected[result.rejected["event_date"].isna()])
    rejected = _quarantine_by_day(source, result.rejected)
    stray = sorted(day for day in {*slices, *rejected} if day not in batch.days)
    if stray:
        raise LandingError(
            f"source {source!r} gave rows of {stray[0]} in a batch of other days; "
            "its adapter must give all rows of a day, and only those, in one batch."
        )
    for day in batch.days:
        if day in slices or day in rejected:
            events = slices.get(day, valid.slice(0, 0))
            events = events.filter(pa.array(~flags[day])) if day in flags else events
            kept = keeping.retention.kept(events, day, last_day)
            named, quarantine = _without_erased(
                rejected.get(day, QUARANTINE_SCHEMA.empty_table()), keeping.erased
            )
            erased = named + (int(flags[day].sum()) if day in flags else 0)
            expired = events.num_rows - kept.num_rows
            if not keeping.retention.keeps_quarantine(day, last_day):
                expired += quarantine.num_rows
                quarantine = QUARANTINE_SCHEMA.empty_table()
            yield _land_day(home, source, day, kept, quarantine, erased, expired)


def forgotten(events: pa.Table, users: columns.Mask, visitors: columns.Mask) -> tuple[pa.Table, columns.Mask]:
    """The events and which of them are to go, where these users and these anonymous ids are erased.

    Who acts is the user, if there is one: of somebody else on the same device only the device is forgotten.
    """
    is_nobody = ~columns.present(events["user_id"].combine_chunks())
    is_erased = users | (visitors & is_nobody)
    of_others = visitors & ~is_erased
    if of_others.any():
        place = events.schema.get_field_index("anonymous_id")
        kept = pc.if_else(pa.array(of_others), pa.scalar(None, pa.string()), events["anonymous_id"])
        events = events.set_column(place, events.schema.field(place), kept)
    return events, is_erased


def _cut(flags: columns.Mask, slices: Mapping[date, pa.Table]) -> dict[date, columns.Mask]:
    """The flags of each day's rows; the days follow each other in the order of the rows."""
    bounds = np.cumsum([0, *(table.num_rows for table in slices.values())])
    return {day: flags[bounds[number] : bounds[number + 1]] for number, day in enumerate(slices)}


def _without_erased(quarantine: pa.Table, erased: Erased) -> tuple[int, pa.Table]:
    """How many rows name somebody who was erased, and the others."""
    if not erased or quarantine.num_rows == 0:
        return 0, quarantine
    named = np.array([names_any(raw, erased.__contains__) for raw in quarantine["raw"].to_pylist()])
    return int(named.sum()), quarantine.filter(pa.array(~named))


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


def _land_day(
    home: Home,
    source: str,
    day: date,
    events: pa.Table,
    quarantine: pa.Table,
    erased: int,
    expired: int,
) -> LandedDay:
    path = events_path(home, source, day)
    refused_path = quarantine_path(home, source, day)
    events, repeated = _not_elsewhere(path, events)
    if repeated.num_rows:
        quarantine = _sorted(pa.concat_tables([quarantine, _as_duplicates(source, repeated)]))
    duplicates = pc.sum(pc.equal(quarantine["reason"], "duplicate")).as_py() or 0
    metadata = {
        **event_metadata(events),
        "attune.quarantined": str(quarantine.num_rows - duplicates),
        "attune.quarantine_hash": content_hash(quarantine),
        "attune.duplicates": str(duplicates),
        "attune.source": source,
        "attune.contract_version": str(CONTRACT_VERSION),
    }
    previous = read_metadata(path) if path.is_file() else {}
    changed = previous.get("attune.content_hash") != metadata["attune.content_hash"]
    has_quarantine = refused_path.is_file() == (quarantine.num_rows > 0)
    if not has_quarantine or any(previous.get(key) != value for key, value in metadata.items()):
        _write_quarantine(refused_path, quarantine)
        landed_at = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomically(path, events, {**metadata, "attune.landed_at": landed_at})
    quarantined = quarantine.num_rows - duplicates
    return LandedDay(
        source, day, events.num_rows, quarantined, duplicates, changed, erased=erased, expired=expired
    )


def _not_elsewhere(path: Path, events: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The events that no other source has in this day, and those that one has."""
    others = [str(other) for other in path.parent.glob("*.parquet") if other != path]
    if not others:
        return events, events.slice(0, 0)
    ids = pa_dataset.dataset(others, schema=EVENT_SCHEMA).to_table(columns=["event_id"])["event_id"]
    is_elsewhere = pc.is_in(events["event_id"], ids.combine_chunks())
    return events.filter(pc.invert(is_elsewhere)), events.filter(is_elsewhere)


def _as_duplicates(source: str, events: pa.Table) -> pa.Table:
    rows = events.to_pylist()
    return pa.Table.from_pylist(
        [
            {
                "source": source,
                "reason": "duplicate",
                "detail": f"event_id={row['event_id']!r}: another source has it in this day",
                "raw": json.dumps(
                    {key: value for key, value in row.items() if value is not None}, default=str
                ),
                "event_id": row["event_id"],
                "received_at": row["received_at"],
            }
            for row in rows
        ],
        QUARANTINE_SCHEMA,
    )


def _empty_day(home: Home, source: str, day: date) -> LandedDay:
    path = events_path(home, source, day)
    rows = int(read_metadata(path)["attune.rows"]) if path.is_file() else 0
    return LandedDay(source, day, rows, 0, 0, changed=False, empty=True)


def _land_undated(home: Home, source: str, parts: list[pd.DataFrame], erased: Erased) -> tuple[int, int]:
    """Replaces this source's rows in the quarantine of unknown days; their number; of whom erased."""
    path = quarantine_path(home, source, UNKNOWN_DAY)
    filled = [part for part in parts if len(part)]
    own = _sorted(_quarantine_table(source, pd.concat(filled) if filled else parts[0].iloc[:0]))
    named, own = _without_erased(own, erased)
    if content_hash(own) != content_hash(_read_quarantine(path)):
        _write_quarantine(path, own)
    return int(own.num_rows), named


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


def _warnings(source: str, days: list[LandedDay]) -> list[str]:
    empty = [day for day in days if day.empty]
    if not empty:
        return []
    span = f"{empty[0].day}" if len(empty) == 1 else f"{empty[0].day} to {empty[-1].day}"
    kept = sum(day.rows > 0 for day in empty)
    text = f"{source} has no rows for {len(empty)} of the days asked for ({span})"
    return [text + (f"; {kept} of them were landed before and are kept" if kept else "")]
