"""What sells, overall, recently, by category and again to the same user: baselines, and newcomers' lists.

Popularity counts distinct buyers, so that one wholesale order does not make a bestseller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.config import PopularityConfig
from training.identifiers import Positions
from training.interactions import Interactions
from training.rankings import Popularity, RankedList
from training.top_items import Scores

TIE_BREAK = 1e-3
"""Share of a day of purchase that the most popular item is worth, so popularity orders only what is equal."""


@dataclass(frozen=True)
class PopularityScorer:
    """The same ranking for everybody: distinct buyers, overall or of the last days before the cut-off."""

    interactions: Interactions
    recent_days: int | None = None

    @property
    def name(self) -> str:
        return "popularity" if self.recent_days is None else "popularity_recent"

    @cached_property
    def item_scores(self) -> npt.NDArray[np.float32]:
        """Buyers of each item; an item that nobody bought in the window is not recommendable."""
        counts = self.interactions.buyers(self.recent_days)
        return np.where(counts > 0, counts, -np.inf).astype(np.float32)

    def scores(self, users: Positions) -> Scores:
        return np.tile(self.item_scores, (len(users), 1))


@dataclass(frozen=True)
class CategoryScorer:
    """Popularity within the user's categories: (user's share of purchases in it) x (item's share of buyers).

    Items without a category form one of their own; a user who bought nothing gets overall popularity.
    """

    interactions: Interactions
    categories: Mapping[str, str | None]

    @property
    def name(self) -> str:
        return "popularity_by_category"

    @cached_property
    def item_category(self) -> npt.NDArray[np.int64]:
        """Category number of each item."""
        names = category_names(self.interactions, self.categories)
        numbers = {name: number for number, name in enumerate(sorted(set(names)))}
        return np.fromiter((numbers[name] for name in names), dtype=np.int64, count=len(names))

    @cached_property
    def affinity(self) -> npt.NDArray[np.float32]:
        """User x category share of the user's bought items; rows of users without purchases are even."""
        items = len(self.interactions.items)
        member = sparse.csr_matrix(
            (np.ones(items, dtype=np.float32), (np.arange(items), self.item_category)),
            shape=(items, int(self.item_category.max()) + 1),
        )
        counts = (self.interactions.bought @ member).toarray()
        totals = counts.sum(axis=1, keepdims=True)
        even = np.float32(1.0 / counts.shape[1])
        return np.asarray(np.where(totals > 0, counts / np.maximum(totals, 1.0), even), dtype=np.float32)

    def scores(self, users: Positions) -> Scores:
        popular = self.interactions.buyers()
        weights = (popular / max(1.0, float(popular.max()))).astype(np.float32)
        scores = self.affinity[users][:, self.item_category] * weights
        scores[:, popular == 0] = -np.inf
        return scores


@dataclass(frozen=True)
class BuyAgainScorer:
    """Own frequency: days on which the user bought the item, decayed by `half_life_days` if given.

    Popularity orders what is equal, so that the rest of the list is overall popularity.
    """

    interactions: Interactions
    half_life_days: float | None = None

    @property
    def name(self) -> str:
        return "buy_again"

    @cached_property
    def own(self) -> sparse.csr_matrix:
        """User x item days of purchase."""
        return self.interactions.purchase_days(self.half_life_days)

    @cached_property
    def tie_break(self) -> npt.NDArray[np.float32]:
        """Each item's popularity, small enough to order only ties."""
        popular = self.interactions.buyers()
        return (TIE_BREAK * popular / max(1.0, float(popular.max()))).astype(np.float32)

    def scores(self, users: Positions) -> Scores:
        scores = self.own[users].toarray() + self.tie_break
        scores[scores == 0] = -np.inf
        return np.asarray(scores, dtype=np.float32)


def rank_popularity(
    interactions: Interactions, categories: Mapping[str, str | None], config: PopularityConfig
) -> Popularity:
    """The lists for newcomers; `categories` maps item_id to its top-level category (None: no list).

    A window without purchases gives an empty list for 'recent', never invented items.
    """
    overall = interactions.buyers()
    recent = interactions.buyers(config.recent_days)
    names = np.array([name or "" for name in category_names(interactions, categories)], dtype=object)
    by_category = {
        str(name): _ranked(interactions, np.where(names == name, overall, 0.0), config.category_length)
        for name in sorted(set(names) - {""})
    }
    return Popularity(
        _ranked(interactions, overall, config.length),
        _ranked(interactions, recent, config.length),
        {name: ranked for name, ranked in by_category.items() if len(ranked)},
    )


def category_names(interactions: Interactions, categories: Mapping[str, str | None]) -> Sequence[str]:
    """Top-level category of each item position, "" where unknown."""
    return [categories.get(item_id) or "" for item_id in interactions.items.ids]


def _ranked(interactions: Interactions, counts: npt.NDArray[np.float64], length: int) -> RankedList:
    order = np.argsort(-counts, kind="stable")[:length]
    order = order[counts[order] > 0]
    return RankedList(tuple(interactions.items.external(order)), tuple(counts[order].tolist()))
