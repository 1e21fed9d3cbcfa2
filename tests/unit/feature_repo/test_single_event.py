"""One event at a time: what is read, what is refused, and what the refusal says."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.events import EVENT_TYPES
from feature_repo.single_event import (
    FIELDS,
    MAX_AHEAD_MICROS,
    MAX_CONTEXT_BYTES,
    EventRefused,
    SingleEvent,
    body_of,
    read_event,
    with_nearest_types,
    with_order,
)

NOW = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1_000_000)
VIEW = {"user_id": "anna", "event_type": "product_view", "item_id": "mug"}


def read(**changes: Any) -> SingleEvent:
    return read_event(VIEW | changes, NOW)


def refused(**changes: Any) -> EventRefused:
    with pytest.raises(EventRefused) as problem:
        read(**changes)
    return problem.value


def test_an_event_is_read_into_the_contract() -> None:
    event = read(event_type="PRODUCT_VIEW", device_type="Smartphone", price="12.50", context={"page": "/mug"})
    assert event == SingleEvent(
        event_id=None,
        event_type="product_view",
        user_id="anna",
        anonymous_id=None,
        event_at=NOW,
        has_own_instant=False,
        fields={
            "item_id": "mug",
            "device_type": "mobile",
            "price": 12.5,
            "context": {"page": "/mug"},
            "channel": "web",
        },
    )


def test_whole_numbers_become_ids_and_text_is_trimmed() -> None:
    event = read(user_id=12345, item_id=" mug ", session_id=7.0, order_id="")
    assert (event.user_id, event.fields["item_id"], event.fields["session_id"]) == ("12345", "mug", "7")
    assert "order_id" not in event.fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T10:30:00Z", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
        ("2026-01-31T10:30:00+05:30", datetime(2026, 1, 31, 5, 0, tzinfo=UTC)),
        ("2026-01-31T10:30:00", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
        ("2026-01-31 10:30:00.123456", datetime(2026, 1, 31, 10, 30, 0, 123456, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("1995-06-01", datetime(1995, 6, 1, tzinfo=UTC)),
    ],
)
def test_instants_have_a_zone_or_are_utc_and_may_be_old(text: str, expected: datetime) -> None:
    event = read(event_at=text)
    assert event.event_at == round(expected.timestamp() * 1_000_000)
    assert event.has_own_instant


def test_a_clock_may_be_ahead_by_an_hour_and_no_more() -> None:
    at_limit = datetime.fromtimestamp((NOW + MAX_AHEAD_MICROS) / 1_000_000, UTC)
    assert read(event_at=at_limit.isoformat()).event_at == NOW + MAX_AHEAD_MICROS
    assert refused(event_at="2026-01-31T13:00:00.000001Z").reason == "event_in_future"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"event_type": None}, "missing_event_type"),
        ({"event_type": " "}, "missing_event_type"),
        ({"event_type": "teleported"}, "unknown_event_type"),
        ({"event_type": 7}, "unknown_event_type"),
        ({"event_type": "view" * 1000}, "unknown_event_type"),
        ({"event_at": "yesterday-ish"}, "bad_event_at"),
        ({"event_at": 1_769_855_400}, "bad_event_at"),
        ({"event_at": "2026-W05-6"}, "bad_event_at"),
        ({"event_at": "1970-01-01"}, "event_at_out_of_range"),
        ({"event_at": "9999-12-31"}, "event_in_future"),
        ({"user_id": None}, "missing_visitor"),
        ({"user_id": None, "anonymous_id": "a", "event_type": "login"}, "missing_user_id"),
        ({"item_id": None}, "missing_item_id"),
        ({"event_type": "search"}, "missing_query"),
        ({"event_type": "purchase", "price": 3}, "missing_quantity"),
        ({"event_type": "purchase", "quantity": 3}, "missing_price"),
        ({"event_type": "order_cancel"}, "missing_order_id"),
        ({"event_type": "recommendation_view"}, "missing_recommendation_id"),
        ({"event_type": "experiment_exposure"}, "missing_experiment_id"),
        ({"user_id": "a" * 257}, "id_too_long"),
        ({"user_id": True}, "bad_id"),
        ({"user_id": {"id": 1}}, "bad_id"),
        ({"user_id": 1.5}, "bad_id"),
        ({"item_id": "mug\x00"}, "bad_id"),
        ({"quantity": 0}, "non_positive_quantity"),
        ({"quantity": "many"}, "bad_quantity"),
        ({"quantity": True}, "bad_quantity"),
        ({"price": -1}, "negative_price"),
        ({"price": "NaN"}, "bad_price"),
        ({"price": "1_000"}, "bad_price"),
        ({"price": [1]}, "bad_price"),
        ({"currency": "euro"}, "bad_currency"),
        ({"currency": 978}, "bad_currency"),
        ({"channel": "pigeon"}, "unknown_channel"),
        ({"channel": 3}, "unknown_channel"),
        ({"device_type": ["phone"]}, "bad_device_type"),
        ({"query": "a" * 1001}, "bad_query"),
        ({"query": {}}, "bad_query"),
        ({"context": "[1]"}, "bad_context"),
        ({"context": "{"}, "bad_context"),
        ({"context": 3}, "bad_context"),
        ({"context": {"x": "a" * MAX_CONTEXT_BYTES}}, "bad_context"),
        ({"teleport": 1}, "unknown_field"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert refused(**changes).reason == reason


def test_a_refusal_names_field_value_and_remedy() -> None:
    assert str(refused(price=-1)) == "price=-1 cannot be used: use a number not below 0"
    assert str(refused(item_id=None)).startswith("item_id is missing: this event type needs the product")
    assert len(str(refused(user_id="x" * 5000))) < 200


def test_nesting_without_end_is_refused() -> None:
    context: dict[str, Any] = {}
    inner = context
    for _ in range(2000):
        inner["a"] = {}
        inner = inner["a"]
    assert refused(context=context).reason == "bad_context"


def test_the_types_spelled_most_like_an_unknown_one_are_named() -> None:
    hinted = with_nearest_types(refused(event_type="prodct_veiw"))
    assert "did you mean product_view" in str(hinted)
    assert str(with_nearest_types(refused(event_type="%%%"))) == str(refused(event_type="%%%"))


def test_a_purchase_without_an_order_is_an_order_of_its_own() -> None:
    bought = read(event_type="purchase", quantity=1, price=2)
    assert with_order(bought, "e1").fields["order_id"] == "e1"
    own = read(event_type="purchase", quantity=1, price=2, order_id="o7")
    assert with_order(own, "e1").fields["order_id"] == "o7"
    assert "order_id" not in with_order(read(), "e1").fields


def test_the_body_is_the_same_whatever_the_order_of_fields() -> None:
    one = read_event(VIEW | {"price": 1, "context": {"b": 1, "a": {"d": 1, "c": 2}}}, NOW)
    other = read_event({"context": {"a": {"c": 2, "d": 1}, "b": 1}, "price": "1.0"} | VIEW, NOW)
    assert body_of(one) == body_of(other)
    assert body_of(one) == '{"channel":"web","context":{"a":{"c":2,"d":1},"b":1},"item_id":"mug","price":1.0}'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from([*EVENT_TYPES, "view", "nonsense"])


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), TYPES)
def test_whatever_comes_is_read_or_refused(row: dict[str, Any], event_type: str) -> None:
    try:
        event = read_event({"event_type": event_type} | row, NOW)
    except EventRefused as problem:
        assert problem.field in FIELDS
        assert problem.remedy
    else:
        assert event.event_type in EVENT_TYPES
        assert event.user_id or event.anonymous_id
        body_of(event)
