"""Which release is served: where it is found, and how the next one takes over. Files, but no engine."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from feature_repo.layout import Home
from serving.errors import NoRelease, UnusableRelease
from serving.metrics import Metrics
from serving.releases import ReleaseHolder, ServedRelease, find_release, logger, read_release
from serving.settings import Settings
from tests.serving_home import put_release
from training.artifacts import point_to_release, write_withdrawn

pytestmark = pytest.mark.integration


def settings_for(root: Path) -> Settings:
    return Settings(home=Home(root), release_source="home", release_poll_seconds=0.05)


def served(settings: Settings) -> ServedRelease:
    return read_release(find_release(settings))


def test_the_release_that_the_pointer_names_is_served(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    put_release(settings.home, "other", is_current=False)
    wanted = put_release(settings.home, "one")
    release = served(settings)
    assert release.release_id == wanted
    assert release.as_of == datetime(2024, 2, 1, tzinfo=UTC)
    assert release.describe("lamp") == {"title": "Lamp", "category": "light", "price": 30.0}
    assert release.describe("rug") == {"title": None, "category": None, "price": None}
    assert release.describe("sofa") == {"title": None, "category": None, "price": None}


def test_no_release_yet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NoRelease, match="attune run"):
        find_release(settings_for(tmp_path))


def test_a_pointer_to_a_missing_release_is_refused(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    settings.home.releases.mkdir(parents=True)
    point_to_release(settings.home.current_release, "20240131-gone")
    with pytest.raises(UnusableRelease, match="20240131-gone"):
        served(settings)


def test_a_broken_artifact_is_named(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    release_id = put_release(settings.home, "one")
    with (settings.home.release(release_id) / "item_factors.npy").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UnusableRelease, match="item_factors.npy"):
        served(settings)


def test_a_new_release_takes_over_by_itself(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first = put_release(settings.home, "one")

    async def scenario() -> None:
        holder = ReleaseHolder(served(settings), settings, Metrics())
        holder.start()
        second = put_release(settings.home, "two")
        for _ in range(100):
            if holder.current.release_id == second:
                break
            await asyncio.sleep(0.05)
        await holder.close()
        assert holder.current.release_id == second != first

    asyncio.run(scenario())


def test_a_broken_new_release_keeps_the_old_one_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path)
    first = put_release(settings.home, "one")
    said: list[str] = []
    monkeypatch.setattr(logger, "error", lambda message, **_: said.append(message))

    async def scenario() -> None:
        holder = ReleaseHolder(served(settings), settings, Metrics())
        broken = put_release(settings.home, "two")
        (settings.home.release(broken) / "popularity.json").write_text("{}")
        assert not await holder.refresh()
        assert not await holder.refresh()
        assert holder.current.release_id == first
        assert holder.failure is not None
        assert holder.failure.release_id == broken
        assert "popularity.json" in holder.failure.problem
        assert said == ["new release is broken, the present one stays"]
        third = put_release(settings.home, "three")
        assert await holder.refresh()
        assert (holder.current.release_id, holder.failure) == (third, None)

    asyncio.run(scenario())


def test_a_pointer_that_disappears_changes_nothing(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first = put_release(settings.home, "one")

    async def scenario() -> None:
        holder = ReleaseHolder(served(settings), settings, Metrics())
        settings.home.current_release.unlink()
        assert not await holder.refresh()
        assert holder.current.release_id == first

    asyncio.run(scenario())


def test_the_home_comes_before_the_model_store(tmp_path: Path) -> None:
    settings = replace(settings_for(tmp_path), release_source="auto")
    release_id = put_release(settings.home, "one")
    assert find_release(settings).name == release_id


def test_going_back_is_followed_together_with_what_was_withdrawn(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first, second = put_release(settings.home, "one"), put_release(settings.home, "two")

    async def scenario() -> None:
        holder = ReleaseHolder(served(settings), settings, Metrics())
        assert holder.current.release_id == second
        write_withdrawn(settings.home.withdrawn_releases, frozenset({second}))
        point_to_release(settings.home.current_release, first)
        assert await holder.refresh()
        assert (holder.current.release_id, holder.withdrawn) == (first, {second})
        settings.home.withdrawn_releases.write_text("{")
        await holder.refresh()
        assert holder.withdrawn == {second}

    asyncio.run(scenario())
