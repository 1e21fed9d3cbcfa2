"""One event at a time and a table of them: the same rules, the same values."""

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from feature_repo.events import ALIASES, CHANNEL_ALIASES, CHANNELS, DEVICE_ALIASES, EVENT_SCHEMA, EVENT_TYPES
from feature_repo.single_event import FIELDS, EventRefused, read_event, with_order
from feature_repo.validation import validate_events

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MICROS = int(NOW.timestamp()) * 1_000_000
FULL: dict[str, Any] = {
    "event_id": "e1",
    "event_type": "purchase",
    "user_id": "anna",
    "item_id": "mug",
    "order_id": "o1",
    "event_at": "2026-01-31T10:30:00.123456Z",
    "session_id": "s1",
    "channel": "web",
    "device_type": "mobile",
    "quantity": 2,
    "price": 19.9,
    "currency": "eur",
    "query": "blue mug",
    "recommendation_id": "r1",
    "campaign_id": "c1",
    "experiment_id": "x1",
    "context": {"a": 1},
}
GOOD: list[dict[str, Any]] = [
    {},
    {"event_id": 17, "user_id": 42, "item_id": " mug ", "order_id": 7.0},
    {"order_id": None},
    {"order_id": ""},
    {"event_at": "2026-01-31"},
    {"event_at": "2026-01-31 10:30"},
    {"event_at": "2026-01-31T10:30:00+05:30"},
    {"event_at": "20260131T103000Z"},
    {"event_at": "1990-01-01T00:00:00Z"},
    {"event_at": "2026-01-31T12:59:59Z"},
    {"channel": None},
    {"channel": " "},
    {"device_type": "toaster"},
    {"device_type": ""},
    {"quantity": "2.5", "price": "0"},
    {"currency": " usd "},
    {"query": "  "},
    {"context": '{"a": 1}'},
    {"context": None},
    {"recommendation_id": "", "campaign_id": None, "experiment_id": 3},
    *({"event_type": name} for name in (*EVENT_TYPES, *ALIASES)),
    *({"channel": name} for name in (*CHANNELS, *CHANNEL_ALIASES)),
    *({"device_type": name} for name in DEVICE_ALIASES),
]
BAD: list[dict[str, Any]] = [
    {"event_type": None},
    {"event_type": "teleported"},
    {"event_at": "yesterday-ish"},
    {"event_at": "2026-W05-6"},
    {"event_at": "1989-12-31T23:59:59Z"},
    {"event_at": "2026-02-01T12:00:01Z"},
    {"event_type": "login", "user_id": None, "anonymous_id": "a1"},
    {"item_id": None},
    {"event_type": "order_cancel", "order_id": " "},
    {"quantity": None},
    {"price": None},
    {"event_type": "search", "query": ""},
    {"event_type": "recommendation_view", "recommendation_id": None},
    {"event_type": "experiment_exposure", "experiment_id": None},
    {"user_id": "a" * 257},
    {"quantity": "two"},
    {"quantity": True},
    {"quantity": 0},
    {"price": "dear"},
    {"price": -0.01},
    {"currency": "euro"},
    {"channel": "pigeon"},
    {"context": "[1]"},
]


def batch(row: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The valid row, or the reason of its rejection."""
    result = validate_events(pd.DataFrame([row | {"received_at": NOW}]))
    if result.valid.num_rows:
        return result.valid.to_pylist()[0], None
    return None, result.rejected["reason"].iloc[0]


def live(row: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """The same, one event at a time."""
    try:
        event = read_event(row, MICROS)
    except EventRefused as refused:
        return None, refused.reason
    assert event.event_id is not None
    event = with_order(event, event.event_id)
    instant = pd.Timestamp(event.event_at, unit="us", tz="UTC").to_pydatetime()
    values: dict[str, Any] = dict.fromkeys(EVENT_SCHEMA.names) | event.fields
    values |= {"event_id": event.event_id, "event_type": event.event_type, "user_id": event.user_id}
    values |= {"anonymous_id": event.anonymous_id, "event_at": instant, "received_at": NOW}
    return values, None


def comparable(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """`context` as the object that it says."""
    if values is not None and isinstance(values["context"], str):
        values["context"] = json.loads(values["context"])
    return values


def test_the_fields_are_those_of_the_contract() -> None:
    assert {*FIELDS, "received_at"} == set(EVENT_SCHEMA.names)


@pytest.mark.parametrize("changes", GOOD, ids=repr)
def test_both_read_the_same_values(changes: dict[str, Any]) -> None:
    expected, reason = batch(FULL | changes)
    assert reason is None
    assert comparable(live(FULL | changes)[0]) == comparable(expected)


@pytest.mark.parametrize("changes", BAD, ids=repr)
def test_both_refuse_for_the_same_reason(changes: dict[str, Any]) -> None:
    _, expected = batch(FULL | changes)
    assert expected is not None
    assert live(FULL | changes)[1] == expected
