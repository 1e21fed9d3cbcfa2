"""Between Arrow columns, the bytes of Feast values, and Python values.

Feast builds one protobuf object per value; here a column becomes bytes at once. The bytes are those that
Feast's own conversion gives (a test compares them), so any Feast client can read what we write.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from feast.protos.feast.types.Value_pb2 import FloatList, Int64List, StringList, Value
from feast.types import Array, FeastType, Float32, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

NULL = b""
# Feast writes a missing instant as the smallest integer, not as an empty value.
NULL_INSTANT = np.iinfo(np.int64).min

# Tags of the fields of feast.types.Value: field number << 3 | wire type.
_INT64_TAG, _DOUBLE_TAG, _INSTANT_TAG = 4 << 3, (5 << 3) | 1, 8 << 3

Column = list[bytes]


def entity_key(join_key: str, value: str) -> bytes:
    """Feast's serialized key (version 3) of one entity with one text id."""
    return key_prefix(join_key) + _sized(value.encode())


def entity_keys(join_key: str, values: Sequence[str]) -> list[bytes]:
    """The same for many ids."""
    prefix = key_prefix(join_key)
    return [prefix + _sized(value.encode()) for value in values]


def key_prefix(join_key: str) -> bytes:
    """What all serialized keys of one entity begin with: one key, its name, and that the id is text."""
    name = join_key.encode()
    text = ValueType.STRING.value
    return struct.pack("<III", 1, text, len(name)) + name + struct.pack("<I", text)


def entity_id(key: bytes, join_key: str) -> str:
    """The id in a serialized key."""
    start = len(key_prefix(join_key))
    (size,) = struct.unpack_from("<I", key, start)
    return key[start + 4 : start + 4 + size].decode()


def encode_column(column: pa.ChunkedArray, dtype: FeastType) -> Column:
    """One serialized value for each row of an Arrow column; a null is empty, as Feast writes it."""
    encode = _ENCODERS.get(dtype)
    if encode is None:
        raise TypeError(f"feature type {dtype} has no encoding; add one to feature_repo.encoding")
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    return encode(array)


def microseconds(column: pa.ChunkedArray) -> list[int]:
    """Instants as microseconds since 1970 UTC."""
    values: list[int] = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    return values


def varint(number: int) -> bytes:
    """Protobuf's encoding of a non-negative integer."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode_value(value: Value) -> Any:
    """The Python value: instants as UTC datetimes, lists as lists, missing as None."""
    kind = value.WhichOneof("val")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "unix_timestamp_val":
        return None if found == NULL_INSTANT else datetime.fromtimestamp(found, UTC)
    return list(found.val) if kind.endswith("_list_val") else found


def _sized(raw: bytes) -> bytes:
    return struct.pack("<I", len(raw)) + raw


def _encode_doubles(array: pa.Array) -> Column:
    values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    encoded = _fixed(_DOUBLE_TAG, values.astype("<f8"))
    for index in np.flatnonzero(np.isnan(values)):
        encoded[index] = NULL
    return encoded


def _encode_int64s(array: pa.Array) -> Column:
    encoded = _varints(_INT64_TAG, pc.fill_null(array, 0).to_numpy(zero_copy_only=False).astype(np.int64))
    for index in np.flatnonzero(_nulls(array)):
        encoded[index] = NULL
    return encoded


def _encode_instants(array: pa.Array) -> Column:
    micros = pc.fill_null(array.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), 0)
    seconds = np.floor_divide(micros.to_numpy(zero_copy_only=False), 1_000_000)
    seconds[_nulls(array)] = NULL_INSTANT
    return _varints(_INSTANT_TAG, seconds)


def _encode_strings(array: pa.Array) -> Column:
    known: dict[str | None, bytes] = {None: NULL}
    for text in pc.unique(array).to_pylist():
        if text is not None:
            known[text] = Value(string_val=text).SerializeToString()
    return [known[text] for text in array.to_pylist()]


def _encode_string_lists(array: pa.Array) -> Column:
    return [
        NULL if texts is None else Value(string_list_val=StringList(val=texts)).SerializeToString()
        for texts in array.to_pylist()
    ]


def _encode_int64_lists(array: pa.Array) -> Column:
    return [
        NULL if numbers is None else Value(int64_list_val=Int64List(val=numbers)).SerializeToString()
        for numbers in array.to_pylist()
    ]


def _encode_float_lists(array: pa.Array) -> Column:
    return [
        NULL if numbers is None else Value(float_list_val=FloatList(val=numbers)).SerializeToString()
        for numbers in array.to_pylist()
    ]


_ENCODERS: dict[FeastType, Callable[[pa.Array], Column]] = {
    Float64: _encode_doubles,
    Int64: _encode_int64s,
    UnixTimestamp: _encode_instants,
    String: _encode_strings,
    Array(String): _encode_string_lists,
    Array(Int64): _encode_int64_lists,
    Array(Float32): _encode_float_lists,
}


def _nulls(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _fixed(tag: int, values: npt.NDArray[Any]) -> Column:
    """Tag and the raw bytes of fixed-width values."""
    width = values.dtype.itemsize
    rows = np.empty((len(values), width + 1), dtype=np.uint8)
    rows[:, 0] = tag
    rows[:, 1:] = values.view(np.uint8).reshape(len(values), width)
    return _split(rows)


def _varints(tag: int, values: npt.NDArray[np.int64]) -> Column:
    """Tag and varint of each integer; negative ones take ten bytes, as protobuf has it."""
    distinct, positions = np.unique(values, return_inverse=True)
    unsigned = distinct.view(np.uint64)
    encoded = np.empty(len(distinct), dtype=object)
    length = np.ones(len(distinct), dtype=np.int64)
    for bits in range(7, 64, 7):
        length += unsigned >= np.uint64(1) << np.uint64(bits)
    for size in np.unique(length):
        rows = np.flatnonzero(length == size)
        shifted = unsigned[rows, None] >> (np.arange(size, dtype=np.uint64) * np.uint64(7))
        digits = (shifted & np.uint64(127)).astype(np.uint8)
        digits[:, :-1] |= 128
        tagged = np.empty((len(rows), size + 1), dtype=np.uint8)
        tagged[:, 0] = tag
        tagged[:, 1:] = digits
        encoded[rows] = _split(tagged)
    return list(encoded[positions])


def _split(rows: npt.NDArray[np.uint8]) -> Column:
    """Each row of a byte matrix as bytes."""
    raw, width = rows.tobytes(), rows.shape[1]
    return [raw[start : start + width] for start in range(0, len(raw), width)]
