"""The online value equals the point-in-time value, exactly, and is what Feast itself would have written."""

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from feast import FeatureStore
from feast.repo_config import load_repo_config

from feature_repo.definitions import VIEWS, view_named
from feature_repo.derived import DERIVED_USER_FEATURES, derive_user
from feature_repo.entities import USER_ID
from feature_repo.layout import Home
from feature_repo.live_features import user_live
from feature_repo.materialization import materialize
from feature_repo.online_store import EPOCH
from feature_repo.store import (
    EVENT_TIMESTAMP,
    OnlineReader,
    apply_definitions,
    online_store,
    open_store,
    repo_config,
    retrieve,
)
from tests.feature_world import DAY, assert_parity, day, make_world, publish, user_row
from tests.servers import RedisServer

FEATURE_REPO = Path(__file__).resolve().parents[2] / "feature_repo"
pytestmark = pytest.mark.integration

BACKENDS = [
    "sqlite",
    pytest.param(
        "redis",
        marks=pytest.mark.skipif(
            shutil.which("redis-server") is None, reason="redis-server is not installed"
        ),
    ),
]


@pytest.fixture(params=BACKENDS)
def redis_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server.url
    server.end()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_world(tmp_path / "home")


def opened(home: Home, redis_url: str | None, until: datetime | None = None) -> FeatureStore:
    store = open_store(home, redis_url)
    apply_definitions(store)
    if until is not None:
        materialize(store, home, None, until)
    return store


def test_online_values_equal_point_in_time_values(home: Home, redis_url: str | None) -> None:
    store = opened(home, redis_url, day(5))
    compared = assert_parity(store, home, sample=100, seed=1)
    scored = {"user_predictions": 2, "user_outlook": 2, "user_candidates": 2}
    assert compared == {"user_behavior": 4, "item_behavior": 2, **scored}


def test_a_day_materialized_after_the_others_keeps_parity(home: Home, redis_url: str | None) -> None:
    store = opened(home, redis_url, day(3))
    assert materialize(store, home, day(5), day(5), ["user_behavior"]) == {"user_behavior": 2}
    materialize(store, home, day(5), day(5), ["user_predictions", "user_outlook", "user_candidates"])
    assert_parity(store, home, sample=100, seed=1)


def test_a_rebuilt_day_keeps_parity(home: Home, redis_url: str | None) -> None:
    """A late event changed anna's last row, and the day that bert was in is empty now."""
    store = opened(home, redis_url, day(5))
    view = view_named("user_behavior")
    publish(home, view, day(2), {"anna": user_row(1, day(2))})
    publish(home, view, day(5), {"anna": user_row(9, day(5)), "o'neil ☃": user_row(2, day(5))})
    materialize(store, home, day(2), day(5), ["user_behavior"])
    assert_parity(store, home, sample=100, seed=1)
    [anna, bert] = OnlineReader(store).read_users("user_behavior", ["anna", "bert"], ["order_count"])
    assert anna == {"order_count": 9, "feature_at": day(5)}
    assert bert is None


def test_a_user_whose_latest_day_vanished_falls_back_to_the_one_before(
    home: Home, redis_url: str | None
) -> None:
    store = opened(home, redis_url, day(5))
    publish(home, view_named("user_behavior"), day(5), {"o'neil ☃": user_row(2, day(5))})
    materialize(store, home, day(5), day(5), ["user_behavior"])
    assert_parity(store, home, sample=100, seed=1)
    [anna] = OnlineReader(store).read_users("user_behavior", ["anna"], ["order_count"])
    assert anna == {"order_count": 1, "feature_at": day(2)}


def test_derived_values_agree_between_training_and_serving(home: Home, redis_url: str | None) -> None:
    store = opened(home, redis_url, day(5))
    at = day(5) + 11.25 * DAY
    entities = pd.DataFrame({USER_ID: ["bert", "anna"], EVENT_TIMESTAMP: pd.Timestamp(at)})
    trained = pd.DataFrame(derive_user(retrieve(store, "clv_v1", entities), at))
    fields = [field.name for field in view_named("user_behavior").features]
    rows = OnlineReader(store).read_users("user_behavior", ["bert", "anna"], fields)
    served = pd.DataFrame([derive_user(row, at) for row in rows if row is not None])
    pd.testing.assert_frame_equal(trained, served, check_exact=True)
    assert list(served.columns) == list(DERIVED_USER_FEATURES)


def test_the_bytes_are_those_that_feast_writes(home: Home, tmp_path: Path, redis_url: str | None) -> None:
    """Our column-wise path against Feast's own materialization, value by value."""
    ours = stored_bytes(opened(home, redis_url, day(5)))
    copied = Home(tmp_path / "copy")
    shutil.copytree(home.root / "marts", copied.root / "marts")
    shutil.copytree(home.predictions, copied.predictions)
    standard = opened(copied, redis_url)
    if redis_url:
        forget_everything(standard)
    published = [view.name for view in VIEWS if view is not user_live]
    standard.materialize(EPOCH, day(5), feature_views=published)
    assert stored_bytes(standard) == ours
    assert len(ours) == 12


def test_feasts_own_interface_reads_the_same(home: Home, redis_url: str | None) -> None:
    store = opened(home, redis_url, day(5))
    refs = ["user_behavior:spend_total", "user_behavior:last_order_at", "user_candidates:item_ids"]
    answer = store.get_online_features(
        features=refs, entity_rows=[{USER_ID: "anna"}, {USER_ID: "nobody"}]
    ).to_dict()
    [row] = OnlineReader(store).read_users("user_behavior", ["anna"], ["spend_total", "last_order_at"])
    assert row is not None
    assert answer["spend_total"] == [row["spend_total"], None]
    assert answer["last_order_at"] == [row["last_order_at"], None]
    assert answer["item_ids"] == [["mug", "tea pot"], None]


def test_the_yaml_says_the_same_as_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    written = load_repo_config(FEATURE_REPO, FEATURE_REPO / "feature_store.yaml")
    built = repo_config(Home(tmp_path))
    for part in ("project", "provider", "registry", "offline_store", "online_store"):
        assert getattr(written, part) == getattr(built, part)


def stored_bytes(store: FeatureStore) -> dict[tuple[str, bytes, int], dict[str, bytes]]:
    """Every stored row: view, key, microseconds -> field -> serialized value."""
    target = online_store(store.config)
    found = {}
    for view in VIEWS:
        fields = [field.name for field in view.features]
        keys = sorted(target.keys_between(store.config, view, 0, 2**62))
        rows = target.read_rows(store.config, view, keys, fields)
        for key, (at, values) in zip(keys, (row for row in rows if row is not None), strict=True):
            found[view.name, key, at] = {name: values[name].SerializeToString() for name in fields}
    target.disconnect()
    return found


def forget_everything(store: FeatureStore) -> None:
    target = online_store(store.config)
    for view in VIEWS:
        target.delete_entities(store.config, [view], list(target.keys_between(store.config, view, 0, 2**62)))
    assert not stored_bytes(store)
