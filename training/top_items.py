"""From scores to ranked lists: the one place where items are cut off, excluded and ordered.

Every recommender gives a dense block of scores, with -inf for an item that it cannot recommend to the user.
Ranking here, and not in the library, avoids what implicit 0.7 does at the edges: liked items that come back
at -3.4e38, padding with item 0, arbitrary items for users without a history.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.identifiers import UNKNOWN, Positions

Scores = npt.NDArray[np.float32]

BLOCK_CELLS = 8_000_000


class Scorer(Protocol):
    """A recommender: scores of all items for some users."""

    @property
    def name(self) -> str:
        """The row's name in a report."""

    def scores(self, users: Positions) -> Scores:
        """A new array, one row per user position, one column per item; -inf where not recommendable."""


@dataclass(frozen=True)
class TopItems:
    """Ranked item positions, one row per user, best first.

    A row with fewer than k items ends in `UNKNOWN` (-1) positions with score -inf; it is never padded with
    items. No item appears twice in a row.
    """

    positions: npt.NDArray[np.int64]
    scores: Scores

    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of items in each row."""
        return np.asarray((self.positions != UNKNOWN).sum(axis=1), dtype=np.int64)


def top_items(scores: Scores, k: int) -> TopItems:
    """The k best finite scores of each row, ties by the lower position."""
    k = min(k, scores.shape[1])
    if k < scores.shape[1]:
        chosen = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    else:
        chosen = np.broadcast_to(np.arange(k), scores.shape).copy()
    chosen.sort(axis=1)
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    positions = np.take_along_axis(chosen, order, axis=1).astype(np.int64)
    unusable = ~np.isfinite(values)
    positions[unusable] = UNKNOWN
    values[unusable] = -np.inf
    return TopItems(positions, values)


def recommend(
    scorer: Scorer, users: Positions, k: int, excluded: sparse.csr_matrix | None = None
) -> TopItems:
    """The k best items for each user, without the items that `excluded` (user x item) stores for the user."""
    parts = []
    for block, scores in score_blocks(scorer, users):
        if excluded is not None:
            exclude(scores, excluded, block)
        parts.append(top_items(scores, k))
    if not parts:
        return TopItems(np.empty((0, 0), dtype=np.int64), np.empty((0, 0), dtype=np.float32))
    return TopItems(
        np.concatenate([part.positions for part in parts]), np.concatenate([part.scores for part in parts])
    )


def score_blocks(
    scorer: Scorer, users: Positions, cells: int = BLOCK_CELLS
) -> Iterator[tuple[Positions, Scores]]:
    """Blocks of users with their scores; a block holds about `cells` numbers, so memory is bounded."""
    start, size = 0, 1
    while start < len(users):
        block = users[start : start + size]
        scores = scorer.scores(block)
        start += len(block)
        size = max(1, cells // max(1, scores.shape[1]))
        yield block, scores


def exclude(scores: Scores, excluded: sparse.csr_matrix, users: Positions) -> None:
    """Set the scores of each user's excluded items to -inf, in place."""
    rows, columns = excluded[users].nonzero()
    scores[rows, columns] = -np.inf
