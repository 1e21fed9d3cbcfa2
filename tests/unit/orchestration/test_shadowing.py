"""Lists of two versions against what was bought after them, on files as a run leaves them."""

from datetime import date, timedelta
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.layout import Home
from orchestration.assets.monitoring import shadow_result
from orchestration.data import Data
from orchestration.marts import MartsManifest
from orchestration.resources import Models
from orchestration.shadowing import KEPT_LISTS, SCHEMA, Shadow, judge, kept_lists, shadow, write_lists

DAY = date(2026, 3, 1)
USERS = [f"u{number:02}" for number in range(40)]


def published(home: Home, bought: dict[date, str], until: date) -> Data:
    """Everybody bought the one item of each day."""
    for day, item in bought.items():
        path = home.current_marts / "interactions_daily" / f"{day}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {
            "event_date": pa.array([day] * len(USERS)),
            "user_id": pa.array(USERS),
            "item_id": pa.array([item] * len(USERS)),
            "purchase_count": pa.array([1] * len(USERS), pa.int64()),
        }
        pq.write_table(pa.table(columns), path)
    return Data(home, cast(MartsManifest, None), min(bought), until)


def lists(challenger: list[str], users: list[str] = USERS, version: str = "2") -> pa.Table:
    rows = [
        {
            "user_id": user,
            "champion_version": "1",
            "challenger_version": version,
            "champion_items": ["a", "b"],
            "challenger_items": challenger,
        }
        for user in users
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_challenger_that_finds_what_is_bought_after_is_better(home: Home) -> None:
    data = published(
        home,
        {DAY: "a", DAY + timedelta(days=1): "a", DAY + timedelta(days=2): "c"},
        DAY + timedelta(days=2),
    )
    write_lists(home, DAY, lists(["a", "c"]))
    found = judge(data, "1", "2", seed=1)
    assert (found.buyers, found.days) == (40, 1)
    assert (found.champion_recall, found.challenger_recall) == (0.5, 1.0)
    assert found.gain is not None
    assert found.gain.low == pytest.approx(0.5)
    assert not shadow_result(found).passed


def test_what_was_bought_by_the_day_of_the_list_does_not_count(home: Home) -> None:
    data = published(home, {DAY: "c"}, DAY)
    write_lists(home, DAY, lists(["c"]))
    found = judge(data, "1", "2", seed=1)
    assert (found.buyers, found.gain) == (0, None)
    assert shadow_result(found).passed


def test_lists_of_another_pair_of_versions_do_not_count(home: Home) -> None:
    data = published(home, {DAY + timedelta(days=1): "c"}, DAY + timedelta(days=1))
    write_lists(home, DAY, lists(["c"], version="3"))
    assert judge(data, "1", "2", seed=1).buyers == 0


def test_a_few_buyers_say_nothing(home: Home) -> None:
    data = published(home, {DAY + timedelta(days=1): "c"}, DAY + timedelta(days=1))
    write_lists(home, DAY, lists(["c"], USERS[:5]))
    found = judge(data, "1", "2", seed=1)
    assert (found.buyers, found.gain, found.is_better) == (5, None, False)
    assert "30 are needed" in str(found)


def test_a_customer_listed_on_several_days_counts_once(home: Home) -> None:
    second = DAY + timedelta(days=1)
    data = published(home, {second: "c", second + timedelta(days=1): "a"}, second + timedelta(days=1))
    write_lists(home, DAY, lists(["c"]))
    write_lists(home, second, lists(["c"]))
    found = judge(data, "1", "2", seed=1)
    assert (found.buyers, found.days) == (40, 2)
    assert (found.champion_recall, found.challenger_recall) == (0.75, 0.25)


def test_the_oldest_lists_are_forgotten(home: Home) -> None:
    for number in range(KEPT_LISTS + 2):
        write_lists(home, DAY + timedelta(days=number), lists(["c"], USERS[:1]))
    kept = [day for day, _ in kept_lists(home)]
    assert (len(kept), kept[0]) == (KEPT_LISTS, DAY + timedelta(days=2))


def test_without_a_refused_challenger_there_is_nothing_to_compare(home: Home) -> None:
    class Empty:
        def champion(self, kind: str) -> None: ...

        def challenger(self, kind: str) -> None: ...

        def open(self) -> "Empty":
            return self

    data = published(home, {DAY: "a"}, DAY)
    assert shadow(data, cast(Models, Empty()), seed=1) is None
    assert shadow_result(None).passed


def test_what_was_found_reads_as_a_sentence() -> None:
    found = Shadow("1", "2", 3, 4, 0.1, 0.2, None)
    assert str(found) == "challenger 2 beside champion 1: 4 customers bought since, 30 are needed"
