"""One row for each user and candidate: what the sources say of the pair, and what is known of user and item.

`sweep` walks over blocks of users, takes the best items of every source, and gathers for each the scores
and ranks of all sources; so the dense scores exist for one block only and memory is bounded. Scores are
divided by their standard deviation over the user's row, which makes those of different methods addable.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.identifiers import UNKNOWN, Positions
from training.pair_features import PairFeatures
from training.sources.history import Flags, Single, Whole
from training.top_items import Scorer, Scores, top_items

BLOCK_CELLS = 60_000_000
"""Scores of all sources together that are held at a time."""


@dataclass(frozen=True)
class SweepConfig:
    """How many items each source proposes, and how deep the lists are that it is measured by.

    With `exclude_taken` nobody is offered what the user took before. Otherwise each source proposes up to
    `per_source` items of all and the same number of items that are new to the user.
    """

    per_source: int = 60
    depth: int = 50
    exclude_taken: bool = False


@dataclass(frozen=True)
class CandidateTable:
    """Candidates of `users`; rows are sorted by user and item.

    `row` is the position in `users`, `item` that of the item, `taken` whether the user took it before;
    `features` is one float32 column for each of `names`, the first `source_count` being the sources' scores.
    """

    users: Positions
    row: Whole
    item: Whole
    taken: Flags
    features: Single
    names: tuple[str, ...]
    source_count: int

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where each user's rows begin; one more than users."""
        return np.searchsorted(self.row, np.arange(len(self.users) + 1)).astype(np.int64)

    def relevance(self, labels: sparse.csr_matrix) -> Flags:
        """Whether each candidate is among the labels of its user (one row of `labels` for each user)."""
        wanted = labels.tocoo()
        keys = np.sort(wanted.row.astype(np.int64) * labels.shape[1] + wanted.col)
        return contains(keys, self.row.astype(np.int64) * labels.shape[1] + self.item)

    def select(self, chosen: Flags) -> "CandidateTable":
        """Only the chosen rows; the users stay."""
        return CandidateTable(
            self.users,
            self.row[chosen],
            self.item[chosen],
            self.taken[chosen],
            self.features[chosen],
            self.names,
            self.source_count,
        )

    def for_users(self, chosen: Flags) -> "CandidateTable":
        """Only the chosen users, with their rows."""
        number = np.cumsum(chosen) - 1
        rows = chosen[self.row]
        part = self.select(rows)
        return CandidateTable(
            self.users[chosen],
            number[part.row].astype(np.int32),
            part.item,
            part.taken,
            part.features,
            self.names,
            self.source_count,
        )

    def ranked(self, scores: Single, depth: int) -> tuple[npt.NDArray[np.int64], Single]:
        """The `depth` best candidates of each user by `scores`: item positions (`UNKNOWN` padded), scores."""
        order = np.lexsort((self.item, -scores, self.row))
        place = np.arange(len(order)) - self.starts[self.row[order]]
        kept = order[place < depth]
        positions = np.full((len(self.users), depth), UNKNOWN, dtype=np.int64)
        values = np.full((len(self.users), depth), -np.inf, dtype=np.float32)
        places = place[place < depth]
        positions[self.row[kept], places] = self.item[kept]
        values[self.row[kept], places] = scores[kept]
        return positions, values


@dataclass(frozen=True)
class Sweep:
    """The table, and each source's own list of all items and of items that are new to the user."""

    table: CandidateTable
    lists: Mapping[str, npt.NDArray[np.int32]]
    new_lists: Mapping[str, npt.NDArray[np.int32]]


def sweep(
    scorers: Sequence[Scorer],
    features: PairFeatures,
    users: Positions,
    config: SweepConfig,
) -> Sweep:
    """Candidates of `users` from all scorers, which were fitted on the history that `features` describes."""
    lists: dict[str, list[npt.NDArray[np.int32]]] = {scorer.name: [] for scorer in scorers}
    new_lists: dict[str, list[npt.NDArray[np.int32]]] = {scorer.name: [] for scorer in scorers}
    if len(lists) != len(scorers):
        raise ValueError("two sources have the same name; give each a name of its own")
    taken = features.history.taken
    known_items = features.history.takers() > 0
    tables, done = [], 0
    for block in _blocks(users, len(scorers) * taken.shape[1]):
        seen = taken[block].toarray() > 0
        chosen = np.zeros(seen.shape, dtype=bool)
        scores = []
        for scorer in scorers:
            own = scorer.scores(block)
            scores.append(own)
            masked = np.where(seen, np.float32(-np.inf), own)
            deep = max(config.depth, config.per_source)
            new = top_items(masked, deep).positions.astype(np.int32)
            best = new if config.exclude_taken else top_items(own, deep).positions.astype(np.int32)
            lists[scorer.name].append(best[:, : config.depth])
            new_lists[scorer.name].append(new[:, : config.depth])
            for positions in (best, new):
                _mark(chosen, positions[:, : config.per_source])
        chosen &= known_items
        rows, items = np.nonzero(chosen)
        columns = np.empty((len(rows), len(features.names)), dtype=np.float32)
        features.write(columns, block[rows], items)
        own_columns = [_gather(one, seen if config.exclude_taken else None, rows, items) for one in scores]
        ranks = [
            _ranks(best[-1], rows, items, config.depth, chosen.shape)
            for best in (lists[scorer.name] for scorer in scorers)
        ]
        tables.append(
            (
                (rows + done).astype(np.int32),
                items.astype(np.int32),
                seen[rows, items],
                np.column_stack([*own_columns, *ranks, columns]),
            )
        )
        done += len(block)
    names = (
        *(scorer.name for scorer in scorers),
        *(f"rank_{scorer.name}" for scorer in scorers),
        *features.names,
    )
    table = CandidateTable(
        users,
        np.concatenate([one[0] for one in tables]),
        np.concatenate([one[1] for one in tables]),
        np.concatenate([one[2] for one in tables]),
        np.concatenate([one[3] for one in tables]),
        names,
        len(scorers),
    )
    return Sweep(
        table,
        {name: np.concatenate(parts) for name, parts in lists.items()},
        {name: np.concatenate(parts) for name, parts in new_lists.items()},
    )


def contains(sorted_keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> Flags:
    """Whether each wanted key is among the sorted ones."""
    if not len(sorted_keys):
        return np.zeros(len(wanted), dtype=bool)
    place = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.asarray(sorted_keys[place] == wanted)


def _blocks(users: Positions, cells_per_user: int) -> Iterator[Positions]:
    size = max(1, BLOCK_CELLS // max(1, cells_per_user))
    for start in range(0, len(users), size):
        yield users[start : start + size]


def _mark(chosen: Flags, positions: npt.NDArray[np.int32]) -> None:
    rows, ranks = np.nonzero(positions != UNKNOWN)
    chosen[rows, positions[rows, ranks]] = True


def _gather(
    scores: Scores, seen: Flags | None, rows: npt.NDArray[np.int64], items: npt.NDArray[np.int64]
) -> Single:
    """Each pair's score over the standard deviation of its row; 0 where there is none."""
    finite = np.where(np.isfinite(scores), scores, np.float32(0.0))
    if seen is not None:
        finite[seen] = 0.0
    deviation = finite.std(axis=1, dtype=np.float64).astype(np.float32)
    return np.asarray(finite[rows, items] / np.where(deviation > 0, deviation, 1.0)[rows], dtype=np.float32)


def _ranks(
    best: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int64],
    items: npt.NDArray[np.int64],
    depth: int,
    shape: tuple[int, ...],
) -> Single:
    """Place of each pair in the source's list, from 1; `depth` + 1 beyond it."""
    table = np.full(shape, depth + 1, dtype=np.uint16)
    at, places = np.nonzero(best != UNKNOWN)
    table[at, best[at, places]] = places + 1
    return table[rows, items].astype(np.float32)
