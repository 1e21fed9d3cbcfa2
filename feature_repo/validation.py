"""Raw frames into tables of the contract; what breaks it is returned with reason, detail and raw form.

``validate_events(frame)`` and its two siblings are total: every row of the input is in exactly one of the
two results. Reasons are a closed list (``REASONS``); an adapter may reject a row itself by filling
``reject_reason`` (and ``reject_detail``), and may give the row's original form in columns that start with
``raw_``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo import columns
from feature_repo.columns import Mask
from feature_repo.content import CONTENT_KINDS, CONTENT_SCHEMA, canonical_content_kind
from feature_repo.events import (
    CHANNELS,
    CUSTOMER_SCHEMA,
    DEFAULT_CHANNEL,
    EVENT_SCHEMA,
    EVENT_TYPES,
    ITEM_SCHEMA,
    UnknownEventType,
    canonical_channel,
    canonical_device,
    canonical_event_type,
)
from feature_repo.marketing import SPEND_SCHEMA

RAW_PREFIX = "raw_"
MAX_ID_LENGTH = 256
CLOCK_SKEW = pd.Timedelta(days=1)
"""An event may be stamped this much later than it was received before it is held to be wrong."""
EARLIEST = pd.Timestamp("1990-01-01", tz="UTC")
LATEST = pd.Timestamp("2100-01-01", tz="UTC")

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "missing_event_id": "every event needs an id",
        "missing_event_type": "every event needs a type",
        "unknown_event_type": "not in the vocabulary of feature_repo/events.py",
        "missing_event_at": "every event needs its instant",
        "bad_event_at": "not an ISO 8601 instant",
        "event_at_out_of_range": "outside 1990 to 2100",
        "bad_received_at": "not an ISO 8601 instant between 1990 and 2100",
        "event_in_future": "more than a day later than it was received",
        "missing_user_id": "this event type needs a user_id",
        "missing_item_id": "this event type needs an item_id",
        "missing_order_id": "this event type needs an order_id",
        "missing_quantity": "this event type needs a quantity",
        "missing_price": "this event type needs a price",
        "missing_query": "this event type needs a query",
        "missing_recommendation_id": "this event type needs a recommendation_id",
        "missing_experiment_id": "this event type needs an experiment_id",
        "id_too_long": f"ids have at most {MAX_ID_LENGTH} characters",
        "bad_quantity": "not a finite number",
        "non_positive_quantity": "a quantity is above 0",
        "bad_price": "not a finite number",
        "negative_price": "a price is not below 0",
        "bad_currency": "not a three-letter ISO 4217 code",
        "unknown_channel": f"not one of {', '.join(CHANNELS)}",
        "bad_context": "not a JSON object",
        "duplicate": "this key came before",
        "bad_cost": "not a finite number of at least 0",
        "bad_stock": "not a whole number",
        "bad_attributes": "not a JSON object",
        "bad_first_seen_at": "not an ISO 8601 instant",
        "bad_created_at": "not an ISO 8601 instant",
        "bad_age": "not a whole number of years from 0 to 130",
        "missing_content_id": "every piece of content needs an id",
        "unknown_kind": f"not one of {', '.join(CONTENT_KINDS)}",
        "bad_popularity": "not a number from 0 to 1",
        "bad_season_month": "not a month from 1 to 12",
        "bad_published_at": "not an ISO 8601 instant",
        "missing_channel": "marketing spend needs its channel",
        "bad_day": "not a day between 1990 and 2100",
        "bad_amount": "not a finite number of at least 0",
    }
)
"""Why a row was rejected -> what the contract says. Adapters add reasons of their own source."""

REJECTED_COLUMNS = ("reason", "detail", "raw", "event_id", "received_at", "event_date")


class Validated(NamedTuple):
    """Rows that keep the contract, and those that do not.

    ``rejected`` has REJECTED_COLUMNS: ``raw`` is the row as JSON; ``event_date`` is the UTC day that the row
    belongs to (its own, else the day it was received, else None).
    """

    valid: pa.Table
    rejected: pd.DataFrame


@dataclass
class _Verdict:
    """The first broken rule of each row."""

    rows: int
    reasons: list[str] = field(default_factory=lambda: [""])
    codes: np.ndarray[Any, np.dtype[np.int16]] = field(init=False)
    fields: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.codes = np.zeros(self.rows, dtype=np.int16)

    def fail(self, mask: Mask, reason: str, column: str) -> None:
        if mask.any():
            self.fields[reason] = column
            self.codes[mask & (self.codes == 0)] = self._code(reason)

    def fail_given(self, reasons: pd.Series) -> None:
        """Rows that the adapter rejected, with its own reasons."""
        for reason in reasons.dropna().unique():
            self.codes[(reasons == reason).to_numpy(dtype=bool, na_value=False)] = self._code(str(reason))

    def _code(self, reason: str) -> int:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)

    @property
    def passed(self) -> Mask:
        return np.asarray(self.codes == 0)


def validate_events(frame: pd.DataFrame) -> Validated:
    """Raw events -> (table of EVENT_SCHEMA sorted by event_at, event_id; rejected rows).

    Types, channels and devices become canonical; a missing channel is ``web``; a missing received_at is
    event_at; a purchase without order_id is an order of its own. Of rows with one event_id the one received
    first is kept, the others are rejected as ``duplicate``.
    """
    rows = len(frame)
    verdict = _Verdict(rows)
    if "reject_reason" in frame:
        verdict.fail_given(frame["reject_reason"])
    data = _ids(frame, verdict)
    _check_types(frame, data, verdict)
    _check_instants(frame, data, verdict)
    _check_amounts(frame, data, verdict)
    _check_words(frame, data, verdict)
    _check_required(data, verdict)
    _check_duplicates(data["event_id"], columns.micros(data["received_at"]), verdict)
    valid = _table(data, EVENT_SCHEMA, verdict.passed)
    valid = valid.take(pc.sort_indices(valid, [("event_at", "ascending"), ("event_id", "ascending")]))
    return Validated(valid, _rejected(frame, data, verdict))


def row_days(frame: pd.DataFrame) -> pa.Array:
    """The UTC day (date32) that each raw event belongs to, valid or not: its own where that can be true,
    else the day on which it was received, else null."""
    found = _instants(frame)
    return columns.day(pc.coalesce(found.event_at, found.received_at))


def validate_items(frame: pd.DataFrame) -> Validated:
    """Raw items -> (table of ITEM_SCHEMA sorted by item_id, rejected rows); of one id the last row wins."""
    rows = len(frame)
    verdict = _Verdict(rows)
    names = ("item_id", "title", "category_path", "brand", "description")
    data = {name: columns.text(frame.get(name), rows) for name in names}
    data["category_path"], _ = columns.mapped(data["category_path"], _clean_path)
    _check_key(data["item_id"], "item_id", verdict)
    for name in ("price", "cost"):
        data[name], bad = columns.number(frame.get(name), rows)
        negative = np.asarray(pc.fill_null(pc.less(data[name], 0.0), False))
        verdict.fail(bad, f"bad_{name}", name)
        verdict.fail(negative, "negative_price" if name == "price" else "bad_cost", name)
    data["stock"] = _whole(frame, "stock", verdict)
    data["attributes"], bad = columns.json_object(frame.get("attributes"), rows)
    verdict.fail(bad, "bad_attributes", "attributes")
    data["first_seen_at"], bad = columns.instant(frame.get("first_seen_at"), rows)
    verdict.fail(bad, "bad_first_seen_at", "first_seen_at")
    return _keyed(frame, data, ITEM_SCHEMA, verdict)


def validate_customers(frame: pd.DataFrame) -> Validated:
    """Raw customers -> (table of CUSTOMER_SCHEMA sorted by user_id, rejected rows); the last row wins."""
    rows = len(frame)
    verdict = _Verdict(rows)
    data = {name: columns.text(frame.get(name), rows) for name in ("user_id", "gender", "location")}
    _check_key(data["user_id"], "user_id", verdict)
    data["created_at"], bad = columns.instant(frame.get("created_at"), rows)
    verdict.fail(bad, "bad_created_at", "created_at")
    data["age"] = _whole(frame, "age", verdict)
    outside = pc.or_(pc.less(data["age"], 0), pc.greater(data["age"], 130))
    verdict.fail(np.asarray(pc.fill_null(outside, False)), "bad_age", "age")
    data["attributes"], bad = columns.json_object(frame.get("attributes"), rows)
    verdict.fail(bad, "bad_attributes", "attributes")
    return _keyed(frame, data, CUSTOMER_SCHEMA, verdict)


def validate_content(frame: pd.DataFrame) -> Validated:
    """Raw content -> (table of CONTENT_SCHEMA sorted by content_id, rejected rows); the last row wins."""
    rows = len(frame)
    verdict = _Verdict(rows)
    names = ("content_id", "title", "category", "tags", "item_id", "author", "url")
    data = {name: columns.text(frame.get(name), rows) for name in names}
    _check_key(data["content_id"], "content_id", verdict)
    kind, unknown = columns.mapped(columns.text(frame.get("kind"), rows), canonical_content_kind)
    verdict.fail(unknown | ~columns.present(kind), "unknown_kind", "kind")
    data["kind"] = kind
    data["popularity"], bad = columns.number(frame.get("popularity"), rows)
    outside = pc.or_(pc.less(data["popularity"], 0.0), pc.greater(data["popularity"], 1.0))
    verdict.fail(bad | np.asarray(pc.fill_null(outside, False)), "bad_popularity", "popularity")
    data["season_month"] = _whole(frame, "season_month", verdict)
    outside = pc.or_(pc.less(data["season_month"], 1), pc.greater(data["season_month"], 12))
    verdict.fail(np.asarray(pc.fill_null(outside, False)), "bad_season_month", "season_month")
    data["published_at"], bad = columns.instant(frame.get("published_at"), rows)
    verdict.fail(bad, "bad_published_at", "published_at")
    data["attributes"], bad = columns.json_object(frame.get("attributes"), rows)
    verdict.fail(bad, "bad_attributes", "attributes")
    return _keyed(frame, data, CONTENT_SCHEMA, verdict)


def validate_marketing_spend(frame: pd.DataFrame) -> Validated:
    """Raw spend -> (table of SPEND_SCHEMA in the order of its rows, rejected rows)."""
    rows = len(frame)
    verdict = _Verdict(rows)
    data = {name: columns.text(frame.get(name), rows) for name in ("channel", "campaign_id")}
    verdict.fail(~columns.present(data["channel"]), "missing_channel", "channel")
    data["channel"] = pc.utf8_lower(data["channel"])
    instants, bad = columns.instant(frame.get("day"), rows)
    verdict.fail(bad | ~columns.present(instants) | ~_in_range(instants), "bad_day", "day")
    data["day"] = instants.cast(pa.date32())
    data["amount"], bad = columns.number(frame.get("amount"), rows)
    negative = np.asarray(pc.fill_null(pc.less(data["amount"], 0.0), False))
    verdict.fail(bad | negative | ~columns.present(data["amount"]), "bad_amount", "amount")
    return Validated(_table(data, SPEND_SCHEMA, verdict.passed), _rejected(frame, data, verdict))


def _ids(frame: pd.DataFrame, verdict: _Verdict) -> dict[str, pa.Array]:
    names = (
        "event_id", "user_id", "anonymous_id", "item_id", "order_id", "session_id",
        "recommendation_id", "campaign_id", "experiment_id",
    )  # fmt: skip
    data = {name: columns.text(frame.get(name), len(frame)) for name in names}
    verdict.fail(~columns.present(data["event_id"]), "missing_event_id", "event_id")
    for name, array in data.items():
        if array.null_count < len(array) and pc.max(pc.binary_length(array)).as_py() > MAX_ID_LENGTH:
            too_long = pc.fill_null(pc.greater(pc.utf8_length(array), MAX_ID_LENGTH), False)
            verdict.fail(np.asarray(too_long), "id_too_long", name)
    return data


def _check_types(frame: pd.DataFrame, data: dict[str, pa.Array], verdict: _Verdict) -> None:
    given = columns.text(frame.get("event_type"), len(frame))
    verdict.fail(~columns.present(given), "missing_event_type", "event_type")
    data["event_type"], unknown = columns.mapped(given, _event_type_or_none)
    verdict.fail(unknown, "unknown_event_type", "event_type")


def _check_instants(frame: pd.DataFrame, data: dict[str, pa.Array], verdict: _Verdict) -> None:
    found = _instants(frame)
    for reason, mask in found.broken:
        verdict.fail(mask, reason, "received_at" if reason == "bad_received_at" else "event_at")
    data["event_at"], data["received_at"] = found.event_at, found.received_at


@dataclass(frozen=True)
class _Instants:
    """event_at and received_at, null where they cannot be true, and which rule each row breaks."""

    event_at: pa.Array
    received_at: pa.Array
    broken: list[tuple[str, Mask]]


def _instants(frame: pd.DataFrame) -> _Instants:
    rows = len(frame)
    event_at, unreadable = columns.instant(frame.get("event_at"), rows)
    given = columns.present(event_at)
    outside = given & ~_in_range(event_at)
    received_at, bad_received = columns.instant(frame.get("received_at"), rows)
    bad_received |= columns.present(received_at) & ~_in_range(received_at)
    received_at = _without(received_at, bad_received)
    ahead = columns.micros(event_at) - columns.micros(received_at)
    too_late = given & columns.present(received_at) & (ahead > CLOCK_SKEW // pd.Timedelta(microseconds=1))
    event_at = _without(event_at, outside | too_late)
    broken = [
        ("bad_event_at", unreadable),
        ("missing_event_at", ~given),
        ("event_at_out_of_range", outside),
        ("bad_received_at", bad_received),
        ("event_in_future", too_late),
    ]
    return _Instants(event_at, pc.coalesce(received_at, event_at), broken)


def _without(array: pa.Array, mask: Mask) -> pa.Array:
    return pc.if_else(pa.array(mask), pa.scalar(None, array.type), array) if mask.any() else array


def _check_amounts(frame: pd.DataFrame, data: dict[str, pa.Array], verdict: _Verdict) -> None:
    rows = len(frame)
    data["quantity"], bad = columns.number(frame.get("quantity"), rows)
    verdict.fail(bad, "bad_quantity", "quantity")
    not_positive = pc.fill_null(pc.less_equal(data["quantity"], 0.0), False)
    verdict.fail(np.asarray(not_positive), "non_positive_quantity", "quantity")
    data["price"], bad = columns.number(frame.get("price"), rows)
    verdict.fail(bad, "bad_price", "price")
    verdict.fail(np.asarray(pc.fill_null(pc.less(data["price"], 0.0), False)), "negative_price", "price")


def _check_words(frame: pd.DataFrame, data: dict[str, pa.Array], verdict: _Verdict) -> None:
    rows = len(frame)
    currency, bad = columns.mapped(columns.text(frame.get("currency"), rows), _currency_or_none)
    data["currency"] = currency
    verdict.fail(bad, "bad_currency", "currency")
    channel, unknown = columns.mapped(columns.text(frame.get("channel"), rows), canonical_channel)
    verdict.fail(unknown, "unknown_channel", "channel")
    data["channel"] = channel.fill_null(DEFAULT_CHANNEL)
    data["device_type"], _ = columns.mapped(columns.text(frame.get("device_type"), rows), canonical_device)
    data["query"] = columns.text(frame.get("query"), rows)
    data["context"], bad = columns.json_object(frame.get("context"), rows)
    verdict.fail(bad, "bad_context", "context")


def _check_required(data: dict[str, pa.Array], verdict: _Verdict) -> None:
    encoded = data["event_type"].dictionary_encode()
    names = encoded.dictionary.to_pylist()
    codes = np.asarray(encoded.indices.fill_null(len(names)))
    for column in sorted({name for kind in EVENT_TYPES.values() for name in kind.required}):
        needs = np.array([column in EVENT_TYPES[name].required for name in names] + [False], dtype=bool)
        verdict.fail(needs[codes] & ~columns.present(data[column]), f"missing_{column}", column)
    is_purchase = np.array([name == "purchase" for name in names] + [False], dtype=bool)[codes]
    own_order = is_purchase & ~columns.present(data["order_id"])
    if own_order.any():
        data["order_id"] = pc.if_else(pa.array(own_order), data["event_id"], data["order_id"])


def _check_key(key: pa.Array, name: str, verdict: _Verdict) -> None:
    verdict.fail(~columns.present(key), f"missing_{name}", name)
    too_long = pc.fill_null(pc.greater(pc.utf8_length(key), MAX_ID_LENGTH), False)
    verdict.fail(np.asarray(too_long), "id_too_long", name)


def _check_duplicates(key: pa.Array, order: np.ndarray[Any, Any], verdict: _Verdict) -> None:
    """Of the rows that passed and share a key, only the one lowest in ``order`` (then first) stays."""
    codes = np.asarray(key.dictionary_encode().indices.fill_null(0))
    passed = np.flatnonzero(verdict.passed)
    counts = np.bincount(codes[passed], minlength=1)
    again = passed[counts[codes[passed]] > 1]
    ranked = again[np.lexsort((again, order[again], codes[again]))]
    repeated = np.zeros(verdict.rows, dtype=bool)
    repeated[ranked[1:]] = codes[ranked[1:]] == codes[ranked[:-1]]
    verdict.fail(repeated, "duplicate", "event_id")


def _keyed(frame: pd.DataFrame, data: dict[str, pa.Array], schema: pa.Schema, verdict: _Verdict) -> Validated:
    key = schema.names[0]
    _check_duplicates(data[key], -np.arange(verdict.rows), verdict)
    verdict.fields["duplicate"] = key
    valid = _table(data, schema, verdict.passed)
    return Validated(valid.take(pc.sort_indices(valid[key])), _rejected(frame, data, verdict))


def _table(data: dict[str, pa.Array], schema: pa.Schema, keep: Mask) -> pa.Table:
    table = pa.Table.from_arrays(
        [data[name].cast(schema.field(name).type) for name in schema.names], schema.names
    )
    kept = table if keep.all() else table.filter(pa.array(keep))
    return kept.cast(schema)


def _rejected(frame: pd.DataFrame, data: dict[str, pa.Array], verdict: _Verdict) -> pd.DataFrame:
    index = np.flatnonzero(~verdict.passed)
    rows = frame.iloc[index]
    reasons = [verdict.reasons[code] for code in verdict.codes[index]]
    take = pa.array(index)
    nulls = pa.nulls(verdict.rows, pa.timestamp("us", tz="UTC"))
    received = data.get("received_at", nulls).take(take)
    day_of = pc.coalesce(data.get("event_at", nulls).take(take), received)
    return pd.DataFrame(
        {
            "reason": pd.Series(reasons, dtype=object),
            "detail": pd.Series(_details(rows, reasons, verdict.fields), dtype=object),
            "raw": pd.Series(_raw_forms(rows), dtype=object),
            "event_id": data["event_id"].take(take).to_pandas() if "event_id" in data else None,
            "received_at": received.to_pandas(),
            "event_date": pd.Series(columns.day(day_of).to_pylist(), dtype=object),
        },
        columns=list(REJECTED_COLUMNS),
    )


def _details(rows: pd.DataFrame, reasons: list[str], fields: Mapping[str, str]) -> list[str]:
    given = rows["reject_detail"].tolist() if "reject_detail" in rows else [None] * len(reasons)
    values = {name: rows[name].tolist() for name in set(fields.values()) if name in rows}
    return [
        str(own) if isinstance(own, str) else _detail(reason, fields.get(reason), values, position)
        for position, (reason, own) in enumerate(zip(reasons, given, strict=True))
    ]


def _detail(reason: str, name: str | None, values: Mapping[str, list[Any]], position: int) -> str:
    rule = REASONS.get(reason, reason)
    if name is None:
        return rule
    value = values[name][position] if name in values else None
    return f"{name}={'null' if _is_null(value) else repr(value)}: {rule}"


def _raw_forms(rows: pd.DataFrame) -> list[str]:
    """Each row as JSON without its nulls: the ``raw_`` columns where the adapter gave them, else all."""
    raw = [name for name in rows.columns if name.startswith(RAW_PREFIX)]
    names = raw or [name for name in rows.columns if name not in ("reject_reason", "reject_detail")]
    keys = [name.removeprefix(RAW_PREFIX) if raw else name for name in names]
    lists = [rows[name].tolist() for name in names]
    return [
        json.dumps(
            {key: value for key, value in zip(keys, values, strict=True) if not _is_null(value)}, default=str
        )
        for values in zip(*lists, strict=True)
    ]


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _in_range(instants: pa.Array) -> Mask:
    low = pa.scalar(EARLIEST.to_pydatetime(), instants.type)
    high = pa.scalar(LATEST.to_pydatetime(), instants.type)
    inside = pc.and_(pc.greater_equal(instants, low), pc.less(instants, high))
    return np.asarray(pc.fill_null(inside, False))


def _whole(frame: pd.DataFrame, name: str, verdict: _Verdict) -> pa.Array:
    """A whole-number column, null where absent; fractions and other values fail as ``bad_<name>``."""
    array, bad = columns.number(frame.get(name), len(frame))
    values = np.asarray(array.fill_null(0.0))
    bad |= (values != np.floor(values)) | (np.abs(values) > 2**53)
    verdict.fail(bad, f"bad_{name}", name)
    return pa.array(np.where(bad, 0.0, values).astype(np.int64), mask=~columns.present(array) | bad)


def _event_type_or_none(value: str) -> str | None:
    try:
        return canonical_event_type(value)
    except UnknownEventType:
        return None


def _currency_or_none(value: str) -> str | None:
    code = value.upper()
    return code if len(code) == 3 and code.isascii() and code.isalpha() else None


def _clean_path(value: str) -> str | None:
    """ "a>b > c" -> "a > b > c"."""
    return " > ".join(part.strip() for part in value.split(">") if part.strip()) or None
