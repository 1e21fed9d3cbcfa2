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
from threadpoolctl import threadpool_limits

from training.cores import run_side_by_side
from training.identifiers import UNKNOWN, Positions
from training.pair_features import PairFeatures
from training.sources.history import Flags, Single, Whole
from training.top_items import Scorer, Scores, TopItems, top_items

BLOCK_CELLS = 30_000_000
"""Scores of all sources together that a thread holds at a time."""


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
    names = tuple(scorer.name for scorer in scorers)
    if len(set(names)) != len(names):
        raise ValueError("two sources have the same name; give each a name of its own")
    known = features.takers > 0

    def of(block: Positions) -> _Block:
        return _sweep_block(scorers, features, block, config, known)

    features.prepare()
    cells = len(scorers) * features.history.shape[1]
    with threadpool_limits(limits=1, user_api="blas"):
        blocks = run_side_by_side(of, _blocks(users, cells))
    offsets = np.cumsum([0, *(len(one.best[0]) for one in blocks)])
    table = CandidateTable(
        users,
        np.concatenate([one.rows + offset for one, offset in zip(blocks, offsets[:-1], strict=True)]).astype(
            np.int32
        ),
        np.concatenate([one.items for one in blocks]).astype(np.int32),
        np.concatenate([one.taken for one in blocks]),
        np.concatenate([one.features for one in blocks]),
        (*names, *(f"rank_{name}" for name in names), *features.names),
        len(scorers),
    )
    return Sweep(
        table,
        {name: np.concatenate([one.best[number] for one in blocks]) for number, name in enumerate(names)},
        {name: np.concatenate([one.new[number] for one in blocks]) for number, name in enumerate(names)},
    )


@dataclass(frozen=True)
class _Block:
    """Candidates of one block of users, rows counted from its first; each source's lists."""

    rows: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    taken: Flags
    features: Single
    best: Sequence[npt.NDArray[np.int32]]
    new: Sequence[npt.NDArray[np.int32]]


def _sweep_block(
    scorers: Sequence[Scorer], features: PairFeatures, users: Positions, config: SweepConfig, known: Flags
) -> _Block:
    seen = features.history.taken[users]
    taken = seen.nonzero()
    chosen = np.zeros(seen.shape, dtype=bool)
    deep = max(config.depth, config.per_source)
    scores, best, new = [], [], []
    places = np.arange(seen.nnz) - seen.indptr[taken[0]]
    for scorer in scorers:
        own = scorer.scores(users)
        kept = own[taken]
        own[taken] = -np.inf
        fresh = top_items(own, deep)
        new.append(fresh.positions.astype(np.int32))
        own[taken] = 0.0 if config.exclude_taken else kept
        if not config.exclude_taken:
            best.append(_with_taken(fresh, taken, places, kept, deep))
        scores.append(_scaled(own))
    lists = new if config.exclude_taken else best
    for positions in (*lists, *new):
        _mark(chosen, positions[:, : config.per_source])
    chosen &= known
    rows, items = np.nonzero(chosen)
    known_of = np.empty((len(rows), len(features.names)), dtype=np.float32)
    features.write(known_of, users[rows], items)
    columns = [values[rows, items] / deviation[rows] for values, deviation in scores]
    columns += [_ranks(one[:, : config.depth], rows, items, config.depth, chosen.shape) for one in lists]
    chosen[:] = False
    chosen[taken] = True
    return _Block(
        rows,
        items,
        chosen[rows, items],
        np.column_stack([*columns, known_of]),
        [one[:, : config.depth] for one in lists],
        [one[:, : config.depth] for one in new],
    )


def _with_taken(
    fresh: TopItems,
    taken: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]],
    places: npt.NDArray[np.int64],
    values: Single,
    depth: int,
) -> npt.NDArray[np.int32]:
    """The best of each user's new items and of those taken: one short sort instead of a second long one.

    `taken` are rows and items, `places` number those of a row, `values` are their scores.
    """
    rows, items = taken
    width = fresh.positions.shape[1]
    shape = (len(fresh.positions), width + int(places.max(initial=-1)) + 1)
    positions, scores = np.full(shape, UNKNOWN, np.int32), np.full(shape, -np.inf, np.float32)
    positions[:, :width], scores[:, :width] = fresh.positions, fresh.scores
    usable = np.isfinite(values)
    at = rows[usable], places[usable] + width
    positions[at], scores[at] = items[usable], values[usable]
    order = np.lexsort((positions, -scores), axis=1)[:, :depth]
    return np.take_along_axis(positions, order, axis=1)


def _scaled(scores: Scores) -> tuple[Scores, Single]:
    """The scores with 0 where there is none, in place, and the standard deviation of each row (1 for 0)."""
    if np.isneginf(scores.min()):
        scores[np.isneginf(scores)] = 0.0
    mean = scores.mean(axis=1)
    square = np.einsum("ij,ij->i", scores, scores) / np.float32(scores.shape[1])
    deviation = np.sqrt(np.maximum(square - mean * mean, 0.0))
    return scores, np.where(deviation > 0, deviation, 1.0).astype(np.float32)


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
