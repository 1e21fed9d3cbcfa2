"""Raw columns into typed arrays, vectorised: text, instants, numbers, JSON objects.

A raw column may have any type that a file format or a frame can give it. Each function returns the typed
array together with a mask of the values that were there but could not be read; absent values are null and
not in the mask.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.events import INSTANT

Mask = np.ndarray[Any, np.dtype[np.bool_]]
DAY_MICROS = 86_400_000_000
Floats = np.ndarray[Any, np.dtype[np.float64]]


def text(column: pd.Series | None, rows: int) -> pa.Array:
    """Strings, trimmed; empty is null; whole numbers become their decimal string (12345.0 -> "12345")."""
    if column is None:
        return pa.nulls(rows, pa.string())
    array = _as_arrow(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):
        array = _text_of_floats(array)
    elif not pa.types.is_string(array.type):
        array = array.cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(array)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def instant(column: pd.Series | None, rows: int) -> tuple[pa.Array, Mask]:
    """UTC instants in microseconds; a value without zone is UTC. Numbers are no instants."""
    if column is None:
        return pa.nulls(rows, INSTANT), np.zeros(rows, dtype=bool)
    array = _as_arrow(column, fallback=str)
    if pa.types.is_null(array.type):
        return pa.nulls(rows, INSTANT), np.zeros(rows, dtype=bool)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(array.type):
        return _instants_of_timestamps(array), np.zeros(rows, dtype=bool)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return _instants_of_text(array)
    return pa.nulls(rows, INSTANT), np.asarray(pc.is_valid(array))


def number(column: pd.Series | None, rows: int) -> tuple[pa.Array, Mask]:
    """Finite floats; text such as "12.50" is read, anything else (and infinity) is in the mask."""
    if column is None:
        return pa.nulls(rows, pa.float64()), np.zeros(rows, dtype=bool)
    array = _as_arrow(column, fallback=str)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        present = np.asarray(pc.is_valid(array)) & ~np.asarray(pc.fill_null(pc.equal(array, ""), False))
        values = _numbers_of_text(array)
    elif pa.types.is_boolean(array.type) or pa.types.is_temporal(array.type):
        present = np.asarray(pc.is_valid(array))
        values = np.full(rows, np.nan)
    else:
        array = array.cast(pa.float64())
        values = array.to_numpy(zero_copy_only=False).astype(np.float64)
        present = np.asarray(pc.is_valid(array)) & ~np.isnan(values)
    readable = np.isfinite(values)
    return pa.array(values, pa.float64(), mask=~readable), present & ~readable


def json_object(column: pd.Series | None, rows: int) -> tuple[pa.Array, Mask]:
    """JSON objects as text; a dict is written as JSON, text is kept as it is once it parses to an object."""
    if column is None:
        return pa.nulls(rows, pa.string()), np.zeros(rows, dtype=bool)
    if column.dtype == object and any(isinstance(value, dict) for value in column):
        column = column.map(_json_text, na_action="ignore")
    array = text(column, rows)
    encoded = array.dictionary_encode()
    wrong = np.array([not _is_json_object(value) for value in encoded.dictionary.to_pylist()], dtype=bool)
    if not wrong.any():
        return array, np.zeros(rows, dtype=bool)
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return array, (codes >= 0) & wrong[codes]


def mapped(array: pa.Array, rule: Callable[[str], str | None]) -> tuple[pa.Array, Mask]:
    """Each distinct text through ``rule`` once; the mask holds what the rule answered with None."""
    encoded = array.dictionary_encode()
    names = [rule(value) for value in encoded.dictionary.to_pylist()]
    result = pa.array(names, pa.string()).take(encoded.indices)
    return result, np.asarray(pc.and_(pc.is_valid(array), pc.is_null(result)))


def micros(array: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Microseconds since the epoch; 0 where null (ask ``present`` first)."""
    return np.asarray(array.cast(pa.int64()).fill_null(0))


def day(instants: pa.Array) -> pa.Array:
    """The UTC day of each instant, as date32; null where null. Needs no time zone database."""
    days = (micros(instants) // DAY_MICROS).astype(np.int32)
    return pa.array(days, mask=~present(instants)).cast(pa.date32())


def present(array: pa.Array) -> Mask:
    """True where the array has a value."""
    return np.asarray(pc.is_valid(array))


def _as_arrow(column: pd.Series, fallback: Callable[[Any], str] | None = None) -> pa.Array:
    try:
        array = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        as_text = fallback or _text_of_value
        array = pa.array(column.map(as_text, na_action="ignore"), pa.string(), from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array


def _text_of_value(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _text_of_floats(array: pa.Array) -> pa.Array:
    values = array.to_numpy(zero_copy_only=False).astype(np.float64)
    if np.all(np.isnan(values) | ((values == np.floor(values)) & (np.abs(values) < 2**53))):
        whole = pa.array(np.nan_to_num(values).astype(np.int64), mask=np.isnan(values))
        return whole.cast(pa.string())
    return pa.array([None if np.isnan(v) else _text_of_value(float(v)) for v in values], pa.string())


def _instants_of_timestamps(array: pa.Array) -> pa.Array:
    return array.cast(INSTANT, safe=False)  # without a zone, arrow takes the instant as UTC


def _instants_of_text(array: pa.Array) -> tuple[pa.Array, Mask]:
    given = np.asarray(pc.is_valid(array)) & ~np.asarray(pc.fill_null(pc.equal(array, ""), False))
    stamps = pd.to_datetime(array.to_pandas(), utc=True, errors="coerce", format="ISO8601")
    read = stamps.notna().to_numpy()
    values = stamps.dt.as_unit("us").to_numpy(dtype="datetime64[us]")
    return pa.array(values, pa.timestamp("us"), mask=~read).cast(INSTANT), given & ~read


def _numbers_of_text(array: pa.Array) -> Floats:
    return np.asarray(pd.to_numeric(array.to_pandas(), errors="coerce"), dtype=np.float64)


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _is_json_object(value: str) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except ValueError:
        return False
