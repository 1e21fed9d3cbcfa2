"""Content: simulated, landed like items, mapped from files; nothing that an erased person made."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_repo.content import CONTENT_KINDS
from feature_repo.erasure import Erased, subject_hash
from feature_repo.layout import Home
from orchestration.landing import Keeping, land_days
from orchestration.simulator import simulate
from orchestration.sources.base import ContentSource, open_source


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    simulate(folder, users=120, days=40, seed=5)
    return folder


def test_a_simulated_world_has_content_of_every_kind(world: Path) -> None:
    pieces = pq.read_table(world / "content.parquet").to_pandas()
    assert set(pieces["kind"]) == set(CONTENT_KINDS)
    assert pieces["content_id"].is_unique
    assert pieces["season_month"].dropna().between(1, 12).all()
    assert (pieces["item_id"].notna() == (pieces["kind"] == "user_content")).mean() > 0.9
    items = set(pq.read_table(world / "items.parquet")["item_id"].to_pylist())
    assert pieces["item_id"].dropna().isin(items).mean() > 0.8


def test_content_is_landed_once_and_its_views_name_it(world: Path, tmp_path: Path) -> None:
    home = Home(tmp_path)
    report = land_days(home, open_source("simulator", world))
    pieces = pq.read_table(home.content_file)
    assert report.content == pieces.num_rows > 100
    files = sorted(home.events.glob("event_date=*/*.parquet"))
    events = pd.concat([pq.read_table(path).to_pandas() for path in files])
    views = events[events["event_type"] == "content_view"]
    named = views["context"].str.extract(r'"content_id": ?"([^"]+)"')[0]
    assert len(views) > 20
    assert named.isin(pieces["content_id"].to_pylist()).all()
    before = home.content_file.stat().st_mtime_ns
    assert land_days(home, open_source("simulator", world)).content == report.content
    assert home.content_file.stat().st_mtime_ns == before


def test_a_world_from_before_there_was_content_lands_without_it(tmp_path: Path) -> None:
    simulate(tmp_path / "world", users=20, days=10)
    (tmp_path / "world" / "content.parquet").unlink()
    home = Home(tmp_path / "home")
    assert land_days(home, open_source("simulator", tmp_path / "world")).content == 0
    assert not home.content_file.exists()


MAPPING = """
events: {files: events.csv, columns: {event_id: id, event_type: {constant: product_view}, event_at: at,
  item_id: item, user_id: user}}
content: {files: posts.csv, columns: {content_id: slug, kind: {constant: blog}, title: headline, author: by}}
"""


def mapped(folder: Path) -> ContentSource:
    (folder / "mapping.yml").write_text(MAPPING, encoding="utf-8")
    (folder / "events.csv").write_text(
        "id,at,item,user\ne1,2024-01-01T10:00:00Z,mug,anna\n", encoding="utf-8"
    )
    (folder / "posts.csv").write_text("slug,headline,by\np1,Mugs,Mara\np2,Pots,anna\n", encoding="utf-8")
    source = open_source("tabular", folder)
    assert isinstance(source, ContentSource)
    return source


def test_files_of_a_shop_may_hold_content(tmp_path: Path) -> None:
    assert mapped(tmp_path).content()["content_id"].tolist() == ["p1", "p2"]
    home = Home(tmp_path / "home")
    land_days(home, open_source("tabular", tmp_path))
    assert pq.read_table(home.content_file)["kind"].to_pylist() == ["article", "article"]


def test_what_an_erased_person_made_is_not_landed(tmp_path: Path) -> None:
    mapped(tmp_path)
    home, salt = Home(tmp_path / "home"), b"salt"
    erased = Erased(salt, frozenset({subject_hash(salt, "anna")}))
    land_days(home, open_source("tabular", tmp_path), keeping=Keeping(erased=erased))
    assert pq.read_table(home.content_file)["content_id"].to_pylist() == ["p1"]
