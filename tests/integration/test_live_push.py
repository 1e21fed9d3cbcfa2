"""The live state on real parts: SQLite's event log, Feast's online store, a redis-server that dies."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.layout import Home
from feature_repo.live import LiveUser
from feature_repo.live_store import LIVE, LIVE_FIELDS, live_user
from feature_repo.store import OnlineReader, open_store
from serving.people.permissions import Signals
from serving.releases import find_release, read_release
from serving.runtime import Runtime, open_runtime
from serving.settings import Settings
from tests.servers import RedisServer
from tests.serving_home import make_home

pytestmark = pytest.mark.integration
needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.end()


async def opened(home: Home, redis_url: str | None = None, workers: int = 1) -> Runtime:
    settings = Settings(home=home, release_source="home", redis_url=redis_url, workers=workers)
    return await open_runtime(settings, read_release(find_release(settings)))


async def track(runtime: Runtime, user: str, item: str) -> None:
    row = {"user_id": user, "event_type": "product_view", "item_id": item}
    [outcome] = await runtime.tracker.track([row], Signals(), "test")
    assert outcome.status == "accepted", outcome


async def stored(home: Home, user: str, items: list[str], redis_url: str | None = None) -> float:
    """Seconds until Feast's row has exactly these items, as another process reads it."""
    reader = OnlineReader(open_store(home, redis_url))
    started = time.monotonic()
    while time.monotonic() - started < 10:
        [row] = await asyncio.to_thread(reader.read_users, LIVE, [user], LIVE_FIELDS)
        if row is not None and items_of(live_user(row)) == items:
            reader.close()
            return time.monotonic() - started
        await asyncio.sleep(0.01)
    raise AssertionError(f"the row does not have {items}")


def items_of(row: LiveUser | None) -> list[str]:
    return [] if row is None else [item for item, _, _ in row.recent]


def test_an_act_is_in_feast_within_a_second(tmp_path: Path) -> None:
    home = make_home(tmp_path)

    async def scenario() -> None:
        runtime = await opened(home)
        await track(runtime, "anna", "mug")
        first = await stored(home, "anna", ["mug"])
        await track(runtime, "anna", "lamp")
        second = await stored(home, "anna", ["lamp", "mug"])
        assert min(first, second) < 1, "the first push opens the store"
        await runtime.close()

    asyncio.run(scenario())


def test_a_worker_reads_from_feast_what_another_wrote(tmp_path: Path) -> None:
    home = make_home(tmp_path)

    async def scenario() -> None:
        one, two = await opened(home, workers=2), await opened(home, workers=2)
        await track(one, "anna", "mug")
        await stored(home, "anna", ["mug"])
        await track(two, "anna", "lamp")
        await stored(home, "anna", ["lamp", "mug"])
        for runtime in (one, two):
            [row] = await runtime.live.read(["anna"])
            assert items_of(row) == ["lamp", "mug"]
            await runtime.close()

    asyncio.run(scenario())


@needs_redis
def test_acts_are_known_while_redis_is_dead_and_in_it_when_it_is_back(
    tmp_path: Path, redis: RedisServer
) -> None:
    home = make_home(tmp_path / "home", redis.url)

    async def scenario() -> None:
        runtime = await opened(home, redis.url)
        await track(runtime, "anna", "mug")
        await stored(home, "anna", ["mug"], redis.url)
        redis.kill()
        await track(runtime, "anna", "lamp")
        assert items_of(runtime.live.known("anna")) == ["lamp", "mug"]
        await asyncio.sleep(0.6)
        redis.start()
        await stored(home, "anna", ["lamp", "mug"], redis.url)
        await runtime.close()

    asyncio.run(scenario())


def test_an_erased_customer_leaves_feast_and_memory(tmp_path: Path) -> None:
    home = make_home(tmp_path)

    async def scenario() -> None:
        runtime = await opened(home)
        await track(runtime, "anna", "mug")
        await stored(home, "anna", ["mug"])
        await runtime.privacy.erase("anna")
        await asyncio.sleep(0.3)
        assert runtime.live.known("anna") is None
        reader = OnlineReader(open_store(home))
        assert reader.read_users(LIVE, ["anna"], LIVE_FIELDS) == [None]
        reader.close()
        await runtime.close()

    asyncio.run(scenario())


def test_a_home_of_an_older_version_can_be_read_before_anything_is_pushed(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with sqlite3.connect(home.online_db) as connection:
        connection.execute("drop table attune_user_live")
    connection.close()

    async def scenario() -> None:
        runtime = await opened(home)
        reading = await runtime.reader.read(LIVE, ["anna"], LIVE_FIELDS)
        assert reading.failure is None and reading.rows == [None]
        await runtime.close()

    asyncio.run(scenario())
