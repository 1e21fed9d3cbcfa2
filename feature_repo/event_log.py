"""The live event log: the tables that the service writes and a run reads, and how to connect to them.

The service appends, one row per event, and acknowledges after the commit; a run (`attune run --source
event_log`) lands what arrived since. Rows are never updated. `sequence` grows in commit order within one
process; `received_at` is stamped by the writer just before the commit. Instants are microseconds since 1970
UTC: both databases compare them alike.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from feature_repo.errors import UnusableDatabase
from feature_repo.layout import Home

DRIVERS = ("postgresql+psycopg2", "sqlite", "sqlite+pysqlite")

metadata = sa.MetaData()
"""Every table of the operational store; the service's own are in `serving.store`."""

# SQLite counts up in a column of exactly this type only.
Sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

events = sa.Table(
    "events",
    metadata,
    sa.Column("sequence", Sequence, primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("user_id", sa.Text),
    sa.Column("anonymous_id", sa.Text),
    sa.Column("event_at", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    # What is null is never asked for, and costs each insert less.
    sa.Index(
        "events_by_user",
        "user_id",
        "sequence",
        sqlite_where=sa.text("user_id IS NOT NULL"),
        postgresql_where=sa.text("user_id IS NOT NULL"),
    ),
    sa.Index(
        "events_by_anonymous",
        "anonymous_id",
        "sequence",
        sqlite_where=sa.text("anonymous_id IS NOT NULL"),
        postgresql_where=sa.text("anonymous_id IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)
"""One row per event. `body`: a JSON object of the other fields of the contract (feature_repo/events.py) that
are not null, keys sorted; `context` in it is an object."""

identities = sa.Table(
    "identities",
    metadata,
    sa.Column("sequence", Sequence, primary_key=True, autoincrement=True),
    sa.Column("anonymous_id", sa.Text, nullable=False, unique=True),
    sa.Column("user_id", sa.Text, nullable=False, index=True),
    sa.Column("linked_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""One row per anonymous visitor who turned out to be a customer; the first link stands."""

tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("subject_hash", sa.Text, primary_key=True),
    sa.Column("erased_at", sa.BigInteger, nullable=False),
    sa.Column("completed_at", sa.BigInteger),
)
"""One row per erased subject, as a salted hash; `completed_at` is set once no file holds them any more."""

salts = sa.Table(
    "salts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("salt", sa.LargeBinary, nullable=False),
)
"""One random salt for each use of hashed ids (`tombstones`), made with the store."""


def operational_url(home: Home, database_url: str | None = None) -> sa.URL:
    """DATABASE_URL if there is one, with the driver that is installed; else the SQLite file of the home.

    Raises `UnusableDatabase` for what is neither a database in PostgreSQL nor an SQLite file.
    """
    if not database_url:
        return sa.URL.create("sqlite", database=str(home.operational_db))
    try:
        url = sa.make_url(database_url)
    except (sa.exc.ArgumentError, ValueError):  # a port that is no number is a plain ValueError
        raise UnusableDatabase(_shown(database_url)) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg2")
    in_memory = url.get_backend_name() == "sqlite" and url.database == ":memory:"
    if url.drivername not in DRIVERS or not url.database or in_memory:
        bare = url.set(username=None, password=None, query={})
        raise UnusableDatabase(bare.render_as_string())
    return url


def _shown(address: str) -> str:
    """What is surely no secret of an address that cannot be parsed: its host, or the word it begins with."""
    _, at, place = address.partition("?")[0].rpartition("@")
    return place if at else place.partition(":")[0]


def open_engine(url: sa.URL, writes: bool = False, **options: Any) -> sa.Engine:
    """An engine whose commits are durable: SQLite in WAL mode with an fsync at each, PostgreSQL as it is.

    SQLite overwrites what is deleted, waits up to five seconds for another writer, and its transactions begin
    when we say so: with `writes` they take the write lock at once, because a transaction that first reads and
    then writes would fail where another has written in between. The folder is made; tables are the business
    of the migrations.
    """
    options.setdefault("hide_parameters", True)  # values are people's: errors, and so logs, go without them
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True, **options)
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in (
            "busy_timeout = 5000",
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def empty_log(url: sa.URL, patience_seconds: float = 2.0) -> bool:
    """Empty SQLite's write-ahead log, which keeps deleted rows until then; False if a reader held it so long.

    Nothing to do on PostgreSQL: there VACUUM removes what was deleted.
    """
    if url.get_backend_name() != "sqlite":
        return True
    engine = open_engine(url)
    try:
        connection = engine.raw_connection()
        end = time.monotonic() + patience_seconds
        while True:
            (is_busy, _, _) = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not is_busy or time.monotonic() > end:
                return not is_busy
            time.sleep(0.02)
    finally:
        engine.dispose()
