"""How a person wants to be shown things: one row for whoever changed a default."""

from typing import Any

import sqlalchemy as sa

from feature_repo.event_log import metadata

preferences = sa.Table(
    "preferences",
    metadata,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("theme", sa.Text, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)
"""Communication and privacy settings are consent: they are entries of the ledger, not columns here."""

DISPLAY_FIELDS = ("language", "currency", "theme")


def display_of(connection: sa.Connection, user_id: str) -> dict[str, str] | None:
    """Language, currency and theme of one user; None while all are defaults."""
    columns = [preferences.c[name] for name in DISPLAY_FIELDS]
    row = connection.execute(sa.select(*columns).where(preferences.c.user_id == user_id)).one_or_none()
    return None if row is None else dict(zip(DISPLAY_FIELDS, row, strict=True))


def save_display(connection: sa.Connection, user_id: str, display: dict[str, Any], updated_at: int) -> None:
    """Set all three, whether or not there was a row."""
    values = {**display, "updated_at": updated_at}
    changed = connection.execute(
        sa.update(preferences).where(preferences.c.user_id == user_id).values(values)
    )
    if not changed.rowcount:
        connection.execute(sa.insert(preferences).values(user_id=user_id, **values))


def delete_display(connection: sa.Connection, user_id: str) -> None:
    """Back to the defaults."""
    connection.execute(sa.delete(preferences).where(preferences.c.user_id == user_id))
