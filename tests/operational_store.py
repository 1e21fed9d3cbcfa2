"""An operational store in a temporary home, written row by row as the service would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from feature_repo.event_log import events, identities, open_engine, operational_url
from feature_repo.layout import Home
from serving.store import all_tables
from serving.store.decisions import decisions

# What DATABASE_URL may not be, for a run and for the service alike.
UNUSABLE_DATABASES = (
    "localhost:5432/shop",
    "db.example.org:secret",
    "mysql://anna:secret@host/shop",
    "postgresql://anna:secret@host",
    "postgresql://host?password=secret",
    "postgresql+asyncpg://anna:secret@host/shop",
    "postgresql://anna:secret@host:port/shop",
    "postgresql://host:port/shop?password=secret",
    "sqlite://",
    "sqlite:///:memory:",
)


class OperationalStore:
    """The store of a home; the tables are there when this is."""

    def __init__(self, home: Home, url: sa.URL | None = None) -> None:
        self.url = url or operational_url(home)
        self.engine = open_engine(self.url, writes=True, poolclass=NullPool)
        with self.writing() as connection:
            all_tables().create_all(connection)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        with self.engine.begin() as connection:
            yield connection

    def track(
        self,
        event_id: str,
        at: str,
        /,
        event_type: str = "product_view",
        received: str | None = None,
        **fields: Any,
    ) -> None:
        """One event: of a customer, a visitor, or both; the other fields are its body."""
        with self.writing() as connection:
            self.insert(connection, event_id, at, event_type=event_type, received=received, **fields)

    @staticmethod
    def insert(
        connection: sa.Connection,
        event_id: str,
        at: str,
        /,
        event_type: str = "product_view",
        received: str | None = None,
        **fields: Any,
    ) -> None:
        """The same within a transaction of the caller's."""
        who = {name: fields.pop(name, None) for name in ("user_id", "anonymous_id")}
        connection.execute(
            sa.insert(events).values(
                event_id=event_id,
                event_type=event_type,
                **who,
                event_at=micros(at),
                received_at=micros(received or at),
                body=json.dumps({"channel": "web", "item_id": "i1", **fields}, sort_keys=True),
            )
        )

    def link(self, anonymous_id: str, user_id: str, at: str) -> None:
        """A visitor turns out to be a customer."""
        with self.writing() as connection:
            connection.execute(
                sa.insert(identities).values(anonymous_id=anonymous_id, user_id=user_id, linked_at=micros(at))
            )

    def decide(
        self,
        decision_id: str,
        visitor_id: str | None,
        at: str,
        items: list[dict[str, Any]],
        kind: str = "recommendations",
        name: str = "items",
    ) -> None:
        """Recommendations that were answered; or, by another kind and `name` in the output, other things."""
        with self.writing() as connection:
            connection.execute(
                sa.insert(decisions).values(
                    decision_id=decision_id,
                    kind=kind,
                    visitor_id=visitor_id,
                    at=micros(at),
                    release="r1",
                    inputs="{}",
                    output=json.dumps({name: items}),
                )
            )


def micros(text: str) -> int:
    """`2025-03-01T10:00:00Z` as microseconds since 1970."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)
