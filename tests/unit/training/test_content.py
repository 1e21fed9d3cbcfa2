"""Content and reputation in a release: counts of what was landed, and nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.content import CONTENT_SCHEMA
from feature_repo.events import EVENT_SCHEMA
from tests.fakes import CATALOGUE, tiny_factors, tiny_popularity
from training.artifacts import BrokenRelease, load_release, write_release
from training.content import CONTENT, SOCIAL_PROOF, content_tables, recent_event_files

AS_OF = datetime(2024, 2, 1, tzinfo=UTC)


def landed(folder: Path, rows: list[dict[str, object]]) -> list[Path]:
    """One landed day with these events; ids and instants are filled in."""
    complete = [
        {"event_id": f"e{number}", "event_at": AS_OF - timedelta(days=1), "channel": "web"} | row
        for number, row in enumerate(rows)
    ]
    columns = {name: [row.get(name, row["event_at"] if name == "received_at" else None) for row in complete]
               for name in EVENT_SCHEMA.names}  # fmt: skip
    path = folder / "event_date=2024-01-31" / "shop.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=EVENT_SCHEMA), path)
    return recent_event_files(folder, AS_OF)


def catalogue(path: Path) -> Path:
    rows = [
        {"content_id": "c1", "kind": "article", "title": "Mugs", "published_at": AS_OF - timedelta(days=90)},
        {"content_id": "c2", "kind": "video", "title": "Later", "published_at": AS_OF + timedelta(days=1)},
    ]
    columns = {name: [row.get(name) for row in rows] for name in CONTENT_SCHEMA.names}
    pq.write_table(pa.table(columns, schema=CONTENT_SCHEMA), path)
    return path


def test_views_and_likes_are_counted_once_for_each_visitor(tmp_path: Path) -> None:
    view = {"event_type": "content_view", "context": '{"content_id": "c1"}'}
    files = landed(
        tmp_path / "events",
        [
            view | {"user_id": "a"},
            view | {"user_id": "a"},
            view | {"user_id": "b", "event_at": AS_OF - timedelta(days=20)},
            view | {"user_id": "c", "event_at": AS_OF - timedelta(days=40)},
            {"event_type": "like", "user_id": "a", "context": '{"content_id": "c1"}'},
        ],
    )
    table = content_tables(catalogue(tmp_path / "content.parquet"), files, AS_OF)[CONTENT]
    [row] = table.to_pylist()
    assert (row["content_id"], row["views"], row["recent_views"], row["likes"]) == ("c1", 2, 1, 1)


def test_what_is_published_later_is_not_in_the_release(tmp_path: Path) -> None:
    tables = content_tables(catalogue(tmp_path / "content.parquet"), [], AS_OF)
    assert tables[CONTENT]["content_id"].to_pylist() == ["c1"]
    assert SOCIAL_PROOF not in tables


def test_buyers_and_ratings_are_counted(tmp_path: Path) -> None:
    bought = {"event_type": "purchase", "item_id": "mug", "quantity": 1.0, "price": 4.0}
    files = landed(
        tmp_path / "events",
        [
            bought | {"user_id": "a"},
            bought | {"user_id": "a"},
            bought | {"user_id": "b"},
            bought,
            {"event_type": "rating", "item_id": "mug", "user_id": "a", "context": '{"rating": 5}'},
            {"event_type": "review", "item_id": "mug", "user_id": "b", "context": '{"rating": 4}'},
            {"event_type": "rating", "item_id": "mug", "user_id": "c", "context": '{"rating": 99}'},
        ],
    )
    [row] = content_tables(tmp_path / "none.parquet", files, AS_OF)[SOCIAL_PROOF].to_pylist()
    assert row == {"item_id": "mug", "buyers": 2, "ratings": 2, "rating": 4.5}


def test_a_home_without_content_and_events_has_no_tables(tmp_path: Path) -> None:
    assert content_tables(tmp_path / "none.parquet", recent_event_files(tmp_path, AS_OF), AS_OF) == {}


def test_a_release_carries_its_further_tables(tmp_path: Path) -> None:
    hours = pa.table({"channel": ["email"], "hour": [10]})
    made: dict[str, Any] = {
        "items": CATALOGUE,
        "popularity": tiny_popularity(),
        "factors": tiny_factors(),
        "model_dirs": {},
        "models": {"collaborative": {"version": "1"}},
        "feature_services": {},
        "data_until": AS_OF.date(),
        "created_at": AS_OF,
        "code_version": "test",
    }
    without = write_release(tmp_path, **made)
    manifest = write_release(tmp_path, tables={"message_hours": hours}, **made)
    assert load_release(tmp_path / without.release_id).tables == {}
    assert load_release(tmp_path / manifest.release_id).tables["message_hours"].equals(hours)
    assert manifest.rows["message_hours"] == 1
    (tmp_path / manifest.release_id / "tables" / "message_hours.parquet").write_bytes(b"garbled")
    with pytest.raises(BrokenRelease, match="message_hours"):
        load_release(tmp_path / manifest.release_id)
