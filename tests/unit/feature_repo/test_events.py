"""The vocabulary and the contract: spellings, required fields, reasons, idempotence."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.events import (
    ALIASES,
    CUSTOMER_SCHEMA,
    EVENT_SCHEMA,
    EVENT_TYPES,
    ITEM_SCHEMA,
    SHOP_ACTS,
    UnknownEventType,
    canonical_event_type,
)
from feature_repo.validation import (
    REASONS,
    row_days,
    validate_customers,
    validate_events,
    validate_items,
)
from tests.factories import purchase, view

NAMED_BY_THE_REQUIREMENTS = [
    *("PAGE_VIEW", "PRODUCT_VIEW", "SEARCH", "ADD_TO_CART", "PURCHASE", "WISHLIST_ADD", "REVIEW", "RATING"),
    *(
        "EMAIL_OPEN",
        "PUSH_NOTIFICATION",
        "LOGIN",
        "LOGOUT",
        "CATEGORY_BROWSE",
        "BRAND_BROWSE",
        "FILTER_APPLIED",
    ),
    *("RECOMMENDATION_VIEW", "BUNDLE_VIEW", "CART_ABANDONMENT", "product_viewed", "view", "click"),
    *("behavior_detected", "experience_served", "conversion_achieved", "conversion_attributed"),
]


def rejected(**fields: Any) -> dict[str, Any]:
    """The only rejected row of a frame with one purchase that has these fields."""
    result = validate_events(pd.DataFrame([purchase("e1", **fields)]))
    assert result.valid.num_rows == 0
    return dict(result.rejected.iloc[0])


def accepted(**fields: Any) -> dict[str, Any]:
    """The only valid row of a frame with one purchase that has these fields."""
    result = validate_events(pd.DataFrame([purchase("e1", **fields)]))
    assert list(result.rejected["detail"]) == []
    return dict(result.valid.to_pylist()[0])


def test_the_vocabulary_is_closed_and_large_enough() -> None:
    assert len(EVENT_TYPES) >= 50
    assert all(name == kind.name and name == name.lower() for name, kind in EVENT_TYPES.items())
    assert set(ALIASES.values()) <= set(EVENT_TYPES)
    assert not set(ALIASES) & set(EVENT_TYPES)
    assert set(EVENT_TYPES) >= SHOP_ACTS


def test_required_fields_are_fields_of_the_contract() -> None:
    for kind in EVENT_TYPES.values():
        assert set(kind.required) <= set(EVENT_SCHEMA.names)
        assert all(f"missing_{name}" in REASONS for name in kind.required)


@pytest.mark.parametrize("name", NAMED_BY_THE_REQUIREMENTS)
def test_every_type_that_the_requirements_name_is_known(name: str) -> None:
    assert canonical_event_type(name) in EVENT_TYPES


@pytest.mark.parametrize(
    "spelling", ["view", "product_view", "PRODUCT_VIEW", "product_viewed", "Product Viewed", "productViewed"]
)
def test_all_spellings_of_a_product_view_are_one_type(spelling: str) -> None:
    assert canonical_event_type(spelling) == "product_view"


@pytest.mark.parametrize(
    ("spelling", "name"), [("order", "purchase"), ("Refund", "return"), ("addToCart", "add_to_cart")]
)
def test_aliases_lead_to_their_type(spelling: str, name: str) -> None:
    assert canonical_event_type(spelling) == name


@given(st.sampled_from(sorted([*EVENT_TYPES, *ALIASES])), st.sampled_from([str.upper, str.title, str.lower]))
def test_case_hyphens_and_spaces_do_not_matter(name: str, case: Any) -> None:
    expected = ALIASES.get(name, name)
    for separator in ("_", "-", " "):
        assert canonical_event_type(case(name).replace("_", separator)) == expected


def test_an_unknown_type_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownEventType, match=r"'purchse'; did you mean 'purchase'\?"):
        canonical_event_type("purchse")


def test_a_valid_event_has_the_schema_and_canonical_words() -> None:
    row = accepted(event_type="Buy", channel="Mobile", device_type="Phone", currency="eur", user_id=17)
    assert (row["event_type"], row["channel"], row["device_type"]) == ("purchase", "mobile_app", "mobile")
    assert (row["currency"], row["user_id"]) == ("EUR", "17")
    assert validate_events(pd.DataFrame([purchase("e1")])).valid.schema.equals(EVENT_SCHEMA)


def test_whole_floats_are_ids_without_a_fraction() -> None:
    assert accepted(user_id=13085.0)["user_id"] == "13085"


def test_missing_optional_fields_get_their_documented_defaults() -> None:
    row = accepted(order_id=None, user_id="  ")
    assert row["order_id"] == "e1"
    assert row["user_id"] is None
    assert row["channel"] == "web"
    assert row["received_at"] == row["event_at"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"event_id": None}, "missing_event_id"),
        ({"event_id": "x" * 300}, "id_too_long"),
        ({"event_type": ""}, "missing_event_type"),
        ({"event_type": "teleported"}, "unknown_event_type"),
        ({"event_at": None}, "missing_event_at"),
        ({"event_at": "yesterday-ish"}, "bad_event_at"),
        ({"event_at": 1740822900}, "bad_event_at"),
        ({"event_at": "1970-01-01T00:00:00Z"}, "event_at_out_of_range"),
        ({"event_at": "2025-03-05T00:00:00Z", "received_at": "2025-03-01T00:00:00Z"}, "event_in_future"),
        ({"received_at": "soon"}, "bad_received_at"),
        ({"item_id": None}, "missing_item_id"),
        ({"quantity": None}, "missing_quantity"),
        ({"quantity": "two"}, "bad_quantity"),
        ({"quantity": float("inf")}, "bad_quantity"),
        ({"quantity": 0}, "non_positive_quantity"),
        ({"price": None}, "missing_price"),
        ({"price": "free"}, "bad_price"),
        ({"price": -0.01}, "negative_price"),
        ({"currency": "Euro"}, "bad_currency"),
        ({"channel": "carrier pigeon"}, "unknown_channel"),
        ({"context": "{broken"}, "bad_context"),
        ({"context": "[1]"}, "bad_context"),
        ({"event_type": "search"}, "missing_query"),
        ({"event_type": "login", "user_id": None}, "missing_user_id"),
        ({"event_type": "experiment_exposure"}, "missing_experiment_id"),
        ({"event_type": "recommendation_click"}, "missing_recommendation_id"),
        ({"event_type": "order_cancel", "order_id": None}, "missing_order_id"),
    ],
)
def test_each_broken_rule_is_its_own_reason(fields: dict[str, Any], reason: str) -> None:
    row = rejected(**fields)
    assert row["reason"] == reason
    assert REASONS[reason] in row["detail"]


def test_a_rejected_row_keeps_its_raw_form_and_names_the_value() -> None:
    row = rejected(price="free", shop="north")
    assert json.loads(row["raw"])["price"] == "free"
    assert json.loads(row["raw"])["shop"] == "north"
    assert row["detail"].startswith("price='free'")


def test_the_raw_form_is_that_of_the_source_where_it_gives_one() -> None:
    row = rejected(reject_reason="postage", reject_detail="no product", raw_code="POST", raw_note=None)
    assert (row["reason"], row["detail"], row["raw"]) == ("postage", "no product", '{"code": "POST"}')


def test_an_instant_with_an_offset_becomes_utc_and_one_without_is_utc() -> None:
    assert (
        accepted(event_at="2025-03-01T01:30:00+02:00")["event_at"].isoformat() == "2025-02-28T23:30:00+00:00"
    )
    assert accepted(event_at="2025-03-01 01:30")["event_at"].isoformat() == "2025-03-01T01:30:00+00:00"


def test_a_context_may_be_an_object_or_its_json() -> None:
    assert accepted(context={"a": 1})["context"] == '{"a": 1}'
    assert accepted(context='{"a":1}')["context"] == '{"a":1}'


def test_the_same_event_twice_counts_once_and_the_first_received_stays() -> None:
    late = view("e1", received_at="2025-03-01T12:00:00Z", channel="email")
    early = view("e1", received_at="2025-03-01T10:00:05Z")
    result = validate_events(pd.DataFrame([late, early, view("e2")]))
    assert result.valid["channel"].to_pylist() == ["web", "web"]
    assert result.rejected["reason"].tolist() == ["duplicate"]


def test_a_malformed_copy_does_not_displace_the_good_event() -> None:
    result = validate_events(pd.DataFrame([view("e1", channel="nowhere"), view("e1")]))
    assert result.valid.num_rows == 1
    assert result.rejected["reason"].tolist() == ["unknown_channel"]


def test_a_row_without_a_day_of_its_own_belongs_to_the_day_it_came() -> None:
    frame = pd.DataFrame(
        [
            view("a", "2025-03-01T23:59:59.999999Z", received_at="2025-03-02T00:00:03Z"),
            view("b", "nonsense", received_at="2025-03-02T00:00:03Z"),
            view("c", "2099-01-01", received_at="2025-03-02T00:00:03Z"),
            view("d", "nonsense"),
        ]
    )
    days = [None if day is None else day.isoformat() for day in row_days(frame).to_pylist()]
    assert days == ["2025-03-01", "2025-03-02", "2025-03-02", None]
    rows = validate_events(frame).rejected.set_index("event_id")["event_date"]
    assert [str(rows["b"]), str(rows["c"]), rows["d"]] == ["2025-03-02", "2025-03-02", None]


def test_an_empty_frame_is_valid() -> None:
    result = validate_events(pd.DataFrame())
    assert (result.valid.num_rows, len(result.rejected)) == (0, 0)
    assert result.valid.schema.equals(EVENT_SCHEMA)


RAW = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["e1", "e2", "e3", None]),
        "event_type": st.sampled_from(["view", "purchase", "search", "nonsense", None]),
        "item_id": st.sampled_from(["i1", None]),
        "event_at": st.sampled_from(["2025-03-01T10:00:00Z", "2025-03-02", "nonsense", None]),
        "received_at": st.sampled_from(["2025-03-02T10:00:00Z", None]),
        "quantity": st.sampled_from([1, "2", 0, "x", None]),
        "price": st.sampled_from([1.5, "x", None]),
    }
)


@given(st.lists(RAW, max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_exactly_one_of_the_two_results(rows: list[dict[str, Any]]) -> None:
    result = validate_events(pd.DataFrame(rows))
    assert result.valid.num_rows + len(result.rejected) == len(rows)
    ids = result.valid["event_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    result.valid.validate(full=True)


@given(st.lists(RAW, max_size=12), st.randoms())
@settings(max_examples=40, deadline=None)
def test_valid_events_survive_a_second_validation_unchanged(rows: list[dict[str, Any]], random: Any) -> None:
    once = validate_events(pd.DataFrame(rows)).valid
    again = once.to_pylist()
    random.shuffle(again)
    twice = validate_events(pd.DataFrame(again, columns=EVENT_SCHEMA.names)).valid
    assert twice.equals(once)


def test_items_are_typed_and_the_last_row_of_a_key_wins() -> None:
    rows = [
        {"item_id": 1, "title": "old", "price": "3.50"},
        {"item_id": 2, "stock": "7", "attributes": {"size": "L"}, "category_path": "a>b >c"},
        {"item_id": "1", "title": "new", "price": 4},
    ]
    result = validate_items(pd.DataFrame(rows))
    assert result.valid.schema.equals(ITEM_SCHEMA)
    assert result.valid["title"].to_pylist() == ["new", None]
    assert result.valid["category_path"].to_pylist()[1] == "a > b > c"
    assert result.valid["stock"].to_pylist() == [None, 7]
    assert result.rejected["reason"].tolist() == ["duplicate"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"item_id": None}, "missing_item_id"),
        ({"price": -1}, "negative_price"),
        ({"cost": "much"}, "bad_cost"),
        ({"stock": 1.5}, "bad_stock"),
        ({"attributes": "red"}, "bad_attributes"),
        ({"first_seen_at": "once"}, "bad_first_seen_at"),
    ],
)
def test_broken_items_are_rejected_with_their_reason(fields: dict[str, Any], reason: str) -> None:
    result = validate_items(pd.DataFrame([{"item_id": "i1", **fields}]))
    assert result.rejected["reason"].tolist() == [reason]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_id": ""}, "missing_user_id"),
        ({"age": 200}, "bad_age"),
        ({"created_at": "x"}, "bad_created_at"),
    ],
)
def test_broken_customers_are_rejected_with_their_reason(fields: dict[str, Any], reason: str) -> None:
    result = validate_customers(pd.DataFrame([{"user_id": "u1", **fields}]))
    assert result.rejected["reason"].tolist() == [reason]
    assert result.valid.schema.equals(CUSTOMER_SCHEMA)
