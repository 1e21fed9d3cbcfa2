"""Tombstones: who was erased is known by a salted hash alone; and every path below a home has its store."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from feature_repo.erasure import (
    NOBODY,
    SALT,
    Erased,
    add_tombstones,
    complete_tombstones,
    delete_subjects,
    ensure_salt,
    erased_in,
    erased_mask,
    read_erased,
    store_of,
    subject_hash,
    subjects_in,
    subjects_of,
)
from feature_repo.event_log import events, operational_url, tombstones
from feature_repo.layout import Home
from tests.operational_store import OperationalStore


@pytest.fixture
def store(tmp_path: Path) -> OperationalStore:
    return OperationalStore(Home(tmp_path))


def test_a_home_without_a_store_has_erased_nobody(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert read_erased(operational_url(home)) == NOBODY
    assert not home.operational_db.exists()


def test_the_salt_is_made_once_and_differs_between_stores(tmp_path: Path) -> None:
    salts = set()
    for name in ("one", "two"):
        with OperationalStore(Home(tmp_path / name)).writing() as connection:
            salts.add(ensure_salt(connection, SALT))
            assert ensure_salt(connection, SALT) in salts
    assert len(salts) == 2


def test_a_tombstone_names_nobody_but_recognizes(store: OperationalStore) -> None:
    with store.writing() as connection:
        add_tombstones(connection, ["u1", "v1"], 5)
        kept = connection.execute(sa.select(tombstones)).all()
        erased = erased_in(connection)
    assert {"u1", "v1"}.isdisjoint(str(kept))
    assert "u1" in erased
    assert "u2" not in erased
    assert erased.among(["u1", "u2"]) == {"u1"}
    assert read_erased(store.url) == erased


def test_the_mask_hashes_columns_of_any_form() -> None:
    salt = b"salt"
    hashes = frozenset({subject_hash(salt, "a")})
    for ids in (
        pa.array(["a", None, "b", "a"]),
        pa.chunked_array([["a", None], ["b", "a"]]),
        pa.array(["a", None, "b", "a"]).dictionary_encode(),
    ):
        assert erased_mask(ids, salt, hashes).tolist() == [True, False, False, True]
    assert not Erased(salt, frozenset()).mask(pa.array(["a"])).any()
    assert erased_mask(pa.array([], pa.string()), salt, hashes).dtype == np.bool_


def test_a_tombstone_is_pending_until_it_is_completed_and_again_when_it_is_set_again(
    store: OperationalStore,
) -> None:
    with store.writing() as connection:
        add_tombstones(connection, ["u1"], 5)
        pending = erased_in(connection, pending=True)
        complete_tombstones(connection, sorted(pending.hashes), 6)
        assert not erased_in(connection, pending=True)
        assert "u1" in erased_in(connection)
        add_tombstones(connection, ["u1"], 7)
        assert "u1" in erased_in(connection, pending=True)


def test_rows_of_a_subject_leave_every_table(store: OperationalStore) -> None:
    store.track("a", "2025-03-01T10:00:00Z", user_id="u1")
    store.track("b", "2025-03-01T10:00:00Z", anonymous_id="v1")
    store.track("c", "2025-03-01T10:00:00Z", user_id="u2")
    store.link("v1", "u1", "2025-03-01T11:00:00Z")
    store.decide("d1", "v1", "2025-03-01T12:00:00Z", [])
    with store.writing() as connection:
        ids = subjects_of(connection, "u1")
        assert ids == ["u1", "v1"]
        add_tombstones(connection, ids, 1)
        assert subjects_in(connection, erased_in(connection)) == {"u1", "v1"}
        assert delete_subjects(connection, ids) == {"decisions": 1, "events": 2, "identities": 1}
        assert delete_subjects(connection, ids) == {}
        assert "u1" in erased_in(connection)


def test_what_somebody_else_did_on_the_same_device_stays_theirs(store: OperationalStore) -> None:
    store.track("a", "2025-03-01T10:00:00Z", user_id="u2", anonymous_id="v1")
    with store.writing() as connection:
        assert delete_subjects(connection, ["u1", "v1"]) == {}
        [row] = connection.execute(sa.select(events)).all()
    assert (row.user_id, row.anonymous_id) == ("u2", None)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("landing/events/event_date=2025-01-01/tabular.parquet", "landing/events/**"),
        ("landing/customers.parquet", "landing/customers.parquet"),
        ("features/online.db-wal", "features/online.db*"),
        ("mlflow/mlflow.db", "mlflow/mlflow.db*"),
        ("mlflow/artifacts/1/model.json", "mlflow/**"),
        ("dagster/history/runs/index.db", "dagster/**/*.db*"),
        ("dagster/dagster.yaml", "dagster/**"),
        ("world/drops/x.parquet", "world/**"),
    ],
)
def test_a_path_belongs_to_the_first_store_that_names_it(path: str, pattern: str) -> None:
    store = store_of(Path(path))
    assert store is not None
    assert store.pattern == pattern


@pytest.mark.parametrize("path", ["landing/other.parquet", "features/new.db", "elsewhere/x", "run.lock/x"])
def test_what_no_store_names_is_found_out(path: str) -> None:
    assert store_of(Path(path)) is None
