"""The consent ledger: one row per grant or revocation, never changed; the last one of a purpose counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from feature_repo.event_log import Sequence as CountedUp
from feature_repo.event_log import metadata

consent_ledger = sa.Table(
    "consent_ledger",
    metadata,
    sa.Column("sequence", CountedUp, primary_key=True, autoincrement=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("is_granted", sa.Boolean, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("text_version", sa.Text),
    sa.Index("consent_by_user", "user_id", "sequence"),
    sqlite_autoincrement=True,
)
"""`source`: who recorded it, such as `api`, `preferences`, `opt_out`. `text_version`: the wording shown."""

Entry = Mapping[str, Any]


def append_entries(connection: sa.Connection, entries: Sequence[Entry]) -> None:
    """Add rows of user_id, purpose, is_granted, at, source and text_version, in this order."""
    connection.execute(sa.insert(consent_ledger), [dict(entry) for entry in entries])


def entries_after(
    connection: sa.Connection, sequence: int, limit: int
) -> Sequence[tuple[int, str, str, bool]]:
    """Sequence, user, purpose and whether granted of what was recorded after a sequence, oldest first."""
    table = consent_ledger.c
    rows = connection.execute(
        sa.select(table.sequence, table.user_id, table.purpose, table.is_granted)
        .where(table.sequence > sequence)
        .order_by(table.sequence)
        .limit(limit)
    )
    return [(row.sequence, row.user_id, row.purpose, row.is_granted) for row in rows]


def ledger_page(
    connection: sa.Connection, user_id: str, limit: int, before: int | None
) -> list[dict[str, Any]]:
    """The latest entries of one user, newest first; `before` continues after the last sequence of a page."""
    query = sa.select(consent_ledger).where(consent_ledger.c.user_id == user_id)
    if before is not None:
        query = query.where(consent_ledger.c.sequence < before)
    rows = connection.execute(query.order_by(consent_ledger.c.sequence.desc()).limit(limit))
    return [{str(name): value for name, value in row._mapping.items()} for row in rows]
