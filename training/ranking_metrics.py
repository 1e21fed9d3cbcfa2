"""Ranking metrics, one value per user; averages and intervals come last.

`hits` is a boolean table, one row per user and one column per rank (best first): whether the item at that
rank is a label. `label_count` is the user's number of labels, including those that no model could know (an
item absent from training counts as a miss). A user without labels has no value: NaN.
"""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.identifiers import UNKNOWN

Hits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
PerUser = npt.NDArray[np.float64]


def hits_of(positions: npt.NDArray[np.int64], labels: sparse.csr_matrix) -> Hits:
    """Whether each ranked position is among the labels of its row; `UNKNOWN` positions never are."""
    wanted = labels.tocoo()
    keys = wanted.row.astype(np.int64) * labels.shape[1] + wanted.col
    rows = np.arange(positions.shape[0], dtype=np.int64)[:, None]
    return np.asarray((positions != UNKNOWN) & np.isin(rows * labels.shape[1] + positions, keys))


def recall_at(hits: Hits, label_count: Counts, k: int) -> PerUser:
    """Hits in the first k over the number of labels."""
    found = np.asarray(hits[:, :k].sum(axis=1), dtype=np.float64)
    return _per_user(found / np.maximum(label_count, 1), label_count)


def ndcg_at(hits: Hits, label_count: Counts, k: int) -> PerUser:
    """Discounted gain of the first k over that of an ideal list with min(labels, k) hits."""
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    gain = np.asarray(hits[:, :k] @ discount[: hits[:, :k].shape[1]])
    ideal = np.asarray(np.cumsum(discount)[np.clip(label_count, 1, k) - 1])
    return _per_user(np.asarray(gain / ideal), label_count)


def hit_rate_at(hits: Hits, label_count: Counts, k: int) -> PerUser:
    """1 if at least one of the first k is a label."""
    return _per_user(np.asarray(hits[:, :k].any(axis=1), dtype=np.float64), label_count)


def reciprocal_rank(hits: Hits, label_count: Counts) -> PerUser:
    """1 / rank of the first hit in the list, 0 without one."""
    first = hits.argmax(axis=1) if hits.shape[1] else np.zeros(hits.shape[0], dtype=np.int64)
    return _per_user(np.where(hits.any(axis=1), 1.0 / (first + 1.0), 0.0), label_count)


def coverage_at(positions: npt.NDArray[np.int64], item_count: int, k: int) -> float:
    """Share of the catalogue that appears in at least one user's first k."""
    shown = np.unique(positions[:, :k])
    return float((shown != UNKNOWN).sum() / item_count)


def _per_user(values: npt.NDArray[np.float64], label_count: Counts) -> PerUser:
    return np.asarray(np.where(label_count > 0, values, np.nan), dtype=np.float64)
