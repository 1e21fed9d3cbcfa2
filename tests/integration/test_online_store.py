"""One suite over both online stores: our SQLite file and a real redis-server."""

import gc
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore

from feature_repo.definitions import view_named
from feature_repo.entities import USER_ID
from feature_repo.errors import (
    DuplicateRows,
    InvalidEntityId,
    MissingSource,
    OnlineStoreUnavailable,
    UnknownFeature,
    WrongColumns,
)
from feature_repo.layout import Home
from feature_repo.materialization import materialize
from feature_repo.predictions import write_predictions
from feature_repo.redis_store import connection_string
from feature_repo.store import (
    EVENT_TIMESTAMP,
    OnlineReader,
    apply_definitions,
    delete_user,
    materialized_until,
    open_store,
    retrieve,
)
from tests.feature_world import day, make_world, predictions, publish, user_row
from tests.servers import RedisServer, free_port

pytestmark = pytest.mark.integration

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
VIEW = view_named("user_behavior")


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
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
    return Home(tmp_path / "home")


@pytest.fixture
def store(home: Home, redis_url: str | None) -> FeatureStore:
    opened = open_store(home, redis_url)
    apply_definitions(opened)
    return opened


def push(store: FeatureStore, user: str, orders: int, at: datetime) -> None:
    """Write one row through Feast's own interface."""
    row = {USER_ID: user, "feature_at": pd.Timestamp(at), **user_row(orders, at)}
    fields = [USER_ID, *(field.name for field in VIEW.features)]
    frame = pd.DataFrame([{name: row.get(name) for name in fields}])
    for field in VIEW.features:
        if str(field.dtype) == "UnixTimestamp":
            frame[field.name] = pd.to_datetime(frame[field.name], utc=True)
        elif str(field.dtype) == "Float64":
            frame[field.name] = frame[field.name].astype(float)
    store.write_to_online_store("user_behavior", frame)


def orders_of(store: FeatureStore, *users: str) -> list[int | None]:
    reader = OnlineReader(store)
    rows = reader.read_users("user_behavior", users, ["order_count"])
    reader.close()
    return [None if row is None else row["order_count"] for row in rows]


def test_the_newest_row_wins_whatever_comes_last(store: FeatureStore) -> None:
    push(store, "anna", 5, day(5))
    push(store, "anna", 4, day(4))
    assert orders_of(store, "anna") == [5]
    push(store, "anna", 6, day(6))
    assert orders_of(store, "anna") == [6]


def test_of_two_rows_of_one_instant_the_later_written_wins(store: FeatureStore) -> None:
    push(store, "anna", 5, day(5))
    push(store, "anna", 7, day(5))
    assert orders_of(store, "anna") == [7]


def test_microseconds_decide_too(store: FeatureStore) -> None:
    push(store, "anna", 1, day(5) + timedelta(microseconds=2))
    push(store, "anna", 2, day(5) + timedelta(microseconds=1))
    assert orders_of(store, "anna") == [1]


def test_materialize_does_not_overwrite_a_newer_row(home: Home, store: FeatureStore) -> None:
    push(store, "anna", 50, day(9))
    publish(home, VIEW, day(5), {"anna": user_row(5, day(5))})
    assert materialize(store, home, None, day(5)) == {"user_behavior": 1}
    assert orders_of(store, "anna") == [50]


def test_only_rows_of_the_window_are_written(home: Home, store: FeatureStore) -> None:
    for number in (2, 3, 4):
        publish(home, VIEW, day(number), {f"user {number}": user_row(number, day(number))})
    assert materialize(store, home, day(3), day(3)) == {"user_behavior": 1}
    assert orders_of(store, "user 2", "user 3", "user 4") == [None, 3, None]
    assert materialize(store, home, day(3), day(4)) == {"user_behavior": 2}
    assert orders_of(store, "user 2", "user 3", "user 4") == [None, 3, 4]
    assert materialized_until(store)["user_behavior"] == day(4)
    assert materialized_until(store)["item_behavior"] is None


def test_applying_again_keeps_what_is_stored(store: FeatureStore) -> None:
    push(store, "anna", 5, day(5))
    apply_definitions(store)
    assert orders_of(store, "anna") == [5]


def test_rows_come_in_the_order_asked_and_twice_if_asked_twice(store: FeatureStore) -> None:
    push(store, "anna", 1, day(5))
    push(store, "bert", 2, day(5))
    assert orders_of(store, "bert", "nobody", "anna", "bert") == [2, None, 1, 2]
    assert orders_of(store) == []


def test_more_users_than_one_query_takes(home: Home, store: FeatureStore) -> None:
    users = [f"user {number}" for number in range(1_203)]
    publish(home, VIEW, day(5), {user: user_row(place, day(5)) for place, user in enumerate(users)})
    materialize(store, home, None, day(5))
    assert orders_of(store, *users, "nobody") == [*range(1_203), None]


def test_missing_values_are_none_and_instants_are_utc(store: FeatureStore) -> None:
    push(store, "anna", 0, day(5))
    fields = ["last_order_at", "max_order_amount", "recent_items", "recent_categories", "last_event_at"]
    [row] = OnlineReader(store).read_users("user_behavior", ["anna"], fields)
    assert row == {
        "feature_at": day(5),
        "last_order_at": None,
        "max_order_amount": None,
        "recent_items": ["mug", "tea pot"],
        "recent_categories": [],
        "last_event_at": datetime(2024, 3, 4, 22, 59, 59, tzinfo=UTC),
    }


def test_a_deleted_user_is_gone_from_all_views_and_others_stay(tmp_path: Path, redis_url: str | None) -> None:
    home = make_world(tmp_path / "world")
    store = open_store(home, redis_url)
    apply_definitions(store)
    materialize(store, home, None, day(5))
    assert delete_user(store, "anna") == 4
    assert delete_user(store, "anna") == 0
    reader = OnlineReader(store)
    assert reader.read_users("user_candidates", ["anna", "bert"], ["release_id"])[0] is None
    assert reader.read_users("user_predictions", ["bert"], ["clv_90d"]) == [
        {"feature_at": day(5), "clv_90d": 50.0}
    ]
    assert orders_of(store, "anna", "bert") == [None, 0]


def test_an_id_that_is_no_text_is_refused(store: FeatureStore) -> None:
    reader = OnlineReader(store)
    wrong: list[Any] = [7, "", None, b"anna", np.str_("anna")]
    for value in wrong:
        with pytest.raises(InvalidEntityId, match="user_id=.*non-empty str"):
            reader.read_users("user_behavior", [value], ["order_count"])


def test_a_view_or_field_that_is_not_defined_is_refused(store: FeatureStore) -> None:
    reader = OnlineReader(store)
    with pytest.raises(UnknownFeature, match="'weather' is not defined; defined are .*user_behavior"):
        reader.read_users("weather", ["anna"], ["order_count"])
    with pytest.raises(UnknownFeature, match="field of user_behavior 'ordercount' .* order_count"):
        reader.read_users("user_behavior", ["anna"], ["ordercount"])


# SQLite alone


def test_no_byte_of_a_deleted_user_stays_in_the_file(home: Home) -> None:
    store = open_store(home)
    apply_definitions(store)
    secret = {"recent_items": [f"secret-{number}" for number in range(400)]}
    users = {f"user-{number}": user_row(1, day(4)) for number in range(300)}
    publish(home, VIEW, day(4), {**users, "erased": user_row(1, day(4), **secret)})
    publish(home, VIEW, day(5), {"erased": user_row(2, day(5), recent_items=["secret-again"])})
    materialize(store, home, None, day(4))
    materialize(store, home, day(5), day(5))
    assert any(b"erased" in path.read_bytes() for path in home.features.glob("online.db*"))
    assert delete_user(store, "erased") == 1
    for path in home.features.glob("online.db*"):
        assert b"erased" not in path.read_bytes()
        assert b"secret" not in path.read_bytes()
    assert orders_of(store, "erased", "user-299") == [None, 1]


def test_a_file_that_is_not_there_is_an_unavailable_store(home: Home) -> None:
    with pytest.raises(OnlineStoreUnavailable, match="online.db is not available: no such file.*attune run"):
        orders_of(open_store(home), "anna")
    assert not home.online_db.exists()


def test_a_locked_file_fails_within_the_read_timeout_and_comes_back(home: Home) -> None:
    store = open_store(home)
    apply_definitions(store)
    push(store, "anna", 1, day(5))
    del store  # and its connections, or nobody could lock the file
    gc.collect()
    rude = sqlite3.connect(home.online_db, isolation_level=None)
    rude.execute("pragma locking_mode = exclusive")
    rude.execute("begin exclusive")
    reader = OnlineReader(open_store(home))
    started = time.perf_counter()
    with pytest.raises(OnlineStoreUnavailable, match="locked"):
        reader.read_users("user_behavior", ["anna"], ["order_count"])
    assert time.perf_counter() - started < 1
    rude.execute("rollback")
    rude.close()
    assert reader.read_users("user_behavior", ["anna"], ["order_count"])[0] is not None


def test_a_reader_sees_the_store_while_it_is_written(home: Home) -> None:
    store = open_store(home)
    apply_definitions(store)
    push(store, "anna", 1, day(5))
    with sqlite3.connect(home.online_db) as writer:
        writer.execute("begin immediate")
        writer.execute("delete from attune_user_behavior")
        assert orders_of(store, "anna") == [1]
        writer.rollback()
    writer.close()


# Redis alone


def test_a_redis_that_is_not_there_is_an_unavailable_store(home: Home) -> None:
    store = open_store(home, f"redis://:hidden@127.0.0.1:{free_port()}/0")
    with pytest.raises(OnlineStoreUnavailable, match="redis 127.0.0.1:") as caught:
        OnlineReader(store).read_users("user_behavior", ["anna"], ["order_count"])
    assert "hidden" not in str(caught.value)


def test_a_redis_that_hangs_costs_the_timeout_only(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        store = open_store(home, f"redis://127.0.0.1:{mute.getsockname()[1]}")
        started = time.perf_counter()
        with pytest.raises(OnlineStoreUnavailable, match="[Tt]imeout|timed out"):
            OnlineReader(store).read_users("user_behavior", ["anna"], ["order_count"])
        assert time.perf_counter() - started < 1


def test_a_connection_string_carries_what_the_url_says() -> None:
    assert connection_string("redis://cache") == (
        "cache:6379,db=0,socket_timeout=0.05,socket_connect_timeout=0.05,retry=null"
    )
    secured = connection_string("rediss://me:p%40ss@cache:7000/2", password="1,2=3")
    assert 'db=2,ssl=true,username="me",password="1\\u002c2=3"' in secured
    with pytest.raises(ValueError, match="REDIS_URL='cache:6379' is not redis://"):
        connection_string("http://user:secret@cache:6379")
    with pytest.raises(ValueError, match="no whole port and database"):
        connection_string("redis://cache:6379/first")


# What is published


def test_a_named_view_without_data_is_an_error_and_an_unnamed_one_is_left_out(
    home: Home, store: FeatureStore
) -> None:
    assert materialize(store, home, None, day(5)) == {}
    with pytest.raises(MissingSource, match=r"'user_predictions' has no data.*user_predictions/\*.parquet"):
        materialize(store, home, None, day(5), ["user_predictions"])


def test_two_rows_of_one_user_and_instant_are_refused(home: Home) -> None:
    store = open_store(home)
    apply_definitions(store)
    path = publish(home, VIEW, day(5), {"anna": user_row(1, day(5))})
    shutil.copy(path, path.with_name("again.parquet"))
    with pytest.raises(DuplicateRows, match="user_behavior has more than one row of anna"):
        materialize(store, home, None, day(5))
    entities = pd.DataFrame({USER_ID: ["anna"], EVENT_TIMESTAMP: pd.Timestamp(day(5))})
    with pytest.raises(DuplicateRows, match="user_behavior"):
        retrieve(store, "clv_v1", entities)


def test_predictions_need_the_columns_of_their_view_and_each_user_once(home: Home) -> None:
    rows = predictions(["anna", "bert"])
    with pytest.raises(WrongColumns, match=r"lack \['clv_90d'\] and have \['clv'\] too much"):
        renamed = [name.removesuffix("_90d") if name == "clv_90d" else name for name in rows.column_names]
        write_predictions(home, "user_predictions", rows.rename_columns(renamed), day(5))
    with pytest.raises(DuplicateRows, match="more than one row of anna"):
        write_predictions(home, "user_predictions", predictions(["anna", "bert", "anna"]), day(5))
    assert not list(home.root.rglob("*.parquet"))
    for number in (2, 3, 4, 4):
        write_predictions(home, "user_predictions", rows, day(number), kept_files=2)
    names = sorted(path.name for path in home.prediction("user_predictions").iterdir())
    assert names == ["2024-03-03.parquet", "2024-03-04.parquet"]


# Point in time


def test_a_frame_sees_what_was_known_at_its_instants(tmp_path: Path) -> None:
    home = make_world(tmp_path / "world")
    store = open_store(home)
    apply_definitions(store)
    microsecond = timedelta(microseconds=1)
    asked = [
        ("anna", day(5), 4.0),  # known exactly at the instant
        ("anna", day(5) - microsecond, 1.0),
        ("anna", day(2) - microsecond, None),
        ("nobody", day(5), None),
        ("anna", day(5), 4.0),  # asked twice
        ("anna", day(28), 4.0),  # true until she acts again
        ("carl", day(4), 3.0),
    ]
    entities = pd.DataFrame(
        {
            "note": range(len(asked)),
            USER_ID: [user for user, _, _ in asked],
            EVENT_TIMESTAMP: pd.to_datetime([at for _, at, _ in asked], utc=True),
        },
        index=[9, 9, 8, 7, 6, 5, 4],
    )
    frame = retrieve(store, "churn_v1", entities)
    assert frame["note"].tolist() == list(range(len(asked)))
    assert frame[USER_ID].tolist() == [user for user, _, _ in asked]
    assert [None if np.isnan(value) else value for value in frame["order_count"]] == [
        orders for _, _, orders in asked
    ]
    assert frame[EVENT_TIMESTAMP].tolist() == entities[EVENT_TIMESTAMP].tolist()


def test_a_prediction_expires(tmp_path: Path) -> None:
    home = make_world(tmp_path / "world")
    store = open_store(home)
    apply_definitions(store)
    lifetime = view_named("user_predictions").ttl
    assert lifetime == timedelta(days=45)
    entities = pd.DataFrame(
        {
            USER_ID: ["anna"] * 2,
            EVENT_TIMESTAMP: pd.to_datetime(
                [day(5) + lifetime, day(5) + lifetime + timedelta(seconds=1)], utc=True
            ),
        }
    )
    frame = retrieve(store, "serving_v1", entities)
    assert frame["clv_90d"].tolist()[0] == 100.0
    assert np.isnan(frame["clv_90d"].tolist()[1])
    assert frame["order_count"].tolist() == [4, 4]


def test_a_later_row_changes_no_earlier_feature(tmp_path: Path) -> None:
    home = make_world(tmp_path / "world")
    store = open_store(home)
    apply_definitions(store)
    entities = pd.DataFrame({USER_ID: ["anna", "carl"], EVENT_TIMESTAMP: pd.Timestamp(day(6))})
    before = retrieve(store, "clv_v1", entities)
    publish(home, VIEW, day(7), {"anna": user_row(99, day(7)), "carl": user_row(99, day(7))})
    pd.testing.assert_frame_equal(retrieve(store, "clv_v1", entities), before)


def test_a_frame_that_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    home = make_world(tmp_path / "world")
    store = open_store(home)
    apply_definitions(store)
    at = pd.to_datetime([day(5)], utc=True)
    with pytest.raises(InvalidEntityId, match="user_id=7"):
        retrieve(store, "clv_v1", pd.DataFrame({USER_ID: [7], EVENT_TIMESTAMP: at}))
    with pytest.raises(ValueError, match="make it UTC instants"):
        retrieve(store, "clv_v1", pd.DataFrame({USER_ID: ["a"], EVENT_TIMESTAMP: at.tz_localize(None)}))
    with pytest.raises(UnknownFeature, match="clv_v0.*clv_v1"):
        retrieve(store, "clv_v0", pd.DataFrame({USER_ID: ["a"], EVENT_TIMESTAMP: at}))
    nobody = pd.DataFrame({USER_ID: pd.Series([], dtype=str), EVENT_TIMESTAMP: at[:0]})
    assert {"order_count", "feature_at"} <= set(retrieve(store, "clv_v1", nobody).columns)
