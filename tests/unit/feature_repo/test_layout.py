from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from feature_repo.definitions import VIEWS
from feature_repo.layout import Home
from feature_repo.offline_store import file_source, source_pattern

HOME = Home(Path("/shop"))


def test_every_path_is_below_the_root() -> None:
    names = [name for name, value in vars(Home).items() if isinstance(value, property)]
    assert len(names) >= 20
    for name in names:
        assert getattr(HOME, name).is_relative_to("/shop"), name


def test_no_two_names_share_a_path() -> None:
    paths = [getattr(HOME, name) for name, value in vars(Home).items() if isinstance(value, property)]
    assert len(paths) == len(set(paths))


def test_a_mart_is_a_folder_of_flat_files_in_the_current_version() -> None:
    assert HOME.mart("orders") == Path("/shop/marts/current/orders")
    assert HOME.mart_glob("orders") == "/shop/marts/current/orders/*.parquet"
    assert HOME.prediction_glob("user_candidates") == "/shop/features/predictions/user_candidates/*.parquet"


def test_a_release_is_a_folder_beside_the_pointer() -> None:
    assert HOME.release("20240101-abc").parent == HOME.current_release.parent == HOME.releases


def test_views_read_where_the_layout_says() -> None:
    patterns = {source_pattern(HOME.root, file_source(view)) for view in VIEWS}
    assert patterns == {
        HOME.mart_glob("user_features"),
        HOME.mart_glob("item_features"),
        HOME.prediction_glob("user_predictions"),
        HOME.prediction_glob("user_outlook"),
        HOME.prediction_glob("user_candidates"),
        str(HOME.live_features / "*.parquet"),
    }


def test_a_home_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        HOME.root = Path("/other")  # type: ignore[misc]
