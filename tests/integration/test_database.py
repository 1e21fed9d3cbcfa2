"""Connections to the operational store, SQLite and a real PostgreSQL: group commit, failures, outages."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from feature_repo.event_log import open_engine, operational_url, salts
from feature_repo.layout import Home
from serving.errors import StoreUnavailable
from serving.metrics import Metrics
from serving.store.database import MAX_UNAWAITED, Database
from tests.servers import PostgresServer

pytestmark = pytest.mark.integration

Scenario = Callable[[Database], Awaitable[None]]


def put(name: str) -> Callable[[sa.Connection], str]:
    """A change that fails if the name is taken."""

    def change(connection: sa.Connection) -> str:
        connection.execute(salts.insert().values(name=name, salt=b"x"))
        return name

    return change


def put_soon(name: str) -> Callable[[sa.Connection], None]:
    def change(connection: sa.Connection) -> None:
        put(name)(connection)

    return change


def names(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(salts.c.name).order_by(salts.c.name)).scalars())


def run(url: sa.URL, scenario: Scenario, deadline_seconds: float = 2.0) -> Metrics:
    """Run a scenario against an open store; its metrics."""
    metrics = Metrics()

    async def opened() -> None:
        database = Database.open(url, metrics, deadline_seconds, probe_seconds=0.05)
        try:
            await scenario(database)
        finally:
            await database.close()

    asyncio.run(opened())
    return metrics


def value(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(name) or 0.0


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        await asyncio.sleep(0.02)


def test_what_was_written_is_read_and_survives_a_restart(store_url: sa.URL) -> None:
    async def write(database: Database) -> None:
        assert await database.write(put("a")) == "a"
        assert await database.read(names) == ["a"]

    async def read(database: Database) -> None:
        assert await database.read(names) == ["a"]

    run(store_url, write)
    run(store_url, read)


def test_many_changes_share_few_commits(store_url: sa.URL) -> None:
    async def scenario(database: Database) -> None:
        written = await asyncio.gather(*(database.write(put(f"{n:04}")) for n in range(500)))
        assert await database.read(names) == list(written)

    metrics = run(store_url, scenario)
    assert value(metrics, "attune_database_group_size_sum") == 500
    assert value(metrics, "attune_database_group_size_count") < 100


def test_a_bad_change_fails_alone_and_its_neighbours_are_kept(store_url: sa.URL) -> None:
    async def scenario(database: Database) -> None:
        await database.write(put("05"))
        asked = [database.write(put(f"{n:02}")) for n in range(10)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer).__name__ for answer in answers].count("IntegrityError") == 1
        assert isinstance(answers[5], sa.exc.IntegrityError)
        assert await database.read(names) == [f"{n:02}" for n in range(10)]

    run(store_url, scenario)


def test_what_a_change_raises_reaches_whoever_asked_and_undoes_it(store_url: sa.URL) -> None:
    def half_done(connection: sa.Connection) -> None:
        put("half")(connection)
        raise LookupError("not today")

    async def scenario(database: Database) -> None:
        with pytest.raises(LookupError, match="not today"):
            await database.write(half_done)
        with pytest.raises(LookupError, match="not today"):
            await database.read(half_done)
        assert await database.read(names) == []
        assert (await database.status()).circuit == "closed"

    run(store_url, scenario)


def test_changes_that_nobody_waits_for_are_kept_in_the_order_given(store_url: sa.URL) -> None:
    async def scenario(database: Database) -> None:
        assert database.write_soon(put_soon("a"))
        assert database.write_soon(put_soon("a"))  # fails, alone and with a word in the log
        assert database.write_soon(put_soon("b"))
        await database.write(put("c"))
        assert await database.read(names) == ["a", "b", "c"]

    run(store_url, scenario)


def test_closing_keeps_what_nobody_waited_for(store_url: sa.URL) -> None:
    async def write(database: Database) -> None:
        for n in range(1000):
            assert database.write_soon(put_soon(f"{n:04}"))

    async def read(database: Database) -> None:
        assert len(await database.read(names)) == 1000

    run(store_url, write)
    run(store_url, read)


def test_too_many_changes_that_nobody_waits_for_are_refused_and_counted(tmp_path: Path) -> None:
    may_go_on = threading.Event()

    def slow(_: sa.Connection) -> None:
        may_go_on.wait(10)

    def nothing(_: sa.Connection) -> None:
        return None

    async def scenario(database: Database) -> None:
        taken = [
            database.write_soon(slow),
            *(database.write_soon(nothing) for _ in range(MAX_UNAWAITED + 600)),
        ]
        may_go_on.set()
        assert not all(taken)
        await until(lambda: _is_accepted(database))

    async def _is_accepted(database: Database) -> bool:
        return database.write_soon(nothing)

    metrics = run(operational_url(Home(tmp_path)), scenario)
    assert value(metrics, "attune_database_dropped_total") > 0


def test_readers_see_the_last_commit_while_somebody_writes(store_url: sa.URL) -> None:
    has_begun, may_go_on = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        put("late")(connection)
        has_begun.set()
        assert may_go_on.wait(10)

    async def scenario(database: Database) -> None:
        await database.write(put("early"))
        writing = asyncio.create_task(database.write(slow))
        await asyncio.to_thread(has_begun.wait, 10)
        assert await database.read(names) == ["early"]
        may_go_on.set()
        await writing
        assert await database.read(names) == ["early", "late"]

    run(store_url, scenario)


def test_two_processes_may_open_a_new_store_at_once(store_url: sa.URL) -> None:
    def open_once() -> None:
        asyncio.run(Database.open(store_url, Metrics()).close())

    failures: list[Exception] = []

    def guarded() -> None:
        try:
            open_once()
        except Exception as error:  # noqa: BLE001 - of a thread: the test looks at it
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_another_writer_is_waited_for(tmp_path: Path) -> None:
    url = operational_url(Home(tmp_path))

    async def scenario(database: Database) -> None:
        other = open_engine(url, writes=True)
        with other.begin() as connection:
            put("theirs")(connection)
            ours = asyncio.create_task(database.write(put("ours")))
            await asyncio.sleep(0.1)
            assert not ours.done()
        assert await ours == "ours"
        other.dispose()
        assert await database.read(names) == ["ours", "theirs"]

    run(url, scenario)


def test_a_store_that_stays_locked_is_left_alone_and_found_again(tmp_path: Path) -> None:
    url = operational_url(Home(tmp_path))

    async def scenario(database: Database) -> None:
        blocker = sqlite3.connect(str(url.database), isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        asked = [database.write(put(str(n))) for n in range(3)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        started = time.perf_counter()
        with pytest.raises(StoreUnavailable):
            await database.write(put("nobody waits any more"))
        assert time.perf_counter() - started < 0.02
        assert not database.write_soon(put_soon("x"))
        blocker.execute("ROLLBACK")
        blocker.close()
        await until(lambda: is_reachable(database))
        assert await database.write(put("after")) == "after"

    run(url, scenario, deadline_seconds=0.03)


async def is_reachable(database: Database) -> bool:
    return (await database.status()).is_reachable


def test_the_wrong_statement_is_no_outage(store_url: sa.URL) -> None:
    def wrong(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SELECT * FROM nowhere")

    async def scenario(database: Database) -> None:
        for _ in range(5):
            with pytest.raises(sa.exc.DBAPIError):
                await database.read(wrong)
            with pytest.raises(sa.exc.DBAPIError):
                await database.write(wrong)
        assert (await database.status()).circuit == "closed"

    run(store_url, scenario)


def test_a_postgresql_that_hangs_is_left_alone_and_found_again(fragile_postgres: PostgresServer) -> None:
    async def scenario(database: Database) -> None:
        await database.write(put("before"))
        fragile_postgres.pause()
        try:
            asked = [database.read(names) for _ in range(5)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(answer, StoreUnavailable) for answer in answers)
            with pytest.raises(StoreUnavailable):
                await database.write(put("meanwhile"))
            assert not (await database.status()).is_reachable
        finally:
            fragile_postgres.resume()
        await until(lambda: is_reachable(database))
        await database.write(put("after"))
        assert await database.read(names) == ["after", "before"]

    run(fragile_postgres.new_database(), scenario, deadline_seconds=0.2)


def test_a_postgresql_that_crashed_is_found_again_with_what_was_acknowledged(
    fragile_postgres: PostgresServer,
) -> None:
    async def scenario(database: Database) -> None:
        for n in range(20):
            await database.write(put(f"{n:02}"))
        fragile_postgres.kill()
        with pytest.raises(StoreUnavailable):
            await database.read(names)
        await asyncio.to_thread(fragile_postgres.start)
        await until(lambda: is_reachable(database))
        assert await database.read(names) == [f"{n:02}" for n in range(20)]

    run(fragile_postgres.new_database(), scenario, deadline_seconds=1.0)


def test_a_store_that_is_away_at_the_start_is_prepared_once_it_is_there(
    fragile_postgres: PostgresServer,
) -> None:
    url = fragile_postgres.new_database()
    fragile_postgres.kill()

    async def scenario(database: Database) -> None:
        assert not (await database.status()).is_reachable
        with pytest.raises(StoreUnavailable):
            await database.write(put("early"))
        await asyncio.to_thread(fragile_postgres.start)
        await until(lambda: is_reachable(database))
        assert await database.write(put("late")) == "late"

    run(url, scenario)


def test_messages_for_clients_and_logs_hold_no_values(
    store_url: sa.URL, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(database: Database) -> None:
        database.write_soon(put_soon("canary"))
        database.write_soon(put_soon("canary"))
        await database.read(names)
        with pytest.raises(sa.exc.IntegrityError) as refused:
            await database.write(put("canary"))
        assert "parameters hidden" in str(refused.value)

    run(store_url, scenario)
    [record] = [each for each in caplog.records if "nobody waits for" in each.message]
    assert record.__dict__["problem"] == "IntegrityError"
    assert "canary" not in caplog.text
