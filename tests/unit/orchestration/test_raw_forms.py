"""Whom the raw form of a refused row names, whatever the shop calls its columns."""

import json

import pytest

from orchestration.raw_forms import names_any


@pytest.mark.parametrize(
    "row",
    [
        {"user_id": "u7"},
        {"Kunde": " u7 "},
        {"context": json.dumps({"from": {"ids": ["u1", "u7"]}})},
        {"nested": {"deep": ["u7"]}},
    ],
)
def test_an_id_is_found_under_any_name_and_at_any_depth(row: dict[str, object]) -> None:
    assert names_any(json.dumps(row), {"u7"}.__contains__)


def test_a_number_is_the_id_that_it_is_written_as() -> None:
    assert names_any('{"customer": 12345.0}', {"12345"}.__contains__)
    assert names_any('{"customer": 12345}', {"12345"}.__contains__)


def test_an_item_is_no_person_though_its_number_is_the_same() -> None:
    row = {"stock_code": "12345", "item_id": 12345, "quantity": 12345, "unit_price": "12345"}
    assert not names_any(json.dumps(row), {"12345"}.__contains__)


@pytest.mark.parametrize("raw", [None, "", "no JSON", "{}", '{"a": true, "b": null, "c": "u77"}'])
def test_others_are_not_found(raw: str | None) -> None:
    assert not names_any(raw, {"u7", "1"}.__contains__)
