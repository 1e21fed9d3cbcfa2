"""Whether an id is anywhere in a folder: in the bytes of every file, and in what compressed files hold.

A byte search over compressed data proves nothing, so Parquet, DuckDB, zip, gzip and zstd are decoded as well.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ZSTD = b"\x28\xb5\x2f\xfd"
GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
PARQUET = b"PAR1"
ENCODINGS = ("utf-8", "utf-16-le", "utf-32-le")
"""The last is how numpy keeps text."""


def found_in(folder: Path, needle: str) -> list[str]:
    """The files below a folder that hold these characters, and where in them."""
    hits = []
    for path in sorted(folder.rglob("*")):
        if needle in path.name:
            hits.append(f"{path.relative_to(folder)} (its name)")
        if path.is_file() and not path.is_symlink():
            hits += [f"{path.relative_to(folder)}{place}" for place in _places(path, needle.encode())]
    return hits


def _places(path: Path, needle: bytes) -> Iterator[str]:
    content = path.read_bytes()
    yield from _within(content, needle, "")
    if path.suffix == ".duckdb":
        yield from _tables(path, needle.decode())


def _within(content: bytes, needle: bytes, place: str) -> Iterator[str]:
    for encoding in ENCODINGS:
        if needle.decode().encode(encoding) in content:
            yield f"{place or ' (bytes)'} {encoding}"
    if content.startswith(PARQUET):
        table = pq.ParquetFile(io.BytesIO(content)).read()
        for name in table.column_names:
            if _column_has(table[name], needle.decode()):
                yield f"{place}:{name}"
    elif content.startswith(ZIP):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from _within(archive.read(member), needle, f"{place}!{member}")
    elif content.startswith(GZIP):
        yield from _within(gzip.decompress(content), needle, f"{place}!gzip")
    elif content.startswith(ZSTD):
        decoded = pa.input_stream(io.BytesIO(content), compression="zstd").read()
        yield from _within(decoded, needle, f"{place}!zstd")
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member)
                if file is not None:
                    yield from _within(file.read(), needle, f"{place}!{member.name}")


def _column_has(column: pa.ChunkedArray, needle: str) -> bool:
    while pa.types.is_list(column.type):
        column = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_struct(column.type) or pa.types.is_map(column.type):
        return needle in str(column.to_pylist())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    return any(value is not None and needle in value for value in column.unique().to_pylist())


def _tables(path: Path, needle: str) -> Iterator[str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where not internal"
        ).fetchall()
        for schema, table in tables:
            rows = connection.execute(
                f'select count(*) from "{schema}"."{table}" as one where contains(one::varchar, ?)', [needle]
            ).fetchone()
            if rows and rows[0]:
                yield f":{schema}.{table}"
