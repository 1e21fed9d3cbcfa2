"""What later stages noted: what is pending after each step, and after a step that was cut off."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from feature_repo.layout import Home
from orchestration import completion
from orchestration.completion import Window
from orchestration.marts import MartsManifest

FIRST, SECOND, THIRD = date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 3)


def manifest(version: str, days: dict[date, str], code: str = "sql") -> MartsManifest:
    return MartsManifest(version, days, max(days), {}, datetime(2024, 3, 4, tzinfo=UTC), code, {})


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> "Publish":
    return Publish(monkeypatch)


class Publish:
    """Says which version of the marts is current."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __call__(self, version: MartsManifest) -> None:
        self._patch.setattr(completion, "current_manifest", lambda _home: version)


def at(day: int) -> datetime:
    return datetime(2024, 3, day, tzinfo=UTC)


def test_before_the_first_publish_nothing_is_pending(tmp_path: Path) -> None:
    assert completion.pending_window(Home(tmp_path)) is None
    assert not completion.is_complete(Home(tmp_path))


def test_the_first_publish_leaves_everything_to_materialize(tmp_path: Path, publish: Publish) -> None:
    publish(manifest("v1", {FIRST: "a", SECOND: "b"}))
    assert completion.pending_window(Home(tmp_path)) == Window(None, at(3))


def test_what_was_materialized_is_not_pending(tmp_path: Path, publish: Publish) -> None:
    version = manifest("v1", {FIRST: "a"})
    publish(version)
    completion.note_materialized(Home(tmp_path), version)
    assert completion.pending_window(Home(tmp_path)) is None


def test_a_late_day_opens_the_window_from_its_end_to_the_last(tmp_path: Path, publish: Publish) -> None:
    home = Home(tmp_path)
    completion.note_materialized(home, manifest("v1", {FIRST: "a", SECOND: "b", THIRD: "c"}))
    publish(manifest("v2", {FIRST: "a", SECOND: "late", THIRD: "c"}))
    assert completion.pending_window(home) == Window(at(3), at(4))


def test_two_publishes_before_one_materialization_are_both_covered(tmp_path: Path, publish: Publish) -> None:
    home = Home(tmp_path)
    completion.note_materialized(home, manifest("v1", {FIRST: "a", SECOND: "b"}))
    publish(manifest("v3", {FIRST: "late", SECOND: "b", THIRD: "c"}))
    assert completion.pending_window(home) == Window(at(2), at(4))


def test_other_sql_makes_everything_pending(tmp_path: Path, publish: Publish) -> None:
    home = Home(tmp_path)
    completion.note_materialized(home, manifest("v1", {FIRST: "a"}))
    publish(manifest("v2", {FIRST: "a"}, code="other sql"))
    assert completion.pending_window(home) == Window(None, at(2))


def test_a_day_that_vanished_stays_in_the_window(tmp_path: Path, publish: Publish) -> None:
    home = Home(tmp_path)
    completion.note_materialized(home, manifest("v1", {FIRST: "a", THIRD: "c"}))
    publish(manifest("v2", {FIRST: "a"}))
    assert completion.pending_window(home) == Window(at(4), at(4))


def test_complete_means_a_release_of_the_present_marts(tmp_path: Path, publish: Publish) -> None:
    home = Home(tmp_path)
    publish(manifest("v1", {FIRST: "a"}))
    completion.note_released(home, "v1", "r1")
    assert not completion.is_complete(home)
    home.release("r1").mkdir()
    (home.release("r1") / "manifest.json").write_text("{}")
    assert completion.is_complete(home)
    publish(manifest("v2", {FIRST: "b"}))
    assert not completion.is_complete(home)


def test_days_that_dbt_built_add_up_until_they_are_published(tmp_path: Path) -> None:
    home = Home(tmp_path)
    completion.note_built(home, [SECOND], False, {SECOND: "b"})
    completion.note_built(home, [FIRST], False, {FIRST: "a", SECOND: "b"})
    found = completion.built(home)
    assert found is not None
    assert (found.days, found.full, found.hashes) == ((FIRST, SECOND), False, {FIRST: "a", SECOND: "b"})
    completion.forget_built(home)
    assert completion.built(home) is None


def test_a_version_is_reused_only_under_the_same_key(tmp_path: Path) -> None:
    home = Home(tmp_path)
    completion.note_trained(home, "clv", "key", "recipe", "3")
    completion.note_trained(home, "churn", "other", "recipe", "5")
    assert completion.trained_version(home, "clv", "key") == "3"
    assert completion.trained_version(home, "clv", "changed") is None
    assert completion.trained_version(home, "churn", "other") == "5"
    assert completion.trained_by(home, "churn", "recipe") == "5"
    assert completion.trained_by(home, "churn", "another") is None
    assert completion.trained_by(home, "next_purchase", "recipe") is None


def test_a_waiting_release_belongs_to_one_version_of_the_marts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    completion.note_built_release(home, "v1", "r1")
    assert completion.waiting_release(home, "v1") == "r1"
    assert completion.waiting_release(home, "v2") is None
