"""Erasure and export on a home with a real online store."""

import asyncio
import sqlite3
from pathlib import Path

import orjson
import pytest

from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from serving.features import FeatureReader
from serving.metrics import Metrics
from serving.people.export import Export
from serving.people.privacy import Privacy
from serving.people.tombstones import Tombstones
from serving.runtime import online_store_opener
from serving.settings import Settings
from serving.store.database import Database
from tests.serving_home import make_home

pytestmark = pytest.mark.integration


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path, extra_customers=["canary-7f3a"])


def held(home: Home) -> bytes:
    """The online store's file and its log."""
    return b"".join(path.read_bytes() for path in home.features.glob("online.db*"))


def test_every_view_forgets_the_person_and_keeps_the_others(home: Home) -> None:
    async def scenario() -> None:
        database = Database.open(operational_url(home), Metrics(), deadline_seconds=10)
        tombstones = Tombstones(database)
        reader = FeatureReader(online_store_opener(home, None), Metrics())
        await reader.start()
        export = Export(database, reader, home)
        before = orjson.loads(b"".join([piece async for piece in await export.document("canary-7f3a")]))
        assert before["online_features"]["user_candidates"]["canary-7f3a"]["item_ids"] == [
            "mug",
            "lamp",
            "pot",
        ]
        assert b"canary-7f3a" in held(home)
        receipt = await Privacy(database, tombstones, Settings(home)).erase("canary-7f3a")
        assert receipt["removed"]["online_features"] == 1
        assert b"canary-7f3a" not in held(home)
        after = await reader.read("user_candidates", ["canary-7f3a", "anna"], ["item_ids"])
        assert [row is None for row in after.rows] == [True, False]
        await reader.close()
        await database.close()

    asyncio.run(scenario())


def test_a_view_that_was_never_applied_stops_no_erasure(home: Home) -> None:
    with sqlite3.connect(home.online_db) as connection:
        connection.execute("drop table attune_user_live")

    async def scenario() -> None:
        database = Database.open(operational_url(home), Metrics(), deadline_seconds=10)
        receipt = await Privacy(database, Tombstones(database), Settings(home)).erase("canary-7f3a")
        assert receipt["removed"]["online_features"] == 1
        await database.close()

    asyncio.run(scenario())
