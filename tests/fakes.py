"""Stand-ins that behave: an online store that can be slow, hang or fail, and a release made in memory."""

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from training.artifacts import ItemFactors, ItemTable, Manifest, Popularity, RankedList, Relations, Release
from training.item_relations import padded

Row = dict[str, Any]


class FakeUserStore:
    """An online store of literal rows. `hang`, `delay_seconds` and `error` decide how it answers."""

    def __init__(self, rows: Mapping[str, Mapping[str, Row]] | None = None) -> None:
        self.rows = rows or {}
        self.live: dict[str, tuple[int, Any]] = {}
        self.reads: list[tuple[str, tuple[str, ...]]] = []
        self.delay_seconds = 0.0
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def read_users(self, view: str, user_ids: Sequence[str], fields: Sequence[str]) -> list[Row | None]:
        """One row of the asked fields or None for each id; a field that the row lacks is None."""
        self.reads.append((view, tuple(user_ids)))
        self.may_answer.wait(timeout=30)
        time.sleep(self.delay_seconds)
        if self.error is not None:
            raise self.error
        pushed = {key: {"row": row} for key, (_, row) in self.live.items()}
        stored = pushed if view == "user_live" else self.rows.get(view, {})
        return [_project(stored.get(user_id), fields) for user_id in user_ids]

    def write(self, rows: Sequence[tuple[str, int, Any]]) -> None:
        """What the live state pushes, as `feature_repo.live_store.LiveWriter` takes it; the newest wins."""
        self.may_answer.wait(timeout=30)
        if self.error is not None:
            raise self.error
        for visitor_id, at, row in rows:
            if visitor_id not in self.live or at >= self.live[visitor_id][0]:
                self.live[visitor_id] = (at, row)

    def forget(self, visitor_ids: Sequence[str]) -> None:
        """Delete the live rows of these visitors."""
        for visitor_id in visitor_ids:
            self.live.pop(visitor_id, None)

    def hang(self) -> None:
        """Every read from now on waits for `recover`."""
        self.may_answer.clear()

    def recover(self) -> None:
        """Answer again, and let the reads that hang come back."""
        self.error = None
        self.may_answer.set()


def _project(row: Row | None, fields: Sequence[str]) -> Row | None:
    return None if row is None else {name: row.get(name) for name in fields}


CATALOGUE = pa.table(
    {
        "item_id": ["mug", "cup", "pot", "lamp", "bulb", "rug"],
        "title": ["Mug", "Cup", "Pot", "Lamp", "Bulb", None],
        "category": ["kitchen", "kitchen", "kitchen", "light", "light", None],
        "brand": ["A", "A", "B", "C", "C", None],
        "price": [4.0, 3.0, 12.0, 30.0, 2.0, None],
        "stock": pa.array([10, 5, 0, 3, 100, None], pa.int64()),
        "cost": [1.0, 2.0, 6.0, 12.0, 1.5, None],
    }
)


def tiny_popularity() -> Popularity:
    """Lamp and mug are popular; a list for each category."""
    return Popularity(
        overall=RankedList(("lamp", "mug", "cup", "bulb", "pot", "rug"), (9.0, 8.0, 5.0, 4.0, 2.0, 1.0)),
        recent=RankedList(("bulb", "lamp"), (3.0, 2.0)),
        by_category={
            "kitchen": RankedList(("mug", "cup", "pot"), (8.0, 5.0, 2.0)),
            "light": RankedList(("lamp", "bulb"), (9.0, 4.0)),
        },
    )


def tiny_factors() -> ItemFactors:
    """Two tastes: kitchen on the first axis, light on the second. The rug is unknown to the model."""
    vectors = [[1.0, 0.0], [0.9, 0.1], [0.8, 0.0], [0.0, 1.0], [0.1, 0.9]]
    return ItemFactors(
        item_ids=("mug", "cup", "pot", "lamp", "bulb"),
        vectors=np.array(vectors, dtype=np.float32),
        multipliers=np.ones(5, dtype=np.float32),
        regularization=0.1,
        alpha=10.0,
        weighting="linear",
    )


def tiny_relations() -> Relations:
    """Cups are like mugs, bulbs like lamps; a pot is bought with cups and mugs, a bulb with lamps."""
    mug, cup, pot, lamp, bulb, rug = range(6)
    similar = padded([[cup, pot], [mug, pot], [cup, mug], [bulb], [lamp], []], 2)
    together = padded([[pot, cup], [pot], [mug, cup], [bulb], [lamp], []], 2)
    scores = np.array([[0.9, 0.6]] * 6, dtype=np.float32)
    return Relations(
        similar=similar,
        similar_scores=np.where(similar >= 0, scores, 0).astype(np.float32),
        similar_by=np.where(similar >= 0, 1, 0).astype(np.int8),
        complementary=together,
        complementary_scores=np.where(together >= 0, scores / 2, 0).astype(np.float32),
        complementary_lift=np.where(together >= 0, 3.0, 0).astype(np.float32),
        complementary_support=np.where(together >= 0, 0.1, 0).astype(np.float32),
        trending=RankedList(("cup", "bulb"), (2.0, 1.5)),
        trending_by_category={
            "kitchen": RankedList(("cup",), (2.0,)),
            "light": RankedList(("bulb",), (1.5,)),
        },
        by_segment={"high": RankedList(("lamp", "pot"), (4.0, 3.0)), "low": RankedList(("cup",), (5.0,))},
    )


def tiny_release(release_id: str = "20240131-aaaaaaaa", service: str = "serving_v2") -> Release:
    """A release of six items, in memory."""
    manifest = Manifest(
        release_id=release_id,
        data_until=date(2024, 1, 31),
        created_at=datetime(2024, 2, 1, 3, tzinfo=UTC),
        models={"collaborative": {"version": "7"}, "clv": {"version": "3"}, "churn": {"version": "4"}},
        feature_services={"serving": service},
        code_version="test",
        rows={"items": 6},
        files={},
    )
    items = ItemTable.from_table(CATALOGUE)
    return Release(
        Path("nowhere") / release_id, manifest, items, tiny_popularity(), tiny_factors(), tiny_relations()
    )
