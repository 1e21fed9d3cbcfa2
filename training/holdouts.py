"""What is held out of a history to measure recommendations on: by time, the last basket, or pairs.

The same three ways serve the test and the fold that is carved from the training part; which one fits the
latter follows from how the test was made (`like`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.errors import NotEnoughData
from training.identifiers import Positions
from training.sources.history import Flags, History, at_instant


@dataclass(frozen=True)
class Holdout:
    """A history and what its users took next.

    `labels` has one row for each of `users`, over all items; `unknown_labels` counts the labels of each that
    are no item of the history's positions at all. Labels that `history` has not seen are everybody's misses.
    """

    history: History
    users: Positions
    labels: sparse.csr_matrix
    unknown_labels: npt.NDArray[np.int64]

    @property
    def label_count(self) -> npt.NDArray[np.int64]:
        """Labels of each user, known or not."""
        return np.asarray(np.diff(self.labels.indptr) + self.unknown_labels, dtype=np.int64)

    def new_labels(self) -> sparse.csr_matrix:
        """The labels that the user had not taken before."""
        fresh = (self.labels - self.labels.multiply(self.history.taken[self.users])).tocsr()
        fresh.eliminate_zeros()
        return fresh

    def repeat_share(self) -> float:
        """Share of the labels that the user had taken before."""
        return 1.0 - int(self.new_labels().nnz) / max(1, int(self.label_count.sum()))

    def sample(self, size: int, seed: int) -> "Holdout":
        """At most `size` of the users, drawn with `seed`."""
        if len(self.users) <= size:
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self.users), size, replace=False))
        return self.of(chosen)

    def of(self, rows: Positions) -> "Holdout":
        """The given rows of users and labels."""
        return Holdout(self.history, self.users[rows], self.labels[rows], self.unknown_labels[rows])


def by_time(history: History, cutoff: float, horizon_days: float) -> Holdout:
    """Labels: what known users took in [cutoff, cutoff + horizon) (clock 'days')."""
    later = (history.at >= cutoff) & (history.at < cutoff + horizon_days)
    return _hold_out(at_instant(history, cutoff), history, later)


def last_basket(history: History) -> Holdout:
    """Labels: the last basket of each user who has an earlier one."""
    chosen = (history.step == 0) & (history.baskets_of_user[history.user] > 1)
    return _hold_out(history.part(~chosen), history, chosen)


def last_share(history: History, share: float) -> Holdout:
    """Labels: about `share` of each user's baskets, the last ones; at least one, and one stays."""
    baskets = history.baskets_of_user[history.user]
    wanted = np.clip(np.round(baskets * share), 1, np.maximum(baskets - 1, 0))
    chosen = history.step < wanted
    return _hold_out(history.part(~chosen), history, chosen)


def random_pairs(history: History, share: float, seed: int) -> Holdout:
    """Labels: `share` of each user's items, rounded at random; every user keeps at least one item."""
    rng = np.random.default_rng(seed)
    starts = np.flatnonzero(np.r_[True, history.user[1:] != history.user[:-1]])
    sizes = np.diff(np.r_[starts, len(history)])
    order = np.lexsort((rng.random(len(history)), history.user))
    rank = np.empty(len(history), dtype=np.int64)
    rank[order] = np.arange(len(history)) - np.repeat(starts, sizes)
    wanted = np.floor(sizes * share + rng.random(len(sizes))).astype(np.int64)
    chosen = rank < np.repeat(np.minimum(wanted, sizes - 1), sizes)
    return _hold_out(history.part(~chosen), history, chosen)


def _hold_out(known: History, whole: History, chosen: Flags) -> Holdout:
    user, item = whole.user[chosen], whole.item[chosen]
    familiar = known.baskets_of_user[user] > 0
    users = np.unique(user[familiar]).astype(np.int64)
    if not len(users):
        remedy = "choose an earlier cut-off or a longer horizon, or give users more interactions"
        raise NotEnoughData("known users with held-out items", 0, 1, remedy)
    rows = np.searchsorted(users, user[familiar])
    labels = sparse.csr_matrix(
        (np.ones(len(rows), dtype=np.float32), (rows, item[familiar])), shape=(len(users), whole.shape[1])
    )
    labels.data = np.ones_like(labels.data)
    return Holdout(known, users, labels, np.zeros(len(users), dtype=np.int64))
