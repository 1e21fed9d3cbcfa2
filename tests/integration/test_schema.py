"""The migrations make the tables that the code declares, once, on SQLite and on a real PostgreSQL."""

import asyncio

import pytest
import sqlalchemy as sa

from feature_repo.event_log import open_engine
from serving.errors import UnusableStore
from serving.metrics import Metrics
from serving.store import all_tables
from serving.store.database import Database
from serving.store.schema import MIGRATIONS, differences, newest, upgrade, version

pytestmark = pytest.mark.integration


def test_the_migrated_tables_are_those_that_the_code_declares(store_url: sa.URL) -> None:
    engine = open_engine(store_url, writes=True)
    upgrade(engine)
    with engine.begin() as connection:
        assert differences(connection) == []
        tables = set(sa.inspect(connection).get_table_names())
        assert tables == {*all_tables().tables, "alembic_version"}
        assert version(connection) == newest() is not None
    engine.dispose()


def test_migrating_again_changes_nothing(store_url: sa.URL) -> None:
    engine = open_engine(store_url, writes=True)
    upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO tombstones (subject_hash, erased_at) VALUES ('x', 1)")
    upgrade(engine)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM tombstones").scalar() == 1
    engine.dispose()


def test_keys_of_logs_count_up_and_are_never_used_again(store_url: sa.URL) -> None:
    """A run continues behind the last sequence it landed: an erased row must not give its number away."""
    engine = open_engine(store_url, writes=True)
    upgrade(engine)
    link = "INSERT INTO identities (anonymous_id, user_id, linked_at) VALUES ('a{0}', 'u', 1)"
    with engine.begin() as connection:
        connection.exec_driver_sql(link.format(1))
        connection.exec_driver_sql(link.format(2))
        connection.exec_driver_sql("DELETE FROM identities")
        connection.exec_driver_sql(link.format(3))
        assert connection.exec_driver_sql("SELECT sequence FROM identities").scalar() == 3
    engine.dispose()


def test_tables_of_a_newer_version_are_refused(store_url: sa.URL) -> None:
    engine = open_engine(store_url, writes=True)
    upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(UnusableStore, match="version 9999 and this service knows versions up to"):
        Database.open(store_url, Metrics())


def test_the_same_tables_made_without_migrations_are_taken_over(store_url: sa.URL) -> None:
    engine = open_engine(store_url, writes=True)
    all_tables().create_all(engine)
    upgrade(engine)
    with engine.begin() as connection:
        assert version(connection) == newest()
    engine.dispose()


def test_other_tables_are_refused(store_url: sa.URL) -> None:
    engine = open_engine(store_url, writes=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE events (when_it_was text)")
    with pytest.raises(UnusableStore, match="neither empty nor those of this version"):
        upgrade(engine)
    engine.dispose()


def test_migrations_are_numbered_in_a_row() -> None:
    names = sorted(path.name for path in (MIGRATIONS / "versions").glob("0*.py"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert newest() == f"{len(names):04}"


def test_opening_prepares_an_empty_store(store_url: sa.URL) -> None:
    async def opened() -> str | None:
        database = Database.open(store_url, Metrics(), deadline_seconds=2.0)
        try:
            return await database.read(version)
        finally:
            await database.close()

    assert asyncio.run(opened()) == newest()
