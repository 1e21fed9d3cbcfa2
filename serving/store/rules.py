"""Versions of the business rules: each row holds all rules of one version; the last row counts."""

import sqlalchemy as sa

from feature_repo.event_log import Sequence as CountedUp
from feature_repo.event_log import metadata

rules = sa.Table(
    "rules",
    metadata,
    sa.Column("version", CountedUp, primary_key=True, autoincrement=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
"""`body`: a JSON list of rules as `serving.decisions.rules.Rule` has them; `source`: `api` or `file`."""


def append_version(connection: sa.Connection, at: int, source: str, body: str) -> int:
    """Add a version and return its number."""
    result = connection.execute(sa.insert(rules).values(at=at, source=source, body=body))
    [version] = result.inserted_primary_key or (0,)
    return int(version)


def latest_version(connection: sa.Connection) -> tuple[int, str, str] | None:
    """Number, source and body of the version that counts, or None if none was ever stored."""
    query = sa.select(rules.c.version, rules.c.source, rules.c.body).order_by(rules.c.version.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else (row.version, row.source, row.body)


def versions(connection: sa.Connection, limit: int) -> list[tuple[int, int, str]]:
    """Number, instant and source of the latest versions, newest first."""
    query = sa.select(rules.c.version, rules.c.at, rules.c.source).order_by(rules.c.version.desc())
    return [(row.version, row.at, row.source) for row in connection.execute(query.limit(limit))]


def latest_from_file(connection: sa.Connection) -> str | None:
    """The body of the last version that came from the file, or None."""
    query = sa.select(rules.c.body).where(rules.c.source == "file").order_by(rules.c.version.desc()).limit(1)
    body = connection.execute(query).scalar()
    return None if body is None else str(body)
