"""The reader on real online stores: SQLite, and a redis-server that is stopped, killed and started again."""

import asyncio
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.layout import Home
from serving.features import FeatureReader
from serving.metrics import Metrics
from serving.people.profile import BEHAVIOUR, PREDICTIONS
from serving.recommendations.knowledge import CANDIDATE_FIELDS, CANDIDATES, SEEN_FIELDS
from serving.releases import find_release, read_release
from serving.runtime import feast_profile_view, online_store_opener, open_runtime
from serving.settings import Settings
from tests.servers import RedisServer
from tests.serving_home import FEATURE_AT, make_home

pytestmark = pytest.mark.integration
needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.end()


def reader_of(home: Home, redis_url: str | None = None) -> FeatureReader:
    return FeatureReader(online_store_opener(home, redis_url), Metrics(), probe_seconds=0.1)


async def answers_again(reader: FeatureReader, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (await reader.read(CANDIDATES, ["anna"], CANDIDATE_FIELDS)).failure is None:
            return True
        await asyncio.sleep(0.05)
    return False


def test_what_was_materialized_is_read(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    view = feast_profile_view()

    async def scenario() -> None:
        reader = reader_of(home)
        await reader.start()
        reading = await reader.read(CANDIDATES, ["anna", "nobody"], SEEN_FIELDS)
        row = reading.rows[0]
        assert row is not None and reading.rows[1] is None
        assert row["item_ids"] == ["mug", "lamp", "pot"]
        assert row["feature_at"] == FEATURE_AT
        for name, fields in ((BEHAVIOUR, view.behaviour_fields), (PREDICTIONS, view.prediction_fields)):
            assert (await reader.read(name, ["anna"], fields)).rows[0] is not None
        await reader.close()

    asyncio.run(scenario())


def test_a_profile_from_real_features_has_derived_values(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    settings = Settings(home=home, release_source="home")

    async def scenario() -> None:
        runtime = await open_runtime(settings, read_release(find_release(settings)))
        profile = await runtime.profiles.profile("anna")
        assert profile["as_of"] == FEATURE_AT.isoformat()
        assert profile["features"]["mean_gap_days"] == 10.0
        assert profile["features"]["mean_order_value"] == pytest.approx(250 / 3)
        assert profile["features"]["spend_decay_7d"] is None, "unknown in the store: null, not NaN"
        assert profile["segments"] == {
            "value_segment": "low",
            "loyalty_tier": "Standard",
            "price_tier": "Premium",
            "behavior_segment": None,
            "behavior_segment_before": None,
        }
        await runtime.close()

    asyncio.run(scenario())


def test_a_home_without_an_online_store_is_served_once_there_is_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        reader = reader_of(Home(tmp_path))
        await reader.start()
        assert not (await reader.status()).is_reachable
        make_home(tmp_path)
        assert await answers_again(reader)
        await reader.close()

    asyncio.run(scenario())


@needs_redis
def test_a_stopped_redis_costs_one_deadline_and_comes_back(tmp_path: Path, redis: RedisServer) -> None:
    home = make_home(tmp_path / "home", redis.url)

    async def scenario() -> None:
        reader = reader_of(home, redis.url)
        await reader.start()
        assert (await reader.read(CANDIDATES, ["anna"], CANDIDATE_FIELDS)).failure is None
        redis.process.send_signal(signal.SIGSTOP)
        waits = []
        for _ in range(20):
            started = time.monotonic()
            assert (await reader.read(CANDIDATES, ["anna"], CANDIDATE_FIELDS)).failure is not None
            waits.append(time.monotonic() - started)
        assert max(waits) < 0.4, "one deadline, with slack for a busy machine"
        assert sorted(waits)[10] < 0.02, "most wait for nothing"
        redis.process.send_signal(signal.SIGCONT)
        assert await answers_again(reader)
        await reader.close()

    asyncio.run(scenario())


@needs_redis
def test_a_redis_that_died_and_was_started_again_is_used_again(tmp_path: Path, redis: RedisServer) -> None:
    home = make_home(tmp_path / "home", redis.url)

    async def scenario() -> None:
        reader = reader_of(home, redis.url)
        await reader.start()
        redis.kill()
        assert (await reader.read(CANDIDATES, ["anna"], CANDIDATE_FIELDS)).failure is not None
        redis.start()
        assert await answers_again(reader)
        await reader.close()

    asyncio.run(scenario())
