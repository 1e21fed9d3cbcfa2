"""Dashboards as JSON or CSV: what was asked for decides, one part at a time."""

import csv

import pytest
from starlette.requests import Request

from serving.api.analytics import _answer
from serving.errors import InvalidField

ANSWER = {
    "figures": {
        "orders": {
            "value": 3,
            "unit": "orders",
            "definition": "Orders, all of them.",
            "source_asset": "transforms/metrics_daily",
            "comparison": {"value": 2, "change": 0.5},
        }
    },
    "series": {"orders": {"x": ["2024-01-30", "2024-01-31"], "values": [1, 2]}},
    "tables": {"by_channel": {"columns": [{"name": "channel"}], "rows": [{"channel": 'we"b'}]}},
}


def asked(accept: str = "*/*") -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/dashboard/overview",
            "headers": [(b"accept", accept.encode())],
        }
    )


def rows(text: bytes) -> list[list[str]]:
    return list(csv.reader(text.decode().splitlines()))


def test_json_is_given_unless_csv_is_asked_for() -> None:
    assert _answer(asked(), ANSWER, None, "figures").media_type == "application/json"
    assert _answer(asked("text/csv"), ANSWER, None, "figures").media_type == "text/csv"
    assert _answer(asked("text/csv"), ANSWER, "json", "figures").media_type == "application/json"


def test_each_part_is_a_table_of_its_own() -> None:
    figures = _answer(asked(), ANSWER, "csv", "figures")
    assert rows(figures.body)[1][:5] == ["orders", "3", "orders", "2", "0.5"]
    assert "dashboard-overview-figures.csv" in figures.headers["content-disposition"]
    assert rows(_answer(asked(), ANSWER, "csv", "series").body) == [
        ["date", "orders"],
        ["2024-01-30", "1"],
        ["2024-01-31", "2"],
    ]
    assert rows(_answer(asked(), ANSWER, "csv", "by_channel").body) == [["channel"], ['we"b']]


def test_an_unknown_part_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(InvalidField, match="figures, series, by_channel"):
        _answer(asked(), ANSWER, "csv", "by_colour")


def test_an_answer_of_tables_alone_gives_the_first_by_default() -> None:
    answer = {**ANSWER, "figures": {}, "series": {}}
    assert rows(_answer(asked(), answer, "csv", "figures").body)[0] == ["channel"]
