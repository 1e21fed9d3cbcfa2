"""Rows out of files that were landed or written before, without making their days look new.

Whoever is erased leaves the aggregates as they were: counts of a day, popularity, item pairs. So a day that
was up to date stays up to date, and a later rebuild of it, for whatever reason, computes it without them. A
kill in between leaves days that look changed, which costs their rebuild and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.erasure import SUBJECT_COLUMNS, Mask
from feature_repo.layout import Home
from orchestration.completion import ONLINE_NOTE, read_note, write_note
from orchestration.landed import (
    content_hash,
    event_metadata,
    events_path,
    landed_days,
    quarantine_path,
    source_days,
)
from orchestration.marts import MANIFEST
from orchestration.parquet_files import read_metadata, remove, write_atomically


def has_ids(table: pa.Table, ids: pa.Array) -> Mask:
    """Which rows have one of the ids in a subject column."""
    found = np.zeros(table.num_rows, dtype=bool)
    for name in SUBJECT_COLUMNS:
        if name in table.column_names:
            column = table[name].cast(pa.string())
            found |= np.asarray(pc.is_in(column, ids))
    return found


def subject_columns_of(path: Path) -> list[str]:
    """The subject columns of a Parquet file."""
    return [name for name in pq.read_schema(path).names if name in SUBJECT_COLUMNS]


def drop_rows(path: Path, ids: pa.Array) -> int:
    """Writes a Parquet file again without the rows of these ids; how many those were."""
    names = subject_columns_of(path)
    if not names:
        return 0
    with pq.ParquetFile(path) as file:
        is_theirs = has_ids(file.read(columns=names), ids)
        if not is_theirs.any():
            return 0
        table = file.read()
    kept = table.filter(pa.array(~is_theirs))
    write_atomically(path, kept, read_metadata(path) if table.schema.metadata else None)
    return int(is_theirs.sum())


def shrink_day(home: Home, source: str, day: date, events: pa.Table, quarantine: pa.Table | None) -> None:
    """Replaces a landed day by fewer rows of it; the order of the writes is landing's."""
    path, refused = events_path(home, source, day), quarantine_path(home, source, day)
    metadata = read_metadata(path)
    if quarantine is not None:
        duplicates = pc.sum(pc.equal(quarantine["reason"], "duplicate")).as_py() or 0
        metadata |= {
            "attune.quarantined": str(quarantine.num_rows - duplicates),
            "attune.quarantine_hash": content_hash(quarantine),
            "attune.duplicates": str(duplicates),
        }
        if quarantine.num_rows:
            write_atomically(refused, quarantine)
        else:
            remove(refused)
    write_atomically(path, events, {**metadata, **event_metadata(events)})


def landed_files(home: Home) -> Iterator[tuple[str, date, Path]]:
    """Source, day and path of every landed event file."""
    names = sorted({path.stem for path in home.events.glob("event_date=*/*.parquet")})
    for source in names:
        for day, path in source_days(home, source).items():
            yield source, day, path


@contextmanager
def steady_days(home: Home) -> Iterator[None]:
    """Days that were up to date before the block are so after it, though their landed rows became fewer."""
    before = landed_days(home)
    yield
    after = landed_days(home)
    changed = {str(day): (before[day], after[day]) for day in before if after.get(day, "") != before[day]}
    if not changed:
        return
    _follow(home.current_marts.resolve() / MANIFEST, changed)
    _follow(home.features / ONLINE_NOTE, changed)


def _follow(note: Path, changed: dict[str, tuple[str, str]]) -> None:
    values = read_note(note)
    if values is None:
        return
    days: dict[str, str] = values["days"]
    for day, (old, new) in changed.items():
        if days.get(day) == old:
            days[day] = new
    write_note(note, values)


def relinked(paths: Sequence[Path], rewrite: Callable[[Path], int]) -> tuple[int, list[Path]]:
    """Rewrites files that may be hard links of each other, each content once; rows gone, changed paths."""
    done: dict[tuple[int, int], tuple[int, Path]] = {}
    removed, changed = 0, []
    for path in paths:
        stat = path.stat()
        key = (stat.st_dev, stat.st_ino)
        if key not in done:
            done[key] = (rewrite(path), path)
            removed += done[key][0]
        elif done[key][0]:
            _link_over(done[key][1], path)
        if done[key][0]:
            changed.append(path)
    return removed, changed


def _link_over(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    os.link(source, temporary)
    temporary.replace(target)


def read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
