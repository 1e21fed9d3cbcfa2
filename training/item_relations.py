"""Relations between items as a release carries them: arrays over item positions, read with numpy alone.

`training.relations` computes them. Positions are those of the release's catalogue; -1 pads short rows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import BrokenRelease
from training.rankings import RankedList

FORMAT_VERSION = 1
WIDTH = 20
BY_BEHAVIOUR, BY_ATTRIBUTES = 1, 2
Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
ARRAYS = (
    "similar",
    "similar_scores",
    "similar_by",
    "complementary",
    "complementary_scores",
    "complementary_lift",
    "complementary_support",
)


@dataclass(frozen=True)
class Relations:
    """What goes with what, what rises, and what each value segment buys.

    `similar` and `complementary` have one row of at most `WIDTH` positions per item, best first, with scores
    from 0 to 1. `similar_by` says how two items are alike: `BY_BEHAVIOUR` (item factors) or `BY_ATTRIBUTES`
    (text, category, price). `complementary_scores` is the share of the item's orders that hold the other one
    too, shrunk for rare items; lift and support are those of the pair. `trending` and `by_segment` are ranked
    lists: growth of sales in the last days over the days before, and buyers of each value segment.
    """

    similar: Ints
    similar_scores: Floats
    similar_by: npt.NDArray[np.int8]
    complementary: Ints
    complementary_scores: Floats
    complementary_lift: Floats
    complementary_support: Floats
    trending: RankedList
    trending_by_category: Mapping[str, RankedList]
    by_segment: Mapping[str, RankedList]

    @classmethod
    def empty(cls, items: int) -> "Relations":
        """No relation at all, for a release that has none."""
        none = np.full((items, 0), -1, dtype=np.int32)
        zeros = np.zeros((items, 0), dtype=np.float32)
        return cls(
            none,
            zeros,
            np.zeros((items, 0), dtype=np.int8),
            none,
            zeros,
            zeros,
            zeros,
            RankedList((), ()),
            {},
            {},
        )

    def similar_to(self, position: int) -> list[tuple[int, float]]:
        """Positions and scores of what is like an item, best first."""
        return _row(self.similar[position], self.similar_scores[position])

    def bought_with(self, position: int) -> list[tuple[int, float]]:
        """Positions and scores of what is bought together with an item, best first."""
        return _row(self.complementary[position], self.complementary_scores[position])

    def counts(self) -> dict[str, int]:
        """How many pairs and lists there are, for the manifest."""
        return {
            "similar_pairs": int((self.similar >= 0).sum()),
            "complementary_pairs": int((self.complementary >= 0).sum()),
            "trending": len(self.trending),
            "segments": len(self.by_segment),
        }


def _row(positions: Ints, scores: Floats) -> list[tuple[int, float]]:
    return [pair for pair in zip(positions.tolist(), scores.tolist(), strict=True) if pair[0] >= 0]


def write_relations(relations: Relations, directory: Path, stem: str) -> None:
    """Write `<stem>.npz` (arrays) and `<stem>.json` (lists)."""
    np.savez(directory / f"{stem}.npz", **{name: getattr(relations, name) for name in ARRAYS})
    lists = {
        "format_version": FORMAT_VERSION,
        "trending": relations.trending.to_dict(),
        "trending_by_category": _plain(relations.trending_by_category),
        "by_segment": _plain(relations.by_segment),
    }
    (directory / f"{stem}.json").write_text(json.dumps(lists, sort_keys=True), encoding="utf-8")


def read_relations(directory: Path, stem: str, items: int) -> Relations:
    """The inverse of `write_relations`; raises `BrokenRelease` naming the file that cannot be used."""
    lists = _read_lists(directory / f"{stem}.json")
    path = directory / f"{stem}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise BrokenRelease(path, f"cannot be read as arrays ({error})") from error
    for name, array in arrays.items():
        if array.ndim != 2 or len(array) != items:
            raise BrokenRelease(path, f"{name} has shape {array.shape} for {items} items")
    for name in ("similar", "complementary"):
        if arrays[name].size and not -1 <= arrays[name].min() <= arrays[name].max() < items:
            raise BrokenRelease(path, f"{name} points outside the {items} items")
    return Relations(
        **arrays,
        trending=RankedList.from_dict(lists["trending"]),
        trending_by_category=_ranked(lists["trending_by_category"]),
        by_segment=_ranked(lists["by_segment"]),
    )


def padded(rows: Sequence[Sequence[int]], width: int = WIDTH) -> Ints:
    """Rows of positions as an array of `width` columns, -1 where a row is short."""
    table = np.full((len(rows), width), -1, dtype=np.int32)
    for number, row in enumerate(rows):
        table[number, : min(len(row), width)] = row[:width]
    return table


def _plain(lists: Mapping[str, RankedList]) -> dict[str, Any]:
    return {name: ranked.to_dict() for name, ranked in lists.items()}


def _ranked(values: Mapping[str, Any]) -> dict[str, RankedList]:
    return {str(name): RankedList.from_dict(ranked) for name, ranked in values.items()}


def _read_lists(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BrokenRelease(path, f"cannot be read as JSON ({error})") from error
    names = {"trending", "trending_by_category", "by_segment"}
    if not isinstance(values, dict) or values.get("format_version") != FORMAT_VERSION:
        raise BrokenRelease(path, f"is not a description of item relations in format {FORMAT_VERSION}")
    if names - values.keys():
        raise BrokenRelease(path, f"lacks {sorted(names - values.keys())[0]!r}")
    return values
