"""Sources that need nobody but the user, or everybody alike: buy again, popular, trending."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from training.identifiers import Positions
from training.sources.history import History, Single
from training.top_items import Scores


@dataclass(frozen=True)
class SameForAll:
    """One ranking for everybody; items without a positive score are not recommendable."""

    name: str
    item_scores: Single

    def for_users(self, history: History, before: Positions) -> "SameForAll":
        return self

    def scores(self, users: Positions) -> Scores:
        return np.tile(
            np.where(self.item_scores > 0, self.item_scores, -np.inf).astype(np.float32), (len(users), 1)
        )


@dataclass(frozen=True)
class PopularityConfig:
    """Distinct takers of each item, of the last `recent` days (or own baskets) before known ends, or ever."""

    recent: float | None = None

    @property
    def name(self) -> str:
        return "popularity" if self.recent is None else f"popularity_{self.recent:g}"

    def fit(self, history: History, seed: int) -> SameForAll:
        takers = history.takers() if self.recent is None else history.takers(0, self.recent)
        return SameForAll(self.name, takers.astype(np.float32))


@dataclass(frozen=True)
class TrendingConfig:
    """Recent takers times their growth: takers of the last `recent` days over the mean of `periods` before.

    `prior` takers are added to both, so that three sales after none are no trend.
    """

    recent: float = 14.0
    periods: float = 3.0
    prior: float = 5.0

    name = "trending"

    def fit(self, history: History, seed: int) -> SameForAll:
        recent = history.takers(0, self.recent)
        before = history.takers(self.recent, self.recent * (1 + self.periods)) / self.periods
        return SameForAll(
            self.name, (recent * (recent + self.prior) / (before + self.prior)).astype(np.float32)
        )


@dataclass(frozen=True)
class Habit:
    """Own weights of each user over a ranking for everybody, which only orders what is equal."""

    config: "BuyAgainConfig"
    own: sparse.csr_matrix
    rest: Single

    @property
    def name(self) -> str:
        return self.config.name

    def for_users(self, history: History, before: Positions) -> "Habit":
        return replace(self, own=self.config.own(history))

    def scores(self, users: Positions) -> Scores:
        scores = self.own[users].toarray() + self.rest
        scores[scores <= 0] = -np.inf
        return np.asarray(scores, dtype=np.float32)


@dataclass(frozen=True)
class BuyAgainConfig:
    """The user's own baskets with the item, plus `popularity` times the item's popularity (the top one at 1).

    `half_life` (days or baskets) and `step_decay` (a basket) weigh older ones less. With `due`, each pair is
    weighted by how near the user is to the own usual interval: an item that is bought monthly and was bought
    yesterday can wait. A small `popularity` breaks ties, a larger one competes with single purchases.
    """

    name: str = "buy_again"
    half_life: float | None = None
    step_decay: float | None = None
    popularity: float = 1e-3
    recent: float | None = None
    due: bool = False

    def fit(self, history: History, seed: int) -> Habit:
        takers = history.takers() if self.recent is None else history.takers(0, self.recent)
        rest = self.popularity * takers / max(1.0, float(takers.max()))
        return Habit(self, self.own(history), rest.astype(np.float32))

    def own(self, history: History) -> sparse.csr_matrix:
        """User x item: the user's own baskets with the item, weighted."""
        own = history.decayed(self.half_life, self.step_decay)
        if self.due:
            own = own.multiply(due_weights(history)).tocsr().astype(np.float32)
        return own


def due_weights(history: History) -> sparse.csr_matrix:
    """User x item: age / (age + interval / 2), the interval being the user's mean gap between takings.

    Pairs taken once have no interval; they get the weight of a pair that is as old as half its interval.
    """
    key = history.user.astype(np.int64) * history.shape[1] + history.item
    order = np.lexsort((history.at, key))
    key, age = key[order], history.age[order]
    first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    last = np.r_[first[1:], len(key)] - 1
    gaps = last - first
    interval = np.where(gaps > 0, (age[first] - age[last]) / np.maximum(gaps, 1), 0.0)
    weight = np.where(gaps > 0, age[last] / np.maximum(age[last] + interval / 2, 1e-9), 0.5)
    rows, columns = key[first] // history.shape[1], key[first] % history.shape[1]
    values = np.maximum(weight, 1e-6).astype(np.float32)
    return sparse.csr_matrix((values, (rows, columns)), shape=history.shape)
