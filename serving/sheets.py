"""Answers of the dashboards, made for charts: figures, series over days, and tables.

Each number says its unit, what it means, which Dagster asset made it, up to which day it holds, and what it
was in the period that it is compared with. One that cannot be told is null and says why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from serving.figures import Book, Figure, Period, Rows, Segment

Answer = dict[str, Any]
CURRENCY = "currency"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked: a period, what to compare it with (None: nothing), and of which segment (None: all)."""

    period: Period
    compared: Period | None = None
    segment: Segment | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table that no mart describes: its unit ('text' for words) and what it means."""

    unit: str
    definition: str


class Sheet:
    """One answer, filled part by part."""

    def __init__(self, book: Book, ask: Ask, currency: str | None) -> None:
        self.book = book
        self.ask = ask
        self.currency = currency
        self._figures: Answer = {}
        self._series: Answer = {}
        self._tables: Answer = {}
        first = book.days[0]
        # A period that begins before the data does is no measure for another.
        self.compared = ask.compared
        if ask.compared is not None and (first is None or ask.compared.first.isoformat() < str(first)):
            self.compared = None

    def figures(self, *names: str) -> None:
        """Figures of the period."""
        now = self.book.values(names, self.ask.period, self.ask.segment)
        before = self.book.values(names, self.compared, self.ask.segment) if self.compared else None
        for name in names:
            figure = self.book.figures[name]
            part = {"value": now[name], **self._meaning(figure)}
            if now[name] is None:
                part["unavailable"] = self._why(figure)
            part["comparison"] = None if before is None else _compared(now[name], before[name])
            self._figures[name] = part

    def value(
        self, name: str, value: Any, column: Column, source_asset: str, unavailable: str | None = None
    ) -> None:
        """One figure that no mart describes."""
        part = {"value": value, **self._described(column, source_asset)}
        if value is None:
            part["unavailable"] = unavailable
        self._figures[name] = {**part, "comparison": None}

    def series(self, *names: str) -> None:
        """Figures of each day of the period that has data."""
        now = self.book.daily(names, self.ask.period, self.ask.segment)
        before = self.book.daily(names, self.compared, self.ask.segment) if self.compared else []
        apart = (self.ask.period.first - self.compared.first) if self.compared else timedelta()
        earlier = {row["date"]: row for row in before}
        for name in names:
            self._series[name] = {
                "x": [row["date"] for row in now],
                "values": [row[name] for row in now],
                **self._meaning(self.book.figures[name]),
                "comparison": [
                    earlier.get((date.fromisoformat(row["date"]) - apart).isoformat(), {}).get(name)
                    for row in now
                ]
                if self.compared
                else None,
            }

    def by(self, name: str, dimension: str, figures: Sequence[str], most: int = 50) -> None:
        """A table of figures by the members of a dimension."""
        rows = self.book.by(dimension, figures, self.ask.period, self.ask.segment, most)
        known = [each for each in figures if any(row[each] is not None for row in rows)]
        earlier: Mapping[str, Mapping[str, Any]] = {}
        if self.compared:
            compared = self.book.by(dimension, figures, self.compared, self.ask.segment)
            earlier = {str(row[dimension]): row for row in compared}
        self._tables[name] = {
            "columns": [
                {"name": dimension, "unit": "text", "definition": f"Member of {dimension}."},
                *({"name": each, **self._meaning(self.book.figures[each])} for each in known),
            ],
            "rows": [{each: row[each] for each in (dimension, *known)} for row in rows],
            "source_asset": self.book.figures[figures[0]].source_asset,
            "as_of": self.as_of,
            "comparison": [
                {each: earlier.get(str(row[dimension]), {}).get(each) for each in known} for row in rows
            ]
            if self.compared
            else None,
        }

    def table(self, name: str, rows: Rows, columns: Mapping[str, Column], source_asset: str) -> None:
        """A table that no mart describes."""
        self._tables[name] = {
            "columns": [
                {"name": each, **self._described(column, source_asset)} for each, column in columns.items()
            ],
            "rows": [{each: row.get(each) for each in columns} for row in rows],
            "source_asset": source_asset,
            "as_of": self.as_of,
            "comparison": None,
        }

    @property
    def as_of(self) -> str:
        """The last day of the tables."""
        return self.ask.period.data_until.isoformat()

    def content(self) -> Answer:
        """The answer."""
        segment = self.ask.segment
        return {
            "period": _days(self.ask.period) | {"data_until": self.as_of},
            "comparison_period": None if self.compared is None else _days(self.compared),
            "segment": None if segment is None else {segment.dimension: segment.member},
            "currency": self.currency,
            "as_of": self.as_of,
            "figures": self._figures,
            "series": self._series,
            "tables": self._tables,
        }

    def _meaning(self, figure: Figure) -> Answer:
        return self._described(Column(figure.unit, figure.definition), figure.source_asset)

    def _described(self, column: Column, source_asset: str) -> Answer:
        unit = (self.currency or CURRENCY) if column.unit == CURRENCY else column.unit
        return {
            "unit": unit,
            "definition": column.definition,
            "source_asset": source_asset,
            "as_of": self.as_of,
        }

    def _why(self, figure: Figure) -> str:
        segment = self.ask.segment
        if segment is not None and segment.dimension not in figure.dimensions:
            return f"not told by {segment.dimension}"
        return figure.missing


def parts_of(answer: Answer) -> list[str]:
    """The names under which parts of an answer can be had as CSV."""
    numbers = [part for part in ("figures", "series") if answer[part]]
    return [*numbers, *answer["tables"]]


def part_rows(answer: Answer, part: str) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of one part of an answer."""
    if part == "figures":
        header = ["figure", "value", "unit", "compared_with", "change", "source_asset", "definition"]
        return header, [_figure_row(name, each) for name, each in answer["figures"].items()]
    if part == "series":
        days = sorted({day for each in answer["series"].values() for day in each["x"]})
        columns = [dict(zip(each["x"], each["values"], strict=True)) for each in answer["series"].values()]
        return ["date", *answer["series"]], [[day, *(column.get(day) for column in columns)] for day in days]
    table = answer["tables"][part]
    header = [column["name"] for column in table["columns"]]
    return header, [[row[name] for name in header] for row in table["rows"]]


def _figure_row(name: str, part: Answer) -> list[Any]:
    comparison = part["comparison"] or {}
    return [
        name,
        part["value"],
        part["unit"],
        comparison.get("value"),
        comparison.get("change"),
        part["source_asset"],
        part["definition"],
    ]


def _compared(now: Any, before: Any) -> Answer:
    is_known = now is not None and before
    return {"value": before, "change": round((now - before) / before, 6) if is_known else None}


def _days(period: Period) -> Answer:
    return {"from": period.first.isoformat(), "to": period.last.isoformat(), "days": period.days}


def tables_answer(
    tables: Mapping[str, tuple[Rows, Mapping[str, Column], str | None]],
) -> Answer:
    """An answer of tables alone that no period is asked of: name -> rows, columns, what made them."""
    return {
        "figures": {},
        "series": {},
        "tables": {
            name: {
                "columns": [
                    {"name": each, "unit": column.unit, "definition": column.definition}
                    for each, column in columns.items()
                ],
                "rows": [{each: row.get(each) for each in columns} for row in rows],
                "source_asset": source_asset,
                "comparison": None,
            }
            for name, (rows, columns, source_asset) in tables.items()
        },
    }
