"""Model outputs that are served as features: written here, read by Feast like any mart.

One flat file per instant, `features/predictions/<view>/<YYYY-MM-DD>.parquet`; the same instant again replaces
its file. So an entity and instant occur once, and a reader sees the old file or the new one, never a part.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureView
from feast.types import Array, FeastType, Float32, Float64, Int64, String, UnixTimestamp

from feature_repo.definitions import view_named
from feature_repo.errors import DuplicateRows, WrongColumns
from feature_repo.layout import Home
from feature_repo.offline_store import file_source
from feature_repo.sources import FEATURE_AT

KEPT_FILES = 30

ARROW_TYPES: dict[FeastType, pa.DataType] = {
    String: pa.string(),
    Int64: pa.int64(),
    Float64: pa.float64(),
    UnixTimestamp: pa.timestamp("us", "UTC"),
    Array(String): pa.list_(pa.string()),
    Array(Int64): pa.list_(pa.int64()),
    Array(Float32): pa.list_(pa.float32()),
}


def arrow_schema(view: FeatureView) -> pa.Schema:
    """Columns of the files behind a view: its key, then its fields."""
    keys = [(key, pa.string()) for key in view.join_keys]
    return pa.schema([*keys, *((field.name, ARROW_TYPES[field.dtype]) for field in view.features)])


def write_predictions(
    home: Home, view_name: str, rows: pa.Table, feature_at: datetime, kept_files: int = KEPT_FILES
) -> Path:
    """Publish one row per entity of a prediction view, all known from `feature_at` (a UTC midnight).

    `rows` has the view's key and fields except `feature_at`, in any order, of types that cast without loss.
    The oldest files beyond `kept_files` are removed. Raises `WrongColumns` and `DuplicateRows`.
    """
    view = view_named(view_name)
    at = feature_at.astimezone(UTC)
    table = _as_published(view, rows, at)
    folder = home.root / Path(file_source(view).path).parent
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{at:%Y-%m-%d}.parquet"
    unfinished = path.with_suffix(".writing")
    pq.write_table(table, unfinished, compression="zstd")
    unfinished.replace(path)
    for old in sorted(folder.glob("*.parquet"))[:-kept_files]:
        old.unlink()
    return path


def _as_published(view: FeatureView, rows: pa.Table, feature_at: datetime) -> pa.Table:
    schema = arrow_schema(view)
    expected = {name for name in schema.names if name != FEATURE_AT}
    if set(rows.column_names) != expected:
        raise WrongColumns(view.name, expected, rows.column_names)
    key = view.join_keys[0]
    if pc.count_distinct(rows[key]).as_py() != rows.num_rows:
        counts = rows.group_by(key).aggregate([([], "count_all")])
        raise DuplicateRows(view.name, counts.filter(pc.field("count_all") > 1)[key][0].as_py())
    stamped = rows.append_column(
        FEATURE_AT, pa.repeat(pa.scalar(feature_at, schema.field(FEATURE_AT).type), rows.num_rows)
    )
    return stamped.select(schema.names).cast(schema)
