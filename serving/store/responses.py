"""What visitors answered, as the event log has it: pages of the whole log, and one visitor's last acts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from feature_repo.event_log import events


class Act(NamedTuple):
    """One event: who, what, when (microseconds since 1970 UTC), the other fields of the contract, and its
    place in the log."""

    event_type: str
    visitor_id: str | None
    event_at: int
    fields: dict[str, Any]
    sequence: int = 0

    @property
    def context(self) -> dict[str, Any]:
        """What the channel said beside the contract's fields."""
        found = self.fields.get("context")
        return found if isinstance(found, dict) else {}


_COLUMNS = (
    events.c.event_type,
    sa.func.coalesce(events.c.user_id, events.c.anonymous_id),
    events.c.event_at,
    events.c.body,
    events.c.sequence,
)
IDS_AT_ONCE = 500

Answered = Mapping[int, Mapping[str, Any] | None]
"""Sequence of an answer to a message -> the context of the message if this is its first answer, else None."""


def last_sequence(connection: sa.Connection) -> int:
    """The sequence of the newest event, 0 for an empty log."""
    return int(connection.execute(sa.select(sa.func.max(events.c.sequence))).scalar() or 0)


def acts_between(
    connection: sa.Connection,
    after: int,
    until: int,
    types: Sequence[str],
    marked_types: Sequence[str],
    marks: Sequence[str],
) -> list[Act]:
    """Events with after < sequence <= until, in the log's order: all of `types`, and those of `marked_types`
    whose body names one of `marks` (most of them name none, and are not read)."""
    is_marked = sa.or_(*(events.c.body.like(f'%"{mark}":%') for mark in marks))
    query = (
        sa.select(*_COLUMNS)
        .where(
            events.c.sequence > after,
            events.c.sequence <= until,
            sa.or_(
                events.c.event_type.in_(types),
                sa.and_(events.c.event_type.in_(marked_types), is_marked),
            ),
        )
        .order_by(events.c.sequence)
    )
    return [_act(row) for row in connection.execute(query)]


def answered_messages(
    connection: sa.Connection, acts: Iterable[Act], sent: str, answers: Sequence[str]
) -> dict[int, dict[str, Any] | None]:
    """Which messages these answers belong to: the latest that the campaign sent to the customer before.

    A message is found by `campaign_id` and customer, which both its `sent` event and the answer name; an
    answer to none that the log holds is left out. Several answers to one message are one: the first.
    """
    named = [act for act in acts if act.event_type in answers and act.fields.get("campaign_id")]
    wanted = {act.sequence for act in named}
    people = sorted({act.visitor_id for act in named if act.visitor_id is not None})
    found: dict[int, dict[str, Any] | None] = {}
    for start in range(0, len(people), IDS_AT_ONCE):
        is_of_them = events.c.user_id.in_(people[start : start + IDS_AT_ONCE])
        is_message = events.c.event_type.in_((sent, *answers))
        query = sa.select(*_COLUMNS).where(is_of_them, is_message, events.c.sequence <= max(wanted))
        standing: dict[tuple[str | None, Any], dict[str, Any] | None] = {}
        for act in map(_act, connection.execute(query.order_by(events.c.sequence))):
            key = (act.visitor_id, act.fields.get("campaign_id"))
            if act.event_type == sent:
                standing[key] = act.context
            elif key in standing:
                if act.sequence in wanted:
                    found[act.sequence] = standing[key]
                standing[key] = None
    return found


def acts_of(
    connection: sa.Connection, visitor_id: str, types: Sequence[str], since: int, limit: int
) -> list[Act]:
    """The visitor's events of these types at or after an instant, latest first."""
    query = (
        sa.select(*_COLUMNS)
        .where(
            sa.or_(events.c.user_id == visitor_id, events.c.anonymous_id == visitor_id),
            events.c.event_type.in_(types),
            events.c.event_at >= since,
        )
        .order_by(events.c.sequence.desc())
        .limit(limit)
    )
    return [_act(row) for row in connection.execute(query)]


def _act(row: Any) -> Act:
    return Act(row[0], row[1], row[2], orjson.loads(row[3]), row[4])
