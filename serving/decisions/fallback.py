"""What to show to somebody about whom little or nothing is known.

A newcomer who touched items that the model knows gets a fold-in over them; one who touched only unknown
items, or categories, gets what is popular there; everybody else gets what is popular. Every item names its
algorithm.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt

from serving.decisions.ranking import Ranked, fill_up

FOLD_IN = "collaborative_fold_in"
POPULAR_IN_CATEGORY = "popular_in_category"
POPULAR_RECENTLY = "popular_recently"
POPULAR = "popular"
# Weight of the latest item and of each older one relative to the one after it: recent interest counts more.
RECENCY_WEIGHT = 0.9


class RankedItems(Protocol):
    """Item ids, best first, with scores; `training.artifacts.RankedList` is one."""

    @property
    def item_ids(self) -> Sequence[str]: ...

    @property
    def scores(self) -> Sequence[float]: ...


def listed(ranked: RankedItems, algorithm: str) -> Iterator[Ranked]:
    """A ranked list as items of an answer."""
    pairs = zip(ranked.item_ids, ranked.scores, strict=True)
    return (Ranked(item_id, score, algorithm) for item_id, score in pairs)


def popular(recent: RankedItems, overall: RankedItems) -> Iterator[Ranked]:
    """What is popular now, then what is popular ever."""
    return chain(listed(recent, POPULAR_RECENTLY), listed(overall, POPULAR))


def popular_in(lists: Sequence[RankedItems]) -> Iterator[Ranked]:
    """The best of each category in turn, so that the first category does not take every place."""
    iterators = [listed(each, POPULAR_IN_CATEGORY) for each in lists]
    while iterators:
        remaining = []
        for iterator in iterators:
            item = next(iterator, None)
            if item is not None:
                yield item
                remaining.append(iterator)
        iterators = remaining


def recency_strengths(count: int, last: float = 1.0) -> list[float]:
    """Strength of each of `count` items, latest first."""
    return [last * RECENCY_WEIGHT**age for age in range(count)]


def best_scores(
    item_ids: Sequence[str], scores: npt.NDArray[np.float32], count: int, excluded: Collection[str] = ()
) -> list[Ranked]:
    """The `count` best positive scores as fold-in recommendations; ties in catalogue order."""
    wanted = min(len(scores), count + len(excluded))
    if not wanted:
        return []
    top = np.argpartition(-scores, wanted - 1)[:wanted]
    top = top[np.lexsort((top, -scores[top]))]
    found = (Ranked(item_ids[index], float(scores[index]), FOLD_IN) for index in top if scores[index] > 0)
    return fill_up([], found, count, excluded)
