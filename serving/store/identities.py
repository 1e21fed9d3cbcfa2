"""Who an anonymous visitor turned out to be, and the events of one visitor, in the operational store."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from feature_repo.event_log import events, identities


def insert_link(
    connection: sa.Connection, anonymous_id: str, user_id: str, linked_at: int
) -> tuple[str, bool]:
    """Link them unless the anonymous id has a customer already; whose it is now, and whether that is new."""
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    inserted = connection.execute(
        dialect.insert(identities)
        .values(anonymous_id=anonymous_id, user_id=user_id, linked_at=linked_at)
        .on_conflict_do_nothing(index_elements=["anonymous_id"])
    )
    owner = sa.select(identities.c.user_id).where(identities.c.anonymous_id == anonymous_id)
    return str(connection.execute(owner).scalar_one()), inserted.rowcount == 1


def links_after(connection: sa.Connection, sequence: int, limit: int) -> Sequence[sa.Row[Any]]:
    """The next links in the order they were made: sequence, anonymous_id, user_id."""
    query = (
        sa.select(identities.c.sequence, identities.c.anonymous_id, identities.c.user_id)
        .where(identities.c.sequence > sequence)
        .order_by(identities.c.sequence)
        .limit(limit)
    )
    return connection.execute(query).all()


def anonymous_ids_of(connection: sa.Connection, user_id: str) -> list[str]:
    """The anonymous ids that joined a customer, in that order."""
    query = (
        sa.select(identities.c.anonymous_id)
        .where(identities.c.user_id == user_id)
        .order_by(identities.c.sequence)
    )
    return list(connection.execute(query).scalars())


def belongs_to(visitor_id: str, anonymous_ids: Iterable[str]) -> sa.ColumnElement[bool]:
    """Whether an event is of this visitor: under their id, or anonymous under one of these."""
    known = [visitor_id, *anonymous_ids]
    return sa.or_(
        events.c.user_id == visitor_id,
        sa.and_(events.c.user_id.is_(None), events.c.anonymous_id.in_(known)),
    )


def body_of(row: Any) -> dict[str, Any]:
    """The fields of the contract that a row of the log keeps as JSON."""
    fields: dict[str, Any] = orjson.loads(row.body)
    return fields
