"""What users took before some instant, as arrays: all that a candidate source may know.

One row per user, item and basket. A basket is what a user took at one instant (`clock` 'days'), at one
position of an ordered list ('steps'), or everything at once where no order is known ('none'). Users and items
are positions; a part of a history keeps the positions of the whole, so scores of both can be compared.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.errors import NotEnoughData
from training.interactions import Interactions

Clock = Literal["days", "steps", "none"]
Floats = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

KNOWN_REPEATS = 1.05
"""From this mean number of baskets per user and item on, people are taken to buy again."""


@dataclass(frozen=True)
class History:
    """Rows sorted by user, basket and item, without duplicates; `history_of` makes one.

    `at` is in days with the clock 'days' and the number of the user's basket with 'steps'; `step` counts the
    baskets between this one and the user's last (0: the last one). `now` holds for each user the instant of
    recommending, never before the user's last row; `end` is the instant up to which anything is known.
    """

    shape: tuple[int, int]
    clock: Clock
    user: Whole
    item: Whole
    at: Floats
    step: Whole
    quantity: Single
    now: Floats
    end: float

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def age(self) -> Single:
        """Days (with the clock 'days', else baskets) from each row to the user's `now`; at least 0."""
        return np.maximum(self.now[self.user] - self.at, 0.0).astype(np.float32)

    @cached_property
    def counts(self) -> sparse.csr_matrix:
        """User x item: baskets that held the item."""
        return self.weighted(np.ones(len(self), dtype=np.float32))

    @cached_property
    def taken(self) -> sparse.csr_matrix:
        """User x item: 1 where the user took the item."""
        matrix = self.counts.copy()
        matrix.data = np.ones_like(matrix.data)
        return matrix

    @cached_property
    def repeats(self) -> bool:
        """Whether people take the same item more than once often enough to learn from it."""
        return bool(len(self) >= KNOWN_REPEATS * max(1, self.taken.nnz))

    @cached_property
    def has_order(self) -> bool:
        """Whether anything came before anything else."""
        return self.clock != "none" and bool((self.step > 0).any())

    @cached_property
    def basket(self) -> npt.NDArray[np.int64]:
        """Number of each row's basket, in the order of the rows."""
        starts = np.ones(len(self), dtype=bool)
        starts[1:] = (self.user[1:] != self.user[:-1]) | (self.step[1:] != self.step[:-1])
        return np.cumsum(starts) - 1

    @cached_property
    def baskets_of_user(self) -> npt.NDArray[np.int64]:
        """Number of baskets of each user."""
        found = np.zeros(self.shape[0], dtype=np.int64)
        np.maximum.at(found, self.user, self.step.astype(np.int64) + 1)
        return found

    def weighted(self, values: Single) -> sparse.csr_matrix:
        """User x item sum of one value for each row."""
        matrix = sparse.csr_matrix((values, (self.user, self.item)), shape=self.shape, dtype=np.float32)
        matrix.sum_duplicates()
        return matrix

    def decayed(self, half_life: float | None = None, step_decay: float | None = None) -> sparse.csr_matrix:
        """User x item baskets, weighted by 2 ** (-age / half_life) and by step_decay ** step."""
        weights = np.ones(len(self), dtype=np.float32)
        if half_life is not None:
            weights *= np.exp2(-self.age / np.float32(half_life))
        if step_decay is not None:
            weights *= np.power(np.float32(step_decay), self.step.astype(np.float32))
        return self.weighted(np.maximum(weights, np.float32(1e-20)))

    def takers(self, first: float = 0.0, last: float = np.inf) -> Floats:
        """Distinct users of each item among rows that are `first` to before `last` old when known ends.

        Ages count from `end`: the same calendar window for all users. With the clock 'steps' there is no
        common calendar; the window then counts each user's own baskets, from the last.
        """
        if self.clock == "none" or (first <= 0 and np.isinf(last)):
            return np.asarray(self.taken.sum(axis=0), dtype=np.float64).ravel()
        age = self.end - self.at if self.clock == "days" else self.step.astype(np.float64)
        chosen = (age >= first) & (age < last)
        pairs = np.unique(self.user[chosen].astype(np.int64) * self.shape[1] + self.item[chosen])
        return np.bincount(pairs % self.shape[1], minlength=self.shape[1]).astype(np.float64)

    def part(self, chosen: Flags, now: Floats | None = None, end: float | None = None) -> "History":
        """The chosen rows as a history of their own; raises `NotEnoughData` if none is left."""
        return history_of(
            self.shape,
            self.clock,
            self.user[chosen],
            self.item[chosen],
            self.at[chosen],
            self.quantity[chosen],
            now=now,
            end=end,
        )


def history_of(
    shape: tuple[int, int],
    clock: Clock,
    user: npt.ArrayLike,
    item: npt.ArrayLike,
    at: npt.ArrayLike | None = None,
    quantity: npt.ArrayLike | None = None,
    *,
    now: Floats | None = None,
    end: float | None = None,
) -> History:
    """A history of raw rows, in any order; rows of the same user, item and instant add their quantities.

    `at` is in days or in positions (any growing number), as `clock` says; without a clock, a pair that stands
    there twice adds its quantities. Without `now`, each user is recommended to right after the last basket;
    without `end`, everything known ends with the last row.
    """
    users, items = np.asarray(user, dtype=np.int32), np.asarray(item, dtype=np.int32)
    if not len(users):
        raise NotEnoughData("interactions", 0, 1, "give more data, or an earlier split")
    times = np.zeros(len(users)) if at is None or clock == "none" else np.asarray(at, dtype=np.float64)
    amounts = np.ones(len(users), np.float32) if quantity is None else np.asarray(quantity, np.float32)
    order = np.lexsort((items, times, users))
    users, items, times, amounts = users[order], items[order], times[order], amounts[order]
    new_user = np.r_[True, users[1:] != users[:-1]]
    new_basket = new_user | np.r_[True, times[1:] != times[:-1]]
    new_row = new_basket | np.r_[True, items[1:] != items[:-1]]
    number = np.cumsum(new_basket) - 1
    ends = np.r_[np.flatnonzero(new_user)[1:], len(users)] - 1
    last_of_user = np.full(shape[0], -1, dtype=np.int64)
    last_of_user[users[ends]] = number[ends]
    step = (last_of_user[users] - number).astype(np.int32)
    starts = np.flatnonzero(new_row)
    amounts = np.add.reduceat(amounts, starts).astype(np.float32)
    users, items, times, step = users[starts], items[starts], times[starts], step[starts]
    if clock == "steps":
        times, now, end = -step.astype(np.float64), np.zeros(shape[0]), 0.0
    last = float(times.max())
    end = last if end is None else end
    if now is None:
        now = np.full(shape[0], end)
        now[users] = -np.inf
        np.maximum.at(now, users, times)
    return History(shape, clock, users, items, times, step, amounts, now, end)


def history_from_interactions(interactions: Interactions) -> History:
    """Purchases of the interactions mart; a day is a basket, and everybody's now is the cut-off."""
    bought = interactions.purchase_count > 0
    return history_of(
        interactions.shape,
        "days",
        interactions.user[bought],
        interactions.item[bought],
        -interactions.age_days[bought].astype(np.float64) - 1.0,
        interactions.purchase_count[bought],
        now=np.zeros(interactions.shape[0]),
        end=0.0,
    )


def at_instant(history: History, instant: float) -> History:
    """The rows before `instant`, for recommendations at `instant` to everybody (clock 'days')."""
    everybody = np.full(history.shape[0], instant)
    return history.part(history.at < instant, now=everybody, end=instant)
