"""Ranked lists of items: what popularity computes, a release carries and the service answers with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RankedList:
    """Item ids, best first, with their scores; never two of the same."""

    item_ids: tuple[str, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.item_ids) != len(self.scores):
            raise ValueError(f"{len(self.item_ids)} item ids with {len(self.scores)} scores; give one each")

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"item_ids": list(self.item_ids), "scores": list(self.scores)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RankedList":
        """The inverse of `to_dict`."""
        return cls(tuple(map(str, values["item_ids"])), tuple(map(float, values["scores"])))

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True)
class Popularity:
    """What to show to somebody unknown: overall, recent, and by top-level category.

    Scores are numbers of distinct buyers in the list's window.
    """

    overall: RankedList
    recent: RankedList
    by_category: dict[str, RankedList]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "overall": self.overall.to_dict(),
            "recent": self.recent.to_dict(),
            "by_category": {name: ranked.to_dict() for name, ranked in self.by_category.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Popularity":
        """The inverse of `to_dict`."""
        return cls(
            RankedList.from_dict(values["overall"]),
            RankedList.from_dict(values["recent"]),
            {str(name): RankedList.from_dict(ranked) for name, ranked in values["by_category"].items()},
        )
