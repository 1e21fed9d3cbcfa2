"""What the live state reads of the event log: everything since the batch, page by page, or of one visitor."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from feature_repo.event_log import events
from feature_repo.live import DAY, Act, Window, act_of
from serving.store.identities import anonymous_ids_of, belongs_to, body_of

# An event of the window may be stamped this much earlier than it happened: clocks of devices run fast.
CLOCK_SKEW = DAY // 24
ACTS_A_VISITOR = 5_000

_COLUMNS = (
    events.c.sequence,
    events.c.event_id,
    events.c.event_type,
    events.c.user_id,
    events.c.anonymous_id,
    events.c.event_at,
    events.c.received_at,
    events.c.body,
)


class LoggedRow(NamedTuple):
    """A row of the log as `feature_repo.live` wants it."""

    sequence: int
    event_id: str
    event_type: str
    item_id: str | None
    event_at: int
    received_at: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A page of the log: (user, anonymous id, act) for each event, and where the next page begins, if any."""

    acts: list[tuple[str | None, str | None, Act]]
    next_sequence: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All acts of some visitors, and the instant (microseconds) from which that is known."""

    instant: int
    acts: dict[str, list[Act]]


def replay_page(connection: sa.Connection, window: Window, before: int | None, limit: int) -> Replayed:
    """The latest events of the log before a sequence that belong to the window."""
    query = sa.select(*_COLUMNS).order_by(events.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(events.c.sequence < before)
    rows = connection.execute(query).all()
    found = []
    for row in rows:
        act = _act(row)
        if window.holds(act):
            found.append((row.user_id, row.anonymous_id, act))
    earliest = min(window.landed_at, window.since - DAY) - CLOCK_SKEW
    is_last = len(rows) < limit or all(row.received_at < earliest for row in rows)
    return Replayed(found, None if is_last else rows[-1].sequence)


def acts_of_visitors(connection: sa.Connection, visitor_ids: Sequence[str], window: Window) -> Snapshot:
    """The acts of each visitor in the window, those of their anonymous ids included."""
    instant = _instant(connection)
    found: dict[str, list[Act]] = {}
    for visitor_id in visitor_ids:
        query = (
            sa.select(*_COLUMNS)
            .where(
                belongs_to(visitor_id, anonymous_ids_of(connection, visitor_id)),
                sa.or_(events.c.event_at >= window.since - DAY, events.c.received_at >= window.landed_at),
            )
            .order_by(events.c.sequence.desc())
            .limit(ACTS_A_VISITOR)
        )
        found[visitor_id] = [_act(row) for row in connection.execute(query)]
    return Snapshot(instant, found)


def _instant(connection: sa.Connection) -> int:
    """An instant before the snapshot, by one clock for all writers: that of the server, or of the machine."""
    if connection.dialect.name == "sqlite":
        return time.time_ns() // 1000
    query = "select (extract(epoch from transaction_timestamp()) * 1000000)::bigint"
    return int(connection.exec_driver_sql(query).scalar_one())


def _act(row: Any) -> Act:
    fields = body_of(row)
    return act_of(
        LoggedRow(
            row.sequence,
            row.event_id,
            row.event_type,
            fields.get("item_id"),
            row.event_at,
            row.received_at,
            fields,
        )
    )
