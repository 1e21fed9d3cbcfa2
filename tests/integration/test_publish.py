"""Publishing marts: versions, links, the swap, what a killed run leaves, and which days are dirty."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from feature_repo.layout import Home
from orchestration import marts
from orchestration.dbt import WINDOW_FILE
from orchestration.errors import NothingToDo, PipelineError
from orchestration.mart_files import MARTS
from orchestration.marts import current_manifest, dirty_days, needs_full_refresh, publish_marts
from tests.integration.landed import Event, Transforms, copy_home, event, land, land_catalogue, land_day

pytestmark = pytest.mark.integration

DAYS = [date(2024, 5, 1), date(2024, 5, 2), date(2024, 5, 3)]


def purchase(event_id: str, user: str, day: date, price: float = 10.0) -> Event:
    return event(
        event_id,
        "purchase",
        f"{day} 12:00",
        user_id=user,
        item_id="lamp",
        order_id=event_id,
        quantity=1.0,
        price=price,
    )


@pytest.fixture(scope="module")
def published(transforms: Transforms, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Three days of two customers, built and published; not to be changed."""
    home = Home(tmp_path_factory.mktemp("published") / "home")
    land_catalogue(home)
    land(home, [purchase(f"{user}-{day}", user, day) for user in ("zoe", "ann") for day in DAYS])
    transforms.run(home, full_refresh=True)
    publish_marts(home, DAYS, full=True)
    return home


@pytest.fixture
def home(published: Home, tmp_path: Path) -> Home:
    return copy_home(published, tmp_path / "home")


def file_of(home: Home, mart: str, day: date) -> Path:
    return home.mart(mart) / f"{day}.parquet"


def test_every_mart_is_a_folder_of_sorted_parquet_files(published: Home) -> None:
    manifest = current_manifest(published)
    assert manifest is not None
    for mart in MARTS:
        names = sorted(path.name for path in published.mart(mart.name).iterdir())
        if mart.name == "item_pairs":
            assert names == ["all.parquet"]
        elif mart.day is None:
            assert names == ["all.parquet"], mart.name
        elif manifest.rows[mart.name] == 0:
            assert names == ["empty.parquet"], mart.name
        else:
            assert set(names) <= {f"{day}.parquet" for day in DAYS}, mart.name
    assert sorted(path.name for path in published.mart("user_features").iterdir()) == [
        f"{day}.parquet" for day in DAYS
    ]
    users = pq.read_table(file_of(published, "user_features", DAYS[1]))
    assert users["user_id"].to_pylist() == ["ann", "zoe"]
    assert users["spend_total"].to_pylist() == [20.0, 20.0]
    assert str(users.schema.field("feature_at").type) == "timestamp[us, tz=UTC]"
    metadata = pq.ParquetFile(file_of(published, "user_features", DAYS[1])).metadata
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_mart_without_rows_still_shows_its_columns(transforms: Transforms, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    land_catalogue(home)
    land(home, [event("visit", "page_view", "2024-05-01 12:00", session_id="s")])
    transforms.run(home)
    version = publish_marts(home, [DAYS[0]])
    assert version.rows["orders"] == 0
    assert "order_id" in pq.read_schema(home.mart("orders") / "empty.parquet").names
    land(home, [purchase("first", "ann", DAYS[1])])
    transforms.run(home, [DAYS[1]])
    publish_marts(home, [DAYS[1]])
    assert [path.name for path in home.mart("orders").iterdir()] == ["2024-05-02.parquet"]


def test_the_manifest_says_what_the_version_was_made_from(published: Home) -> None:
    manifest = current_manifest(published)
    assert manifest is not None
    assert sorted(manifest.days) == DAYS
    assert manifest.data_until == DAYS[-1]
    assert manifest.rows["user_features"] == 6
    assert manifest.id == published.current_marts.resolve().name
    assert not published.current_marts.readlink().is_absolute()
    assert dirty_days(published) == []
    assert not needs_full_refresh(published, [DAYS[-1]])


def test_a_new_day_writes_its_files_and_links_the_rest(transforms: Transforms, home: Home) -> None:
    new_day = date(2024, 5, 4)
    before = file_of(home, "user_features", DAYS[0]).stat().st_ino
    old = {path.stat().st_ino for path in home.current_marts.resolve().rglob("*.parquet")}
    land(home, [purchase("new", "ann", new_day)])
    assert dirty_days(home) == [new_day]
    transforms.run(home, [new_day])
    version = publish_marts(home, [new_day])
    assert file_of(home, "user_features", DAYS[0]).stat().st_ino == before
    assert pq.read_table(file_of(home, "user_features", new_day))["spend_total"].to_pylist() == [40.0]
    assert version.rows["user_features"] == 7
    files = home.current_marts.resolve().rglob("*.parquet")
    written = [path for path in files if path.stat().st_ino not in old]
    assert {path.stem for path in written} <= {str(new_day), "all", "empty"}
    assert 0 < version.files_written <= len(written)


def test_a_late_event_publishes_the_later_days_that_it_changed(transforms: Transforms, home: Home) -> None:
    inodes = {day: file_of(home, "user_features", day).stat().st_ino for day in DAYS}
    daily = file_of(home, "user_daily", DAYS[2]).stat().st_ino
    late = [purchase("zoe-2", "zoe", DAYS[1]), purchase("ann-2", "ann", DAYS[1], price=99.0)]
    land(home, late)
    transforms.run(home, [DAYS[1]])
    publish_marts(home, [DAYS[1]])
    after = {day: file_of(home, "user_features", day).stat().st_ino for day in DAYS}
    assert [day for day in DAYS if after[day] != inodes[day]] == DAYS[1:]
    assert file_of(home, "user_daily", DAYS[2]).stat().st_ino == daily
    assert pq.read_table(file_of(home, "user_features", DAYS[2]))["spend_total"].to_pylist() == [119.0, 30.0]


def test_a_session_that_a_new_day_prolongs_is_published_on_the_day_it_began(
    transforms: Transforms, home: Home
) -> None:
    late = datetime.combine(DAYS[1], time(23, 50))
    land(home, [event("late", "page_view", f"{late:%Y-%m-%d %H:%M}", user_id="ann")])
    transforms.run(home, [DAYS[1]])
    publish_marts(home, [DAYS[1]])
    linked = file_of(home, "sessions", DAYS[0]).stat().st_ino
    early = late + timedelta(minutes=20)
    land(home, [event("early", "page_view", f"{early:%Y-%m-%d %H:%M}", user_id="ann")])
    transforms.run(home, [DAYS[2]])
    publish_marts(home, [DAYS[2]])
    sessions = pq.read_table(file_of(home, "sessions", DAYS[1]))
    assert max(sessions["ended_at"].to_pylist()) == early.replace(tzinfo=UTC)
    assert file_of(home, "sessions", DAYS[0]).stat().st_ino == linked


def test_a_day_that_became_empty_loses_its_files(transforms: Transforms, home: Home) -> None:
    land_day(home, DAYS[1], [])
    transforms.run(home, [DAYS[1]])
    publish_marts(home, [DAYS[1]])
    for mart in ("user_features", "user_daily", "orders", "sessions", "interactions_daily"):
        assert not file_of(home, mart, DAYS[1]).exists(), mart
    assert dirty_days(home) == []


def test_a_day_folder_that_was_removed_is_dirty(home: Home) -> None:
    (home.events / f"event_date={DAYS[0]}" / "shop.parquet").unlink()
    assert dirty_days(home) == [DAYS[0]]


def test_without_warehouse_or_with_other_sql_every_day_is_dirty(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marts, "transforms_code", lambda: "other")
    assert dirty_days(home) == DAYS
    assert needs_full_refresh(home, [DAYS[0]])
    monkeypatch.undo()
    home.warehouse.unlink()
    assert dirty_days(home) == DAYS
    with pytest.raises(NothingToDo, match="run the transforms"):
        publish_marts(home, DAYS)


def test_an_unpublished_run_leaves_its_day_dirty(transforms: Transforms, home: Home) -> None:
    land(home, [purchase("changed", "ann", DAYS[1])])
    transforms.run(home, [DAYS[1]])
    assert dirty_days(home) == [DAYS[1]]


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.mark.parametrize("where", ["first mart", "last mart", "manifest", "rename", "swap"])
def test_a_publish_killed_anywhere_leaves_the_old_version_and_can_be_repeated(
    transforms: Transforms, home: Home, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = current_manifest(home)
    land(home, [purchase("changed", "ann", DAYS[2], price=7.0)])
    transforms.run(home, [DAYS[2]])
    original = marts.write_mart

    def write_until(*arguments: Any) -> Any:
        mart = arguments[1]
        if mart is (MARTS[0] if where == "first mart" else MARTS[-1]):
            raise Killed
        return original(*arguments)

    def killed(*arguments: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        if where.endswith("mart"):
            patch.setattr(marts, "write_mart", write_until)
        elif where == "manifest":
            patch.setattr(marts, "_to_json", killed)
        else:
            patch.setattr(Path, {"rename": "rename", "swap": "replace"}[where], killed)
        with pytest.raises(Killed):
            publish_marts(home, [DAYS[2]])
    assert current_manifest(home) == before
    assert dirty_days(home) == [DAYS[2]]
    publish_marts(home, [DAYS[2]])
    assert dirty_days(home) == []
    assert pq.read_table(file_of(home, "user_features", DAYS[2]))["spend_total"].to_pylist() == [27.0]
    assert [path for path in home.mart_versions.iterdir() if path.name.startswith(".")] == []


def test_a_disk_that_refuses_is_one_clear_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    before = current_manifest(home)

    def full(*arguments: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(marts, "write_mart", full)
    with pytest.raises(PipelineError, match="No space left on device.*unchanged.*run again"):
        publish_marts(home, DAYS)
    assert current_manifest(home) == before
    assert len(list(home.mart_versions.iterdir())) == 1


def test_old_versions_go_but_three_and_young_ones_stay(home: Home) -> None:
    current = home.current_marts.resolve().name
    names = [f"2024050{number}T000000000000Z" for number in range(1, 6)]
    for name in names:
        (home.mart_versions / name).mkdir()
    now = datetime(2024, 5, 5, 0, 5, tzinfo=UTC)
    assert marts.prune_versions(home, now) == names[:3]
    assert sorted(path.name for path in home.mart_versions.iterdir()) == [*names[3:], current]
    assert marts.prune_versions(home, now + timedelta(days=9)) == []


def test_a_reader_that_opened_the_old_version_can_go_on(transforms: Transforms, home: Home) -> None:
    pattern = str(home.current_marts.resolve() / "user_features" / "*.parquet")
    land(home, [purchase("changed", "ann", DAYS[2], price=7.0)])
    transforms.run(home, [DAYS[2]])
    publish_marts(home, [DAYS[2]])
    assert duckdb.execute(f"select sum(spend_total) from '{pattern}'").fetchone() == (120.0,)
    assert duckdb.execute(f"select sum(spend_total) from '{home.mart_glob('user_features')}'").fetchone() == (
        87.0,
    )


def test_dbt_without_landed_events_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NothingToDo, match="attune run"):
        marts.run_dbt(Home(tmp_path))


def test_a_failed_build_names_the_model_and_publishes_nothing(home: Home) -> None:
    home.items_file.write_bytes(b"no parquet")
    with pytest.raises(PipelineError, match="stg_items"):
        marts.run_dbt(home, [DAYS[0]], select="stg_items")
    assert json.loads((home.current_marts / "manifest.json").read_text())["rows"]["user_features"] == 6


def test_the_window_is_a_file_of_sorted_days(tmp_path: Path) -> None:
    home = Home(tmp_path)
    marts.write_window(home, [DAYS[1], DAYS[0], DAYS[1]])
    assert (home.dbt_target / WINDOW_FILE).read_text() == "2024-05-01 2024-05-02"
    marts.write_window(home, None)
    assert not (home.dbt_target / WINDOW_FILE).read_text()
