"""Figures of the published tables: each is computed by the expression, and shown with the words, that stand
beside its mart.

A publication brings `figures.json`: figure -> mart, unit, expression (or the ratio of two figures), the
dimensions by which it may be asked, and its definition. Small tables are held in memory, so that an answer
reads no file. Periods are whole days in data time, both ends included.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import duckdb

Rows = list[dict[str, Any]]

NOTHING_THERE = "there is nothing to count in this period"
ALL = "all"
KEPT_QUERIES = 256
# Tables with a row for each dimension and member of it, instead of a column for each dimension.
STACKED = frozenset({"metrics_daily"})
MARTS_STAGE = "transforms"


@dataclass(frozen=True, slots=True)
class Period:
    """Whole UTC days, both ends included; `data_until` is the last day of the tables."""

    first: date
    last: date
    data_until: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> "Period":
        """The period of the same length that ends where this one begins."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1), self.data_until)

    @property
    def year_before(self) -> "Period":
        """The same weekdays 52 weeks earlier."""
        return Period(self.first - timedelta(weeks=52), self.last - timedelta(weeks=52), self.data_until)


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows of one member of a dimension, such as the channel web."""

    dimension: str
    member: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One number's meaning. `day` is the column that a period restricts; else the expression does it."""

    name: str
    mart: str
    unit: str
    definition: str
    day: str | None = None
    expression: str | None = None
    ratio_of: tuple[str, str] | None = None
    dimensions: tuple[str, ...] = (ALL,)
    table: str | None = None
    asset: str | None = None
    missing: str = NOTHING_THERE

    @property
    def source(self) -> str:
        """The table that the expression reads."""
        return self.table or self.mart

    @property
    def source_asset(self) -> str:
        """The Dagster asset that made the table."""
        return self.asset or f"{MARTS_STAGE}/{self.mart}"


def read_figures(written: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    """The content of `figures.json`."""
    found = {}
    for name, fields in written.items():
        values = dict(fields)
        for listed in ("ratio_of", "dimensions"):
            if listed in values:
                values[listed] = tuple(values[listed])
        found[name] = Figure(name, **values)
    return found


class Book:
    """The figures of one publication, on a connection that has its tables."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, figures: Mapping[str, Figure]) -> None:
        self._connection = connection
        self._kept: dict[tuple[object, ...], Rows] = {}
        self.figures = figures

    @cached_property
    def days(self) -> tuple[date | None, date | None]:
        """The first and the last day of the tables."""
        row = self.one("select min(event_date) as first, max(event_date) as last from metrics_daily")
        return row["first"], row["last"]

    def values(
        self, names: Iterable[str], period: Period, segment: Segment | None = None
    ) -> dict[str, float | int | None]:
        """Each figure of the period; None where there is nothing to count, or not by this segment."""
        [row] = self._rows(tuple(names), period, segment, "") or [{}]
        return {name: row.get(name) for name in names}

    def daily(self, names: Sequence[str], period: Period, segment: Segment | None = None) -> Rows:
        """A row for each day with data: `date`, and each figure of that day alone."""
        return self._rows(tuple(names), period, segment, "cast({day} as varchar)", "date")

    def by(
        self,
        dimension: str,
        names: Sequence[str],
        period: Period,
        segment: Segment | None = None,
        most: int | None = None,
    ) -> Rows:
        """A row for each member of a dimension, the largest in the first figure first."""
        rows = self._rows(tuple(names), period, segment, "{member}", dimension, dimension)
        rows.sort(key=lambda row: (-(row[names[0]] or 0), str(row[dimension])))
        return rows[:most]

    def one(self, sql: str, *values: object) -> dict[str, Any]:
        """The only row of a query, by column."""
        [row] = self.many(sql, *values)
        return row

    def many(self, sql: str, *values: object) -> Rows:
        """Every row of a query, by column. A publication does not change, so the answer is kept."""
        key = (sql, *values)
        if key not in self._kept:
            if len(self._kept) >= KEPT_QUERIES:
                self._kept.clear()
            self._kept[key] = _named(self._connection.execute(sql, list(values)))
        return [dict(row) for row in self._kept[key]]

    def execute(self, sql: str) -> None:
        """A statement without an answer."""
        self._connection.execute(sql)

    def _rows(
        self,
        names: tuple[str, ...],
        period: Period,
        segment: Segment | None,
        key: str,
        key_name: str = "",
        dimension: str | None = None,
    ) -> Rows:
        """Figures of all sources, joined by their key ('': one row), in the order in which keys come."""
        wanted = self._with_parts(names)
        sources: dict[tuple[str, str | None], list[Figure]] = {}
        for name in wanted:
            figure = self.figures[name]
            if figure.expression is not None and _is_known(figure, segment, dimension, bool(key)):
                sources.setdefault((figure.source, figure.day), []).append(figure)
        joined: dict[Any, dict[str, Any]] = {} if key else {None: {}}
        for (source, day), figures in sources.items():
            for row in self._source(source, day, figures, period, segment, key, dimension):
                joined.setdefault(row.pop("key", None), {}).update(row)
        rows = []
        for value, row in sorted(joined.items(), key=lambda each: str(each[0])):
            for name in wanted:
                parts = self.figures[name].ratio_of
                if parts is not None:
                    row[name] = _ratio(row.get(parts[0]), row.get(parts[1]))
            kept = {name: row.get(name) for name in names}
            rows.append({key_name: value, **kept} if key else kept)
        return rows

    def _with_parts(self, names: Iterable[str]) -> tuple[str, ...]:
        """The figures and those that their ratios are made of, the parts first."""
        found: dict[str, None] = {}
        for name in names:
            for part in self.figures[name].ratio_of or ():
                found[part] = None
        return tuple({**found, **dict.fromkeys(names)})

    def _source(
        self,
        source: str,
        day: str | None,
        figures: Sequence[Figure],
        period: Period,
        segment: Segment | None,
        key: str,
        dimension: str | None,
    ) -> Rows:
        # Names and expressions come from the publication, dimensions from its figures: nothing of a request
        # stands in the SQL but what `_is_known` found there.
        conditions: list[str] = []
        values: dict[str, object] = {}
        if day is not None:
            conditions.append(f"{day} between $first and $last")
        member = dimension
        if source in STACKED:
            conditions.append("dimension = $dimension")
            values["dimension"] = dimension or (segment.dimension if segment else ALL)
            member = "member"
        if segment is not None:
            conditions.append(f"{'member' if source in STACKED else segment.dimension} = $member")
            values["member"] = segment.member
        selected = [f"{figure.expression} as {figure.name}" for figure in figures]
        if key:
            selected.append(f"{key.format(day=day, member=member)} as key")
        sql = f"select {', '.join(selected)} from {source}"
        if conditions:
            sql += f" where {' and '.join(conditions)}"
        if key:
            sql += " group by all"
        bounds = {"first": period.first, "last": period.last, "before": period.before.first}
        values |= {name: bound for name, bound in bounds.items() if f"${name}" in sql}
        return _named(self._connection.execute(sql, values))


def _is_known(figure: Figure, segment: Segment | None, dimension: str | None, has_key: bool) -> bool:
    """Whether a figure can be told for this segment, by this dimension, and by day."""
    asked = {each for each in (dimension, segment.dimension if segment else None) if each is not None}
    if not asked <= set(figure.dimensions):
        return False
    if figure.source in STACKED and dimension and segment and segment.dimension != dimension:
        return False
    return figure.day is not None or not has_key or dimension is not None


def _ratio(above: Any, below: Any) -> float | None:
    return round(above / below, 6) if above is not None and below else None


def _named(found: duckdb.DuckDBPyConnection) -> Rows:
    names = [each[0] for each in found.description or ()]
    return [{name: _plain(value) for name, value in zip(names, row, strict=True)} for row in found.fetchall()]


def _plain(value: Any) -> Any:
    """A value of JSON: numbers without the noise of sums of floats, days as text; no number is None."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    return value
