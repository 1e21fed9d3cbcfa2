"""Parquet files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.errors import LandingError, one_line

TEMPORARY_PREFIX = ".unfinished-"


def write_atomically(path: Path, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
    """Writes the table beside ``path`` and renames it over ``path`` once it is on disk.

    A kill at any point leaves the old file or the new one; the next write takes over what a killed writer
    left unfinished. What the disk refuses raises LandingError and leaves no half-written file.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}.part")
    if metadata is not None:
        table = table.replace_schema_metadata({key: str(value) for key, value in metadata.items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd", compression_level=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 (one seam for the crash tests)
    except OSError as error:
        remove(temporary)
        raise refused(path, error) from error


def remove(path: Path) -> None:
    """Removes a file that may not be there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise refused(path, error) from error


def refused(path: Path, error: OSError) -> LandingError:
    """The one-line form of a disk's refusal."""
    cause = error.strerror or one_line(error)
    return LandingError(
        f"{path}: cannot be written ({cause}). Free space or permission there, or set ATTUNE_HOME elsewhere, "
        "and run again: what was landed before is untouched."
    )


def read_metadata(path: Path) -> dict[str, str]:
    """The key-value metadata of a Parquet file, without reading its rows."""
    stored = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in stored.items()}
