"""One event at a time into the contract: the same rules as `feature_repo.validation`, without tables.

For the live path, where an event is accepted or refused while somebody waits. Where a batch of days bends
(an event a day ahead of its receipt, a visitor without any id), this refuses: whoever sends can still mend
it. A contract test holds the two together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import orjson

from feature_repo.events import (
    CHANNELS,
    DEFAULT_CHANNEL,
    EVENT_TYPES,
    canonical_channel,
    canonical_device,
    find_event_type,
    nearest_event_types,
)

MAX_ID_LENGTH = 256
MAX_QUERY_LENGTH = 1_000
MAX_CONTEXT_BYTES = 16_384
MAX_AHEAD_MICROS = 3_600_000_000
"""A client's clock may be this much ahead of ours."""
SHOWN_VALUE_LENGTH = 80

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EARLIEST_MICROS = (datetime(1990, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

UNKNOWN_TYPE = "unknown_event_type"
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "missing_event_type": "say what was done",
        UNKNOWN_TYPE: "GET /openapi.json lists the vocabulary",
        "missing_event_at": "give the instant of the act",
        "bad_event_at": "use ISO 8601 such as 2026-01-31T10:30:00Z",
        "event_at_out_of_range": "use an instant from 1990 on",
        "event_in_future": "use an instant that has come; check the clock of the sender",
        "missing_visitor": "say who acted: user_id, or anonymous_id while nobody has signed in",
        "missing_user_id": "this event type needs the customer (user_id or customer_id)",
        "missing_item_id": "this event type needs the product (item_id or product_id)",
        "missing_order_id": "this event type needs an order_id",
        "missing_quantity": "this event type needs a quantity, in units",
        "missing_price": "this event type needs a price, per unit",
        "missing_query": "this event type needs a query, the words that were searched for",
        "missing_recommendation_id": "this event type needs the recommendation_id of the answer",
        "missing_experiment_id": "this event type needs an experiment_id",
        "id_too_long": f"use at most {MAX_ID_LENGTH} characters",
        "bad_id": "use text without control characters, or a whole number",
        "bad_query": f"use text of at most {MAX_QUERY_LENGTH} characters",
        "bad_quantity": "use a finite number",
        "non_positive_quantity": "use a number above 0; a return is an event type of its own",
        "bad_price": "use a finite number",
        "negative_price": "use a number not below 0",
        "bad_currency": "use a three-letter ISO 4217 code such as EUR",
        "unknown_channel": f"use one of {', '.join(CHANNELS)}",
        "bad_device_type": "use text such as desktop, mobile or tablet",
        "bad_context": f"use a JSON object of at most {MAX_CONTEXT_BYTES} bytes",
        "unknown_field": "put it into context",
    }
)
"""Why an event is refused -> what to do about it."""


class EventRefused(ValueError):
    """An event breaks the contract: which rule, in which field, with which value, and the remedy."""

    def __init__(self, reason: str, field: str, value: object = None, remedy: str | None = None) -> None:
        self.reason = reason
        self.field = field
        self.given = value
        self.value = shown(value)
        self.remedy = remedy or REMEDIES[reason]
        problem = "is missing" if value is None else f"={self.value} cannot be used"
        separator = " " if value is None else ""
        super().__init__(f"{field}{separator}{problem}: {self.remedy}")


@dataclass(slots=True)
class SingleEvent:
    """An event that keeps the contract; instants in microseconds since 1970 UTC.

    `has_own_instant` is False where the sender gave none and the instant of receipt stands for it; `body` is
    `fields` (the other fields of the contract that are not null) as JSON with sorted keys.
    """

    event_id: str | None
    event_type: str
    user_id: str | None
    anonymous_id: str | None
    event_at: int
    has_own_instant: bool
    fields: dict[str, Any]


def read_event(row: Mapping[str, Any], received_at: int) -> SingleEvent:
    """The event of a row of the contract's fields, as JSON gives them; raises `EventRefused`.

    Types, channels and devices become canonical; a missing channel is `web`; a missing `event_at` is the
    instant of receipt.
    """
    fields: dict[str, Any] = {}
    for name, given in row.items():
        if given is None:
            continue
        read = _READERS.get(name)
        if read is None:
            raise EventRefused("unknown_field", name, given)
        value = read(name, given)
        if value is not None:
            fields[name] = value
    event_type = fields.pop("event_type", None)
    if event_type is None:
        raise EventRefused("missing_event_type", "event_type")
    event_at = fields.pop("event_at", None)
    if event_at is not None and event_at > received_at + MAX_AHEAD_MICROS:
        raise EventRefused("event_in_future", "event_at", row["event_at"])
    for name in EVENT_TYPES[event_type].required:
        if name not in fields:
            raise EventRefused(f"missing_{name}", name)
    user_id, anonymous_id = fields.pop("user_id", None), fields.pop("anonymous_id", None)
    if user_id is None and anonymous_id is None:
        raise EventRefused("missing_visitor", "user_id")
    fields.setdefault("channel", DEFAULT_CHANNEL)
    return SingleEvent(
        fields.pop("event_id", None),
        event_type,
        user_id,
        anonymous_id,
        received_at if event_at is None else event_at,
        event_at is not None,
        fields,
    )


def with_order(event: SingleEvent, event_id: str) -> SingleEvent:
    """The same event, given this id; a purchase without an order is an order of its own."""
    if event.event_type == "purchase":
        event.fields.setdefault("order_id", event_id)
    event.event_id = event_id
    return event


def body_of(event: SingleEvent) -> str:
    """The fields that have no column of their own, as the log stores them."""
    return orjson.dumps(event.fields, option=orjson.OPT_SORT_KEYS).decode()


def shown(value: object) -> str:
    """A value in a message: short."""
    text = repr(value)
    return text if len(text) <= SHOWN_VALUE_LENGTH else f"{text[:SHOWN_VALUE_LENGTH]}..."


def with_nearest_types(refused: EventRefused) -> EventRefused:
    """The same refusal of an event type, with the types that are spelled most like it."""
    near = _nearest(refused.value[:SHOWN_VALUE_LENGTH])
    if not near:
        return refused
    remedy = f"did you mean {' or '.join(near)}? {refused.remedy}"
    return EventRefused(refused.reason, refused.field, refused.given, remedy)


def read_id(name: str, value: Any) -> str | None:
    """An identifier: text, trimmed, or a whole number; None for none."""
    if value is None:
        return None
    if type(value) is str:
        text = value.strip()
    elif type(value) is int or (type(value) is float and value.is_integer()):
        text = str(int(value))
    else:
        raise EventRefused("bad_id", name, value)
    if len(text) > MAX_ID_LENGTH:
        raise EventRefused("id_too_long", name, value)
    if not text.isprintable() and _CONTROL.search(text):
        raise EventRefused("bad_id", name, value)
    return text or None


def _read_type(name: str, value: Any) -> str | None:
    if type(value) is not str:
        raise EventRefused(UNKNOWN_TYPE, name, value)
    if not value.strip():
        return None
    # No vocabulary has words this long; folding them would only cost time.
    found = _known_type(value) if len(value) <= SHOWN_VALUE_LENGTH else None
    if found is None:
        raise EventRefused(UNKNOWN_TYPE, name, value)
    return found


def _read_instant(name: str, value: Any) -> int | None:
    if type(value) is not str:
        raise EventRefused(f"bad_{name}", name, value)
    if not value:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise EventRefused(f"bad_{name}", name, value) from None
    if "W" in value:  # weeks are no days of the contract
        raise EventRefused(f"bad_{name}", name, value)
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    micros = (instant - EPOCH) // MICROSECOND
    if micros < EARLIEST_MICROS:
        raise EventRefused(f"{name}_out_of_range", name, value)
    return micros


def _read_number(name: str, value: Any) -> float | None:
    if type(value) is float or type(value) is int:
        number = float(value)
    elif type(value) is str and "_" not in value:
        if not value.strip():
            return None
        try:
            number = float(value)
        except ValueError:
            raise EventRefused(f"bad_{name}", name, value) from None
    else:
        raise EventRefused(f"bad_{name}", name, value)
    if not math.isfinite(number):
        raise EventRefused(f"bad_{name}", name, value)
    return number


def _read_quantity(name: str, value: Any) -> float | None:
    number = _read_number(name, value)
    if number is not None and number <= 0:
        raise EventRefused("non_positive_quantity", name, value)
    return number


def _read_price(name: str, value: Any) -> float | None:
    number = _read_number(name, value)
    if number is not None and number < 0:
        raise EventRefused("negative_price", name, value)
    return number


def _read_currency(name: str, value: Any) -> str | None:
    code = value.strip().upper() if type(value) is str else "?"
    if code and not (len(code) == 3 and code.isascii() and code.isalpha()):
        raise EventRefused("bad_currency", name, value)
    return code or None


def _read_channel(name: str, value: Any) -> str | None:
    if type(value) is str and not value.strip():
        return None
    channel = _channel(value) if type(value) is str and len(value) <= SHOWN_VALUE_LENGTH else None
    if channel is None:
        raise EventRefused("unknown_channel", name, value)
    return channel


def _read_device(name: str, value: Any) -> str | None:
    if type(value) is not str:
        raise EventRefused("bad_device_type", name, value)
    return _device(value[:SHOWN_VALUE_LENGTH]) if value.strip() else None


def _read_query(name: str, value: Any) -> str | None:
    text = value.strip() if type(value) is str else str(value) if type(value) in (int, float) else None
    if text is None or len(text) > MAX_QUERY_LENGTH:
        raise EventRefused("bad_query", name, value)
    return text or None


def _read_context(name: str, value: Any) -> dict[str, Any] | None:
    """An object, or its JSON text; its size is that of its JSON."""
    if type(value) is str:
        if not value.strip():
            return None
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise EventRefused("bad_context", name, value) from None
    if type(value) is not dict:
        raise EventRefused("bad_context", name, value)
    try:
        size = len(orjson.dumps(value))
    except TypeError:  # it nests deeper than what is read again
        raise EventRefused("bad_context", name, "{...}", "use fewer levels of nesting") from None
    if size > MAX_CONTEXT_BYTES:
        raise EventRefused("bad_context", name, value)
    return value or None


_known_type = lru_cache(maxsize=4096)(find_event_type)
_nearest = lru_cache(maxsize=1024)(nearest_event_types)
_channel = lru_cache(maxsize=1024)(canonical_channel)
_device = lru_cache(maxsize=1024)(canonical_device)

_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "event_id": read_id,
    "event_type": _read_type,
    "user_id": read_id,
    "anonymous_id": read_id,
    "item_id": read_id,
    "order_id": read_id,
    "event_at": _read_instant,
    "session_id": read_id,
    "channel": _read_channel,
    "device_type": _read_device,
    "quantity": _read_quantity,
    "price": _read_price,
    "currency": _read_currency,
    "query": _read_query,
    "recommendation_id": read_id,
    "campaign_id": read_id,
    "experiment_id": read_id,
    "context": _read_context,
}

FIELDS = tuple(_READERS)
"""What a row may hold: the contract's fields but `received_at`, which is ours to say."""
