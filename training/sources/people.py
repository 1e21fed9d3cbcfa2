"""Sources that ask similar users: TIFU-kNN for baskets (Hu et al. 2020), user neighbours otherwise."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from training.identifiers import Positions
from training.sources.history import History
from training.sources.linear import powers
from training.top_items import Scores


@dataclass(frozen=True)
class NeighbourScorer:
    """`own` times the user's vector plus (1 - `own`) times the mean of the nearest users' vectors."""

    name: str
    vectors: sparse.csr_matrix
    unit: sparse.csr_matrix
    transposed: sparse.csr_matrix
    neighbours: int
    own: float

    def scores(self, users: Positions) -> Scores:
        near = np.asarray((self.unit[users] @ self.transposed).toarray(), dtype=np.float32)
        near[np.arange(len(users)), users] = 0.0
        keep = min(self.neighbours, near.shape[1])
        chosen = np.argpartition(-near, keep - 1, axis=1)[:, :keep]
        values = np.take_along_axis(near, chosen, axis=1)
        rows = np.repeat(np.arange(len(users)), keep)
        weights = sparse.csr_matrix((values.ravel(), (rows, chosen.ravel())), shape=near.shape)
        weights.eliminate_zeros()
        totals = np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-9)
        mean = (sparse.diags((1.0 - self.own) / totals) @ weights @ self.vectors).toarray()
        if self.own:
            mean += self.own * self.vectors[users].toarray()
        return np.asarray(mean, dtype=np.float32)


@dataclass(frozen=True)
class UserNeighboursConfig:
    """Vectors of baskets that fade by `step_decay` a basket; the mean of the nearest, weighted by cosine.

    Vectors are compared after division by takers ** `item_power`, so that sharing a bestseller says little.
    """

    name: str = "user_neighbours"
    neighbours: int = 200
    step_decay: float | None = 0.9
    item_power: float = 0.25
    own: float = 0.0

    def fit(self, history: History, seed: int) -> NeighbourScorer:
        vectors = history.decayed(None, self.step_decay if history.has_order else None)
        sums = np.maximum(np.asarray(vectors.sum(axis=1)).ravel(), 1e-9)
        shares = (sparse.diags(1.0 / sums) @ vectors).tocsr().astype(np.float32)
        damped = (shares @ sparse.diags(powers(history.takers(), -self.item_power))).tocsr()
        norms = np.sqrt(np.asarray(damped.multiply(damped).sum(axis=1)).ravel())
        unit = (sparse.diags(1.0 / np.maximum(norms, 1e-12)) @ damped).tocsr().astype(np.float32)
        return NeighbourScorer(self.name, shares, unit, unit.T.tocsr(), self.neighbours, self.own)
