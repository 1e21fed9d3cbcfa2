"""The released lists: what each user bought before, merged with what collaborative filtering adds.

A user's own history is the strongest single source where people buy the same things again, and useless for
new ones. An item bought on n days counts n / (n + s): the more often, the surer, with less and less to add.
The collaborative score comes on top, with a weight tuned on a validation fold (`recommenders.tune_blend`).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from training.collaborative import CollaborativeScorer
from training.config import BlendConfig
from training.cores import usable_cores
from training.factors import ItemFactors
from training.identifiers import UNKNOWN, Positions
from training.interactions import Interactions
from training.popularity import BuyAgainScorer
from training.top_items import Scorer, Scores, TopItems, top_items

BLOCK_CELLS = 2_000_000
"""Scores that a thread holds at a time."""
BUY_AGAIN, COLLABORATIVE, POPULAR = "buy_again", "collaborative", "popular"

CANDIDATE_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("feature_at", pa.timestamp("us", tz="UTC")),
        ("item_ids", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("algorithms", pa.list_(pa.string())),
        ("seen", pa.list_(pa.string())),
        ("release_id", pa.string()),
        ("generated_at", pa.timestamp("us", tz="UTC")),
    ]
)


@dataclass(frozen=True)
class BlendChoice:
    """The tuned merge.

    `weight` is that of the collaborative score, `popularity_weight` that of the popularity of the last
    `recent_days`, `half_life_days` the decay of the own history (None: no decay), which saturates with
    `saturation_days`.
    """

    weight: float
    half_life_days: float | None = None
    popularity_weight: float = 0.0
    recent_days: int = 30
    saturation_days: float = 3.0

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class Sources:
    """The scores of a block of users before they are merged, each at most 1.

    `own` is -inf only where nobody ever bought; `latent` is -inf where the model has no answer.
    """

    own: Scores
    latent: Scores
    bought: npt.NDArray[np.bool_]
    recent: npt.NDArray[np.float32]

    def merge(self, choice: BlendChoice) -> Scores:
        """Own history + weights x the others; with weight 0, or without a vector, buying again alone."""
        if choice.weight == 0.0:
            return self.own
        known = np.isfinite(self.latent)
        merged = np.where(known, self.latent, np.float32(0.0))
        merged *= np.float32(choice.weight)
        merged += np.where(self.bought, self.own, np.float32(0.0))
        if choice.popularity_weight:
            merged += np.float32(choice.popularity_weight) * self.recent
        merged[~(known | self.bought)] = -np.inf
        lost = ~known.any(axis=1)
        merged[lost] = self.own[lost]
        return merged


@dataclass(frozen=True)
class BlendScorer:
    """The released scores: own history, collaborative filtering and what sells now, merged.

    A user who has neither history nor vector gets overall popularity.
    """

    again: BuyAgainScorer
    collaborative: CollaborativeScorer
    choice: BlendChoice
    name: str = "released"

    def scores(self, users: Positions) -> Scores:
        return self.sources(users).merge(self.choice)

    def sources(self, users: Positions) -> Sources:
        """The parts, for trying several merges on them."""
        return Sources(
            self.own(users),
            _scaled(self.collaborative.scores(users)),
            self.again.own[users].toarray() > 0,
            self.recent,
        )

    def own(self, users: Positions) -> Scores:
        """Saturated own frequency; orders as buying again alone does."""
        days = self.again.scores(users)
        finite = np.maximum(days, np.float32(0.0))
        return np.where(np.isfinite(days), finite / (finite + self.choice.saturation_days), days)

    @cached_property
    def recent(self) -> npt.NDArray[np.float32]:
        """Buyers of each item in the last days, the most popular at 1."""
        counts = self.again.interactions.buyers(self.choice.recent_days)
        return (counts / max(1.0, float(counts.max()))).astype(np.float32)

    def uses_collaborative(self, users: Positions) -> npt.NDArray[np.bool_]:
        """Whether an item that the user has not bought is there because of collaborative filtering."""
        if self.choice.weight == 0.0:
            return np.zeros(len(users), dtype=bool)
        return np.asarray(np.diff(self.collaborative.strengths[users].indptr) > 0)


class ReleasedScorer(Scorer, Protocol):
    """What a release recommends by: scores, and what it owes to the user's own behaviour."""

    def uses_collaborative(self, users: Positions) -> npt.NDArray[np.bool_]:
        """Whether what the user has not bought is there because of what they did."""


def blend(interactions: Interactions, factors: ItemFactors, choice: BlendChoice) -> BlendScorer:
    """The released scorer for the users of `interactions`."""
    return BlendScorer(
        BuyAgainScorer(interactions, choice.half_life_days),
        CollaborativeScorer(interactions, factors),
        choice,
    )


def pick_candidates(scores: Scores, bought: npt.NDArray[np.bool_], config: BlendConfig) -> TopItems:
    """The released positions of a block of users, best first.

    The best `length - new_length` overall, then the best that the user has not bought, then whatever is
    best of the rest, up to `length`; put in the order of their scores.
    """
    length = min(config.length, scores.shape[1])
    first = max(1, length - config.new_length)
    overall = top_items(scores, length)
    fresh = top_items(np.where(bought, np.float32(-np.inf), scores), length)
    positions = np.concatenate(
        [overall.positions[:, :first], fresh.positions, overall.positions[:, first:]], axis=1
    )
    values = np.concatenate([overall.scores[:, :first], fresh.scores, overall.scores[:, first:]], axis=1)
    kept = _first_occurrence(positions) & (positions != UNKNOWN)
    kept &= np.cumsum(kept, axis=1) <= length
    values = np.where(kept, values, np.float32(-np.inf))
    best = np.lexsort((positions, -values), axis=1)[:, :length]
    values = np.take_along_axis(values, best, axis=1)
    positions = np.take_along_axis(positions, best, axis=1)
    return TopItems(np.where(np.isfinite(values), positions, UNKNOWN), values)


def candidate_tables(
    interactions: Interactions,
    scorer: ReleasedScorer,
    config: BlendConfig,
    *,
    feature_at: datetime,
    release_id: str,
    generated_at: datetime,
    users: Positions | None = None,
    known: Interactions | None = None,
) -> Iterator[pa.Table]:
    """Blocks of rows of `CANDIDATE_SCHEMA`, one row per user; memory is bounded by the block.

    `seen` holds the items that the user bought, latest first, at most `seen_length`. A user for whom nothing
    can be recommended gets an empty list, never invented items. `known` are the same users' interactions with
    the items that the scorer knows, where these are not all.
    """
    known = interactions if known is None else known
    catalogue = pa.array(known.items.ids, type=pa.string())
    names_of_seen = pa.array(interactions.items.ids, type=pa.string())
    names = pa.array(interactions.users.ids, type=pa.string())
    everybody = np.arange(len(interactions.users), dtype=np.int64) if users is None else users
    seen = SeenItems.of(interactions, config.seen_length)

    def of(block: Positions) -> pa.Table:
        scores = scorer.scores(block)
        bought = known.bought[block].toarray() > 0
        top = pick_candidates(scores, bought, config)
        rows, ranks = np.nonzero(top.positions != UNKNOWN)
        chosen = top.positions[rows, ranks]
        fill = np.where(scorer.uses_collaborative(block), COLLABORATIVE, POPULAR)
        algorithms = np.where(bought[rows, chosen], BUY_AGAIN, fill[rows])
        offsets = _offsets(top.lengths())
        seen_offsets, seen_items = seen.of_users(block)
        columns = [
            names.take(pa.array(block)),
            _repeated(feature_at, len(block)),
            pa.ListArray.from_arrays(offsets, catalogue.take(pa.array(chosen))),
            pa.ListArray.from_arrays(offsets, pa.array(top.scores[rows, ranks], type=pa.float32())),
            pa.ListArray.from_arrays(offsets, pa.array(algorithms.tolist(), type=pa.string())),
            pa.ListArray.from_arrays(seen_offsets, names_of_seen.take(pa.array(seen_items))),
            pa.array([release_id] * len(block), type=pa.string()),
            _repeated(generated_at, len(block)),
        ]
        return pa.Table.from_arrays(columns, schema=CANDIDATE_SCHEMA)

    size = max(1, BLOCK_CELLS // max(1, len(known.items)))
    blocks = [everybody[:1], *(everybody[at : at + size] for at in range(1, len(everybody), size))]
    yield of(blocks[0])  # which also computes what all blocks share, once
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(usable_cores()) as pool:
        yield from pool.map(of, blocks[1:])


@dataclass(frozen=True)
class SeenItems:
    """Items that each user bought, latest first; row u is `items[starts[u] : starts[u] + lengths[u]]`."""

    items: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, interactions: Interactions, limit: int) -> "SeenItems":
        """From the last purchase of each user and item; at most `limit` items a user."""
        ages = interactions.last_bought_age().tocoo()
        order = np.lexsort((ages.col, ages.data, ages.row))
        bought = np.bincount(ages.row, minlength=len(interactions.users)).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(bought)[:-1]]).astype(np.int64)
        return cls(ages.col[order].astype(np.int64), starts, np.minimum(bought, limit))

    def of_users(self, users: Positions) -> tuple[pa.Array, npt.NDArray[np.int64]]:
        """List offsets and the concatenated item positions of these users."""
        lengths = self.lengths[users]
        ends = np.cumsum(lengths)
        index = np.arange(int(lengths.sum())) + np.repeat(self.starts[users] - (ends - lengths), lengths)
        return _offsets(lengths), self.items[index]


def write_candidates(path: Path, tables: Iterator[pa.Table]) -> int:
    """Write the blocks to one Parquet file, replaced atomically, and return the number of users."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    count = 0
    try:
        with pq.ParquetWriter(temporary, CANDIDATE_SCHEMA) as writer:
            for table in tables:
                writer.write_table(table)
                count += table.num_rows
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _scaled(scores: Scores) -> Scores:
    """Each row divided by its largest finite score, so that its best item has 1; -inf stays."""
    best = np.where(np.isfinite(scores), scores, 0.0).max(axis=1, keepdims=True)
    return np.asarray(scores / np.where(best > 0, best, 1.0), dtype=np.float32)


def _first_occurrence(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each value is the first of its kind in its row."""
    order = np.argsort(positions, axis=1, kind="stable")
    ordered = np.take_along_axis(positions, order, axis=1)
    fresh = np.ones(positions.shape, dtype=bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(fresh)
    np.put_along_axis(first, order, fresh, axis=1)
    return first


def _offsets(lengths: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _repeated(instant: datetime, count: int) -> pa.Array:
    return pa.array([instant] * count, type=pa.timestamp("us", tz="UTC"))
