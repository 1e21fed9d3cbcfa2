"""Releases on a real disk: written whole, verified when read, broken ones named."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost

from tests.fakes import CATALOGUE, tiny_relations
from training.artifacts import (
    ITEM_SCHEMA,
    BrokenRelease,
    ItemFactors,
    Popularity,
    RankedList,
    current_release_id,
    load_release,
    point_to_release,
    write_release,
)
from training.item_relations import ARRAYS

pytestmark = pytest.mark.integration

ITEMS = pa.table(
    {
        "item_id": ["a", "b"],
        "title": ["Ape", None],
        "category": ["toys", None],
        "brand": [None, None],
        "price": [2.5, None],
        "stock": [3, None],
        "cost": [1.5, None],
    },
    schema=ITEM_SCHEMA,
)
POPULARITY = Popularity(
    RankedList(("b", "a"), (3.0, 1.0)), RankedList((), ()), {"toys": RankedList(("a",), (1.0,))}
)
FACTORS = ItemFactors(
    ("a", "b"), np.eye(2, dtype=np.float32), np.array([1.0, 0.5], dtype=np.float32), 0.1, 2.0, "linear", 60.0
)


def write(releases: Path, model: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "items": ITEMS,
        "popularity": POPULARITY,
        "factors": FACTORS,
        "model_dirs": {"churn": model},
        "models": {"collaborative": {"version": 3, "run_id": "r", "metrics": {"recall": 0.2}}},
        "feature_services": {"churn": "churn_v1"},
        "data_until": date(2026, 1, 31),
        "created_at": datetime(2026, 2, 1, tzinfo=UTC),
        "code_version": "0.1.0",
    }
    return releases / write_release(releases, **{**content, **changes}).release_id


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "churn"
    directory.mkdir()
    (directory / "model.json").write_text("{}")
    matrix = xgboost.DMatrix(np.array([[0.0], [1.0]]), label=np.array([0.0, 1.0]))
    booster = xgboost.train({"max_depth": 1, "nthread": 1}, matrix, num_boost_round=1)
    booster.save_model(directory / "trees.ubj")
    return directory


def test_a_release_is_read_back_as_it_was_written(tmp_path: Path, model: Path) -> None:
    release = load_release(write(tmp_path / "releases", model))

    assert release.release_id.startswith("20260131-")
    assert release.manifest.model_versions == {"collaborative": "3"}
    assert release.manifest.data_until == date(2026, 1, 31)
    assert release.popularity == POPULARITY
    assert release.items.record("a") == {
        "item_id": "a",
        "title": "Ape",
        "category": "toys",
        "brand": None,
        "price": 2.5,
        "stock": 3,
        "cost": 1.5,
    }
    assert release.items.record("b") is not None
    assert release.items.record("b")["stock"] is None  # type: ignore[index]
    assert release.items.record("zzz") is None
    np.testing.assert_array_equal(release.factors.vectors, FACTORS.vectors)
    assert release.factors.half_life_days == 60.0
    expected = FACTORS.score_history(["a"], [5.0])
    np.testing.assert_allclose(release.score_history(["a"], [5.0]), expected)
    assert release.churn_dir == release.root / "churn"
    assert release.clv_dir is None
    assert release.booster("churn", "trees.ubj").num_boosted_rounds() == 1


def test_relations_are_read_back_as_they_were_written(tmp_path: Path, model: Path) -> None:
    items = CATALOGUE
    relations = tiny_relations()
    release = load_release(write(tmp_path / "releases", model, items=items, relations=relations))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(release.relations, name), getattr(relations, name))
    assert release.relations.trending == relations.trending
    assert release.relations.trending_by_category == relations.trending_by_category
    assert release.relations.by_segment == relations.by_segment
    assert release.manifest.rows["similar_pairs"] == 8


def test_a_release_of_format_1_has_no_costs_and_no_relations(tmp_path: Path, model: Path) -> None:
    root = write(tmp_path / "releases", model)
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["format_version"] = 1
    for name in ("item_relations.npz", "item_relations.json"):
        (root / name).unlink()
        del manifest["files"][name]
    pq.write_table(ITEMS.drop_columns(["cost"]), root / "items.parquet")
    manifest["files"]["items.parquet"] = hashlib.sha256((root / "items.parquet").read_bytes()).hexdigest()
    (root / "manifest.json").write_text(json.dumps(manifest))
    release = load_release(root)
    assert release.relations.similar_to(0) == []
    assert release.items.record("a")["cost"] is None  # type: ignore[index]


def test_relations_that_point_outside_the_catalogue_are_refused(tmp_path: Path, model: Path) -> None:
    outside = replace(tiny_relations(), similar=np.full((6, 2), 6, dtype=np.int32))
    with pytest.raises(BrokenRelease, match="similar points outside the 6 items"):
        load_release(write(tmp_path / "releases", model, items=CATALOGUE, relations=outside))
    with pytest.raises(BrokenRelease, match=r"similar has shape \(6, 2\) for 2 items"):
        load_release(write(tmp_path / "other", model, relations=tiny_relations()))


def test_the_same_content_gives_the_same_release_and_other_content_another(
    tmp_path: Path, model: Path
) -> None:
    first = write(tmp_path / "releases", model)
    later = write(tmp_path / "releases", model, created_at=datetime(2026, 3, 1, tzinfo=UTC))
    other = write(tmp_path / "releases", model, items=ITEMS.slice(0, 1))
    assert first == later
    assert other != first
    assert load_release(first).manifest.created_at == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "items.parquet",
        "popularity.json",
        "item_factors.npy",
        "item_factors.json",
        "item_relations.npz",
        "item_relations.json",
        "churn/trees.ubj",
    ],
)
def test_a_changed_or_missing_file_is_named_with_the_remedy(tmp_path: Path, model: Path, name: str) -> None:
    root = write(tmp_path / "releases", model)
    whole = (root / name).read_bytes()
    (root / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BrokenRelease, match=rf"{name} was changed.*attune run"):
        load_release(root)
    (root / name).unlink()
    with pytest.raises(BrokenRelease, match=rf"{name} is missing"):
        load_release(root)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds no JSON object"),
        ('{"format_version": 99}', "format_version 99"),
        ('{"format_version": 1}', "lacks or garbles a field"),
    ],
)
def test_a_broken_manifest_says_what_is_wrong(tmp_path: Path, model: Path, text: str, problem: str) -> None:
    root = write(tmp_path / "releases", model)
    (root / "manifest.json").write_text(text)
    with pytest.raises(BrokenRelease, match=problem):
        load_release(root)


def test_a_directory_without_a_manifest_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(BrokenRelease, match=r"manifest\.json is missing"):
        load_release(tmp_path)


def test_a_manifest_may_not_point_outside_its_release(tmp_path: Path, model: Path) -> None:
    root = write(tmp_path / "releases", model)
    values = json.loads((root / "manifest.json").read_text())
    values["files"]["../elsewhere"] = "0" * 64
    (root / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(BrokenRelease, match="outside the release"):
        load_release(root)


def test_a_failed_write_leaves_no_release_and_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "releases", tmp_path / "no such model")
    assert list((tmp_path / "releases").iterdir()) == []


def test_what_a_killed_write_left_is_removed_by_the_next(tmp_path: Path, model: Path) -> None:
    abandoned = tmp_path / "releases" / ".building-killed"
    abandoned.mkdir(parents=True)
    root = write(tmp_path / "releases", model)
    assert [path.name for path in (tmp_path / "releases").iterdir()] == [root.name]


def test_a_damaged_release_is_replaced_when_written_again(tmp_path: Path, model: Path) -> None:
    root = write(tmp_path / "releases", model)
    (root / "popularity.json").unlink()
    assert write(tmp_path / "releases", model) == root
    load_release(root)


def test_the_pointer_names_the_release_served(tmp_path: Path) -> None:
    pointer = tmp_path / "current"
    assert current_release_id(pointer) is None
    point_to_release(pointer, "20260131-abcd1234")
    point_to_release(pointer, "20260201-abcd1234")
    assert current_release_id(pointer) == "20260201-abcd1234"
    assert [path.name for path in tmp_path.iterdir()] == ["current"]
