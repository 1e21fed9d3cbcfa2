"""The events of one visitor in the log, latest first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from feature_repo.event_log import events
from serving.store.identities import anonymous_ids_of, belongs_to, body_of

if TYPE_CHECKING:  # it brings Feast along, which takes seconds; whoever migrates the tables needs none of it
    from feature_repo.landed import Span


def logged_events(
    connection: sa.Connection, visitor_id: str, span: "Span", limit: int
) -> list[dict[str, Any]]:
    """The latest events of a visitor and of the anonymous ids that joined them, in the span."""
    at = events.c.event_at
    query = (
        sa.select(
            events.c.event_id,
            events.c.event_type,
            events.c.user_id,
            events.c.anonymous_id,
            events.c.event_at,
            events.c.body,
        )
        .where(
            belongs_to(visitor_id, anonymous_ids_of(connection, visitor_id)),
            at >= span.start,
            sa.or_(at < span.end, sa.and_(at == span.end, events.c.event_id < span.before_id)),
        )
        .order_by(at.desc(), events.c.event_id.desc())
        .limit(limit)
    )
    if span.types:
        query = query.where(events.c.event_type.in_(span.types))
    return [_described(row) for row in connection.execute(query)]


def first_received_at(connection: sa.Connection) -> int | None:
    """When the first event that the log still has came in."""
    query = sa.select(events.c.received_at).order_by(events.c.sequence).limit(1)
    return connection.execute(query).scalar()


def is_in_log(connection: sa.Connection, visitor_id: str) -> bool:
    """Whether the log has any event of a visitor or of the anonymous ids that joined them."""
    known: Sequence[str] = anonymous_ids_of(connection, visitor_id)
    query = sa.select(events.c.sequence).where(belongs_to(visitor_id, known)).limit(1)
    return connection.execute(query).first() is not None


def _described(row: Any) -> dict[str, Any]:
    fields = body_of(row)
    return fields | {
        "event_id": row.event_id,
        "event_type": row.event_type,
        "event_at": row.event_at,
        "anonymous_id": row.anonymous_id if row.user_id is None else None,
    }
