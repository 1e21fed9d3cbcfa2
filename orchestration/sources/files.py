"""Tables from Parquet, CSV and NDJSON files, with errors that name the file, the column and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from orchestration.errors import SourceColumnMissing, SourceColumnType, SourceMissing, SourceUnreadable

FORMATS = ("parquet", "csv", "ndjson")
_SUFFIXES: Mapping[str, str] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}


def find_files(path: Path, expected: str, suffixes: Sequence[str] = (".parquet", ".csv")) -> list[Path]:
    """The file itself, or the folder's files of the first suffix that it has; raises SourceMissing."""
    if path.is_file():
        return [path]
    for suffix in suffixes:
        found = sorted(file for file in path.glob(f"*{suffix}") if file.is_file())
        if found:
            return found
    raise SourceMissing(path, expected)


def format_of(path: Path, declared: str | None = None) -> str:
    """``parquet``, ``csv`` or ``ndjson``: as declared, else by the suffix before a ``.gz``."""
    if declared is not None:
        return declared
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    name = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if name is None:
        raise SourceUnreadable(path, f"unknown file type; expected one of {', '.join(sorted(_SUFFIXES))}")
    return name


def column_names(path: Path, declared: str | None = None) -> list[str]:
    """The file's columns; a Parquet file's without reading its rows."""
    if format_of(path, declared) == "parquet":
        return list(_reading(path, lambda: pq.read_schema(path)).names)
    return list(read_file(path, declared=declared).column_names)


def read_file(
    path: Path,
    columns: Sequence[str] | None = None,
    declared: str | None = None,
    as_text: bool = False,
) -> pa.Table:
    """One file as a table; ``as_text`` keeps a CSV's values as they are written (ids with leading zeros).

    Raises SourceMissing, SourceUnreadable, and SourceColumnMissing for a name in ``columns`` that is absent.
    """
    kind = format_of(path, declared)
    if kind == "parquet":
        names = _reading(path, lambda: pq.read_schema(path)).names
        require(path, columns or (), names)
        return _reading(path, lambda: pq.ParquetFile(path).read(columns=list(columns) if columns else None))
    if kind == "csv":
        table = _reading(path, lambda: _read_csv(path, as_text))
    else:
        table = _reading(path, lambda: _read_ndjson(path))
    require(path, columns or (), table.column_names)
    return table.select(list(columns)) if columns else table


def require(path: Path, wanted: Iterable[str], existing: list[str]) -> None:
    """Raises SourceColumnMissing for the first wanted column that the file does not have."""
    for column in wanted:
        if column not in existing:
            raise SourceColumnMissing(path, column, existing)


def require_type(path: Path, table: pa.Table, column: str, expected: str) -> None:
    """Raises SourceColumnType unless the column is of a kind: ``text``, ``number`` or ``timestamp``."""
    found = table.schema.field(column).type
    if not _KINDS[expected](found) and not pa.types.is_null(found):
        raise SourceColumnType(path, column, f"a {expected}", str(found))


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(
        pa.types.is_string(plain)
        or pa.types.is_large_string(plain)
        or pa.types.is_integer(plain)
        or pa.types.is_floating(plain)
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_timestamp(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


_KINDS: Mapping[str, Callable[[pa.DataType], bool]] = {
    "text": _is_text,
    "number": _is_number,
    "timestamp": _is_timestamp,
}


def _read_csv(path: Path, as_text: bool) -> pa.Table:
    options = pa_csv.ConvertOptions(strings_can_be_null=True, null_values=[""])
    if as_text:
        with pa_csv.open_csv(path) as reader:
            names = reader.schema.names
        options.column_types = {name: pa.string() for name in names}
    return pa_csv.read_csv(path, convert_options=options)


def _read_ndjson(path: Path) -> pa.Table:
    """Instants stay text: the reader would drop the zone that they are written with."""
    table = pa_json.read_json(path)
    kept = [
        field.with_type(pa.string()) if pa.types.is_timestamp(field.type) else field for field in table.schema
    ]
    if kept == list(table.schema):
        return table
    return pa_json.read_json(path, parse_options=pa_json.ParseOptions(explicit_schema=pa.schema(kept)))


def _reading(path: Path, read: Callable[[], pa.Table]) -> pa.Table:
    if not path.is_file():
        raise SourceMissing(path, "a file")
    try:
        return read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceUnreadable(path, str(error)) from error
