"""What was decided for whom, and what became of it: rows are appended, never changed.

Instants are microseconds since 1970 UTC. `inputs` and `output` are JSON objects. The output of every kind
that shows items has `items`: a list of objects with `item_id`, `position` (from 1), `score`, `algorithm`,
`propensity` and `slot` (null in a plain list), which is what a run lands as impressions.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import sqlalchemy as sa

from feature_repo.event_log import Sequence as CountedUp
from feature_repo.event_log import events, metadata

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("sequence", CountedUp, primary_key=True, autoincrement=True),
    sa.Column("decision_id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("visitor_id", sa.Text),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("output", sa.Text, nullable=False),
    sa.Index("decisions_by_visitor", "visitor_id", "at"),
    sqlite_autoincrement=True,
)
"""One row per answer. `visitor_id` is null where tracking is not allowed or nobody is meant."""

decision_outcomes = sa.Table(
    "decision_outcomes",
    metadata,
    sa.Column("sequence", CountedUp, primary_key=True, autoincrement=True),
    sa.Column("decision_id", sa.Text, nullable=False),
    sa.Column("visitor_id", sa.Text),
    sa.Column("item_id", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("outcomes_by_decision", "decision_id", "sequence"),
    sa.Index("outcomes_by_visitor", "visitor_id"),
    sqlite_autoincrement=True,
)
"""One row per event that came back with a decision's id: `clicked` or `converted`."""


class DecisionRow(NamedTuple):
    """One decision as stored."""

    decision_id: str
    kind: str
    visitor_id: str | None
    at: int
    release: str
    inputs: str
    output: str


class OutcomeRow(NamedTuple):
    """One event that a decision led to."""

    decision_id: str
    visitor_id: str | None
    item_id: str | None
    status: str
    event_id: str
    at: int


ROWS_A_STATEMENT = (64, 8, 1)
_INSERT = f"insert into decisions ({', '.join(DecisionRow._fields)}) values"
_INSERT_OUTCOME = sa.insert(decision_outcomes)


def append_decisions(connection: sa.Connection, rows: Sequence[DecisionRow]) -> None:
    """Add decisions, in this order.

    Plain SQL with many rows a statement: there are thousands a second, and the driver lets go of Python's
    lock and takes it again once per statement, which the event loop would feel for every row.
    """
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    one = f"({', '.join([mark] * len(DecisionRow._fields))})"
    start = 0
    for size in ROWS_A_STATEMENT:
        statement = f"{_INSERT} {', '.join([one] * size)}"
        while len(rows) - start >= size:
            values = tuple(chain.from_iterable(rows[start : start + size]))
            connection.exec_driver_sql(statement, values)
            start += size


def append_outcomes(connection: sa.Connection, rows: Sequence[OutcomeRow]) -> None:
    """Add outcomes, in this order."""
    connection.execute(_INSERT_OUTCOME, [row._asdict() for row in rows])


def find_decision(connection: sa.Connection, decision_id: str) -> DecisionRow | None:
    """One decision, or None."""
    row = connection.execute(sa.select(decisions).where(decisions.c.decision_id == decision_id)).first()
    return None if row is None else _as_row(row)


def latest_decision(connection: sa.Connection, visitor_id: str, kind: str, since: int) -> DecisionRow | None:
    """The visitor's latest decision of a kind at or after an instant."""
    query = (
        sa.select(decisions)
        .where(
            decisions.c.visitor_id == visitor_id,
            decisions.c.at >= since,
            decisions.c.kind == kind,
        )
        .order_by(decisions.c.at.desc(), decisions.c.sequence.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else _as_row(row)


def has_acted_since(connection: sa.Connection, visitor_id: str, at: int) -> bool:
    """Whether an event of the visitor arrived after an instant."""
    is_theirs = (events.c.user_id == visitor_id) | (events.c.anonymous_id == visitor_id)
    query = sa.select(events.c.sequence).where(is_theirs, events.c.received_at > at).limit(1)
    return connection.execute(query).first() is not None


def outcomes_of(connection: sa.Connection, decision_id: str) -> list[OutcomeRow]:
    """What came back for a decision, oldest first."""
    query = (
        sa.select(decision_outcomes)
        .where(decision_outcomes.c.decision_id == decision_id)
        .order_by(decision_outcomes.c.sequence)
    )
    return [
        OutcomeRow(row.decision_id, row.visitor_id, row.item_id, row.status, row.event_id, row.at)
        for row in connection.execute(query)
    ]


def _as_row(row: Any) -> DecisionRow:
    return DecisionRow(row.decision_id, row.kind, row.visitor_id, row.at, row.release, row.inputs, row.output)
