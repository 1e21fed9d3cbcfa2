"""Items, customers and content: one row per key, the newest description wins, the first sighting stays.

Marketing spend has no key but its day: a day that a source gives again replaces what was known of it.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.parquet_files import write_atomically

FIRST_SEEN = {"item_id": "first_seen_at", "user_id": "created_at", "content_id": "published_at"}


def upsert(path: Path, incoming: pa.Table) -> int:
    """Replaces the rows whose key is in ``incoming`` and keeps the others; returns the rows now there.

    The key is the schema's first column. Nothing is written when nothing changes. Raises LandingError.
    """
    before = pq.read_table(path, schema=incoming.schema) if path.is_file() else incoming.slice(0, 0)
    after = merged(before, incoming)
    if not path.is_file() or not after.equals(before):
        write_atomically(path, after)
    return int(after.num_rows)


def merged(before: pa.Table, incoming: pa.Table) -> pa.Table:
    """Both tables by key, ``incoming`` winning, sorted by key; the earlier first sighting is kept."""
    key = incoming.schema.names[0]
    seen = FIRST_SEEN[key]
    position = pc.index_in(incoming[key], before[key])
    instants = incoming.schema.field(seen).type
    earlier = pc.min_element_wise(
        incoming[seen].cast(pa.int64()), before[seen].take(position).cast(pa.int64())
    ).cast(instants)
    updated = incoming.set_column(incoming.schema.get_field_index(seen), incoming.schema.field(seen), earlier)
    kept = before.filter(pc.invert(pc.is_in(before[key], updated[key])))
    return pa.concat_tables([kept, updated]).sort_by(key).combine_chunks()


def replace_days(path: Path, incoming: pa.Table) -> None:
    """Replaces the rows of the days in ``incoming`` (its column `day`) and keeps those of other days.

    Writes an empty table where nothing is known yet. Raises LandingError.
    """
    before = pq.read_table(path, schema=incoming.schema) if path.is_file() else incoming.slice(0, 0)
    kept = before.filter(pc.invert(pc.is_in(before["day"], incoming["day"].combine_chunks())))
    after = pa.concat_tables([kept, incoming]).sort_by(
        [(name, "ascending") for name in incoming.column_names]
    )
    if not path.is_file() or not after.equals(before):
        write_atomically(path, after)
