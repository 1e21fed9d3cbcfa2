"""Live rows on both online stores: what is pushed is read, by us and by Feast; the newest wins."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from feast import FeatureStore
from feast.data_source import PushMode

from feature_repo.entities import USER_ID
from feature_repo.layout import Home
from feature_repo.live import LiveUser
from feature_repo.live_store import LIVE, LIVE_FIELDS, LiveWriter, live_user
from feature_repo.store import OnlineReader, apply_definitions, delete_user, open_store
from tests.servers import RedisServer

pytestmark = pytest.mark.integration
needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")

AT = 1_706_700_000_123_456
ROW = LiveUser(
    recent=(("mug", "add_to_cart", AT - 5), ("cup", "product_view", AT - 9)),
    session_id="s1",
    session_started_at=AT - 60_000_001,
    session_event_count=3,
    counts={"add_to_cart": 1, "product_view": 2},
    counts_since=AT - 10**9,
    searches=("red mug",),
    categories=("kitchen",),
    last_event_at=AT - 5,
    engagement_score=0.321,
    significance=0.9,
    sequence=17,
)
NOTHING = replace(
    ROW, recent=(), session_id=None, session_started_at=None, counts={}, searches=(), categories=()
)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FeatureStore]:
    if request.param == "sqlite":
        opened = open_store(Home(tmp_path / "home"))
        apply_definitions(opened)
        yield opened
        return
    server = RedisServer(tmp_path / "redis")
    server.start()
    opened = open_store(Home(tmp_path / "home"), server.url)
    apply_definitions(opened)
    yield opened
    server.end()


def read(store: FeatureStore, *visitors: str) -> list[LiveUser | None]:
    reader = OnlineReader(store)
    rows = reader.read_users(LIVE, visitors, LIVE_FIELDS)
    reader.close()
    return [None if row is None else live_user(row) for row in rows]


def test_what_is_pushed_is_read_to_the_microsecond(store: FeatureStore) -> None:
    writer = LiveWriter(store)
    writer.write([("anna", AT, ROW), ("bert", AT, NOTHING)])
    assert read(store, "bert", "nobody", "anna") == [NOTHING, None, ROW]
    [row] = OnlineReader(store).read_users(LIVE, ["anna"], ["feature_at"])
    assert row == {"feature_at": datetime.fromtimestamp(AT // 1_000_000, UTC).replace(microsecond=123_456)}
    writer.close()


def test_a_row_of_an_earlier_instant_does_not_replace_a_later_one(store: FeatureStore) -> None:
    writer = LiveWriter(store)
    writer.write([("anna", AT, ROW)])
    writer.write([("anna", AT - 1, NOTHING)])
    assert read(store, "anna") == [ROW]
    writer.write([("anna", AT, NOTHING)])
    assert read(store, "anna") == [NOTHING], "of the same instant, the later written"


def test_feast_reads_what_we_push_and_we_read_what_feast_pushes(store: FeatureStore) -> None:
    LiveWriter(store).write([("anna", AT, ROW)])
    refs = [f"{LIVE}:{name}" for name in LIVE_FIELDS if name != "feature_at"]
    answer = store.get_online_features(features=refs, entity_rows=[{USER_ID: "anna"}]).to_dict()
    frame = pd.DataFrame({**answer, USER_ID: ["carl"], "feature_at": [pd.Timestamp(AT, unit="us", tz="UTC")]})
    store.push(LIVE, frame, to=PushMode.ONLINE)
    assert read(store, "carl") == [ROW]


def test_an_erased_customer_has_no_live_row(store: FeatureStore) -> None:
    LiveWriter(store).write([("anna", AT, ROW)])
    assert delete_user(store, "anna") == 1
    assert read(store, "anna") == [None]


def test_a_home_of_an_older_version_gets_the_table_with_the_first_push(tmp_path: Path) -> None:
    store = open_store(Home(tmp_path))
    LiveWriter(store).write([("anna", AT, ROW)])
    assert read(store, "anna") == [ROW]
