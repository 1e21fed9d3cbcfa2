"""What a history says of a user, of an item, and of the two together, for any list of pairs.

Everything comes from the `History` that the sources were fitted on, so nothing of the labels' time gets in.
Ages are days with a clock, else baskets; a pair that never met has NaN where a number would be made up, which
trees treat as a case of its own.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from training.sources.history import Floats, History, Single

NEVER = np.float32(np.nan)
WINDOWS_DAYS = (7.0, 30.0, 90.0)
WINDOWS_STEPS = (1.0, 3.0, 10.0)
HALF_LIVES_DAYS = (14.0, 60.0)
HALF_LIVES_STEPS = (2.0, 8.0)

USER_NAMES = ("user_rows", "user_items", "user_popularity")
USER_ORDER_NAMES = (
    "user_baskets",
    "user_basket_size",
    "user_repeat_share",
    "user_age",
    "user_gap",
    "user_tenure",
)
ITEM_NAMES = ("item_takers", "item_user_size")
ITEM_ORDER_NAMES = (
    "item_recent_1",
    "item_recent_2",
    "item_recent_3",
    "item_trend",
    "item_repeat_share",
    "item_count",
    "item_gap",
    "item_first_age",
    "item_last_age",
    "item_quantity",
)
PAIR_NAMES = (
    "pair_count",
    "pair_decayed_1",
    "pair_decayed_2",
    "pair_age",
    "pair_step",
    "pair_first_age",
    "pair_gap",
    "pair_overdue",
    "pair_item_overdue",
    "pair_rate",
    "pair_share",
    "pair_quantity",
)


@dataclass(frozen=True)
class PairFeatures:
    """Features of pairs of one history; `write` fills a block.

    What is said of items comes from `known`, the history that the sources were fitted on, where `history` is
    that of other users or of a later day.
    """

    history: History
    known: "PairFeatures | None" = None

    def for_users(self, history: History) -> "PairFeatures":
        """The same features for other users of the same items."""
        return PairFeatures(history, self._of_items)

    @property
    def takers(self) -> Floats:
        """Known takers of each item."""
        return self._of_items.history.takers()

    @property
    def _of_items(self) -> "PairFeatures":
        return self if self.known is None else self.known

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order; those of order and repetition only where there is some."""
        names: tuple[str, ...] = USER_NAMES + ITEM_NAMES
        if self._has_order:
            names = USER_NAMES + USER_ORDER_NAMES + ITEM_NAMES + ITEM_ORDER_NAMES
        return names + PAIR_NAMES if self._repeats else names

    @property
    def _has_order(self) -> bool:
        return self._of_items.history.has_order

    @property
    def _repeats(self) -> bool:
        return self._of_items.history.repeats

    def prepare(self) -> None:
        """Compute what all blocks share, before threads ask for it at once."""
        self.write(np.empty((1, len(self.names)), np.float32), np.zeros(1, np.int64), np.zeros(1, np.int64))

    def write(self, target: Single, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> None:
        """Fill `target` (one row for each pair, one column for each of `names`)."""
        columns = [*self._users, *self._of_items._items]
        of_users = len(self._users)
        for number, column in enumerate(columns):
            target[:, number] = column[users if number < of_users else items]
        if self._repeats:
            self._write_pairs(target[:, len(columns) :], users, items)

    @cached_property
    def _users(self) -> list[Single]:
        history = self.history
        users = history.shape[0]
        rows = np.bincount(history.user, minlength=users)
        distinct = np.diff(history.taken.indptr)
        popular = np.log1p(self.takers)
        mean = np.asarray(history.taken @ popular).ravel() / np.maximum(distinct, 1)
        columns: list[npt.NDArray[np.generic]] = [rows, distinct, mean]
        if self._has_order:
            baskets = history.baskets_of_user
            youngest = np.full(users, np.inf)
            oldest = np.zeros(users)
            np.minimum.at(youngest, history.user, history.age)
            np.maximum.at(oldest, history.user, history.age)
            youngest = np.where(np.isfinite(youngest), youngest, np.nan)
            gap = np.where(baskets > 1, (oldest - youngest) / np.maximum(baskets - 1, 1), np.nan)
            columns += [
                baskets,
                rows / np.maximum(baskets, 1),
                1.0 - distinct / np.maximum(rows, 1),
                youngest,
                gap,
                oldest,
            ]
        return [np.asarray(column, dtype=np.float32) for column in columns]

    @cached_property
    def _items(self) -> list[Single]:
        history = self.history
        items = history.shape[1]
        takers = history.takers()
        sizes = np.log1p(np.diff(history.taken.indptr).astype(np.float64))
        mean_size = np.asarray(history.taken.T @ sizes).ravel() / np.maximum(takers, 1)
        columns: list[Floats] = [takers, mean_size]
        if history.has_order:
            windows = WINDOWS_DAYS if history.clock == "days" else WINDOWS_STEPS
            recent = [history.takers(0, window) for window in windows]
            before = history.takers(windows[1], 2 * windows[1])
            several = np.bincount(history.counts.indices[history.counts.data > 1], minlength=items).astype(
                np.float64
            )
            rows = np.bincount(history.item, minlength=items).astype(np.float64)
            age = (history.end - history.at) if history.clock == "days" else history.step.astype(float)
            first, last = np.zeros(items), np.full(items, np.inf)
            np.maximum.at(first, history.item, age)
            np.minimum.at(last, history.item, age)
            quantity = np.bincount(history.item, np.log1p(np.abs(history.quantity)), items)
            columns += [
                *recent,
                (recent[1] + 3.0) / (before + 3.0),
                several / np.maximum(takers, 1),
                rows / np.maximum(takers, 1),
                self._item_gap,
                first,
                np.where(np.isfinite(last), last, np.nan),
                quantity / np.maximum(rows, 1),
            ]
        return [np.asarray(column, dtype=np.float32) for column in columns]

    @cached_property
    def _pairs(self) -> dict[str, Single]:
        """One value for each user and item that met, by name, in the order of `_keys`."""
        history, (order, starts, _) = self.history, self._grouping
        ends = np.r_[starts[1:], len(order)] - 1
        age, step = history.age[order], history.step[order].astype(np.float32)
        count = (ends - starts + 1).astype(np.float32)
        lives = HALF_LIVES_DAYS if history.clock == "days" else HALF_LIVES_STEPS
        decayed = [np.add.reduceat(np.exp2(-age / np.float32(life)), starts) for life in lives]
        gap = np.where(count > 1, (age[starts] - age[ends]) / np.maximum(count - 1, 1), NEVER)
        user = history.user[order][starts]
        return {
            "pair_count": count,
            "pair_decayed_1": decayed[0],
            "pair_decayed_2": decayed[1],
            "pair_age": age[ends],
            "pair_step": step[ends],
            "pair_first_age": age[starts],
            "pair_gap": gap,
            "pair_overdue": age[ends] / np.maximum(gap, np.float32(0.5)),
            "pair_rate": count / (step[starts] + 1),
            "pair_share": count / np.maximum(history.baskets_of_user[user], 1),
            "pair_quantity": np.log1p(np.abs(np.add.reduceat(history.quantity[order], starts))),
        }

    @cached_property
    def _grouping(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Order of the rows by pair and time, where each pair begins, and the sorted keys of the pairs."""
        history = self.history
        keys = history.user.astype(np.int64) * history.shape[1] + history.item
        order = np.lexsort((history.at, keys))
        sorted_keys = keys[order]
        starts = np.flatnonzero(np.r_[True, sorted_keys[1:] != sorted_keys[:-1]])
        return order, starts, sorted_keys[starts]

    @cached_property
    def _item_gap(self) -> Floats:
        """Mean time between two takings of the item by the same user; NaN without a repetition."""
        _, _, keys = self._grouping
        gap = self._pairs["pair_gap"]
        known = np.isfinite(gap)
        item = (keys % self.history.shape[1])[known]
        total = np.bincount(item, gap[known], self.history.shape[1])
        number = np.bincount(item, minlength=self.history.shape[1])
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)

    def _write_pairs(
        self, target: Single, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]
    ) -> None:
        keys = self._grouping[2]
        wanted = users * self.history.shape[1] + items
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        met = keys[place] == wanted
        for number, name in enumerate(PAIR_NAMES):
            if name == "pair_item_overdue":
                usual = np.maximum(self._of_items._item_gap[items], 0.5)
                target[:, number] = np.where(met, self._pairs["pair_age"][place] / usual, NEVER)
            else:
                missing = np.float32(0.0) if name.startswith(("pair_count", "pair_decayed")) else NEVER
                target[:, number] = np.where(met, self._pairs[name][place], missing)
