"""Sources that ask similar users: TIFU-kNN for baskets (Hu et al. 2020), user neighbours otherwise."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from training.identifiers import UNKNOWN, Positions
from training.sources.history import Floats, History
from training.sources.linear import powers
from training.top_items import Scores


@dataclass(frozen=True)
class NeighbourScorer:
    """`own` times the user's vector plus (1 - `own`) times the mean of the nearest known users' vectors.

    `before` holds each user's place among the known ones: nobody is their own neighbour.
    """

    config: "UserNeighboursConfig"
    vectors: sparse.csr_matrix
    unit: sparse.csr_matrix
    known_vectors: sparse.csr_matrix
    known_unit: sparse.csr_matrix
    popularity: Floats
    before: Positions

    @property
    def name(self) -> str:
        return self.config.name

    def for_users(self, history: History, before: Positions) -> "NeighbourScorer":
        vectors, unit = self.config.vectors(history, self.popularity)
        return replace(self, vectors=vectors, unit=unit, before=before)

    def scores(self, users: Positions) -> Scores:
        near = np.asarray((self.unit[users] @ self.known_unit).toarray(), dtype=np.float32)
        themselves = self.before[users]
        near[themselves != UNKNOWN, themselves[themselves != UNKNOWN]] = 0.0
        own = self.config.own
        keep = min(self.config.neighbours, near.shape[1])
        chosen = np.argpartition(-near, keep - 1, axis=1)[:, :keep]
        values = np.take_along_axis(near, chosen, axis=1)
        rows = np.repeat(np.arange(len(users)), keep)
        weights = sparse.csr_matrix((values.ravel(), (rows, chosen.ravel())), shape=near.shape)
        weights.eliminate_zeros()
        totals = np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-9)
        mean = (sparse.diags((1.0 - own) / totals) @ weights @ self.known_vectors).toarray()
        if own:
            mean += own * self.vectors[users].toarray()
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
        takers = history.takers()
        vectors, unit = self.vectors(history, takers)
        everybody = np.arange(history.shape[0], dtype=np.int64)
        return NeighbourScorer(self, vectors, unit, vectors, unit.T.tocsr(), takers, everybody)

    def vectors(self, history: History, takers: Floats) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """User x item: shares of each user's faded baskets, and the same damped, at length 1."""
        vectors = history.decayed(None, self.step_decay)
        sums = np.maximum(np.asarray(vectors.sum(axis=1)).ravel(), 1e-9)
        shares = (sparse.diags(1.0 / sums) @ vectors).tocsr().astype(np.float32)
        damped = (shares @ sparse.diags(powers(takers, -self.item_power))).tocsr()
        norms = np.sqrt(np.asarray(damped.multiply(damped).sum(axis=1)).ravel())
        unit = (sparse.diags(1.0 / np.maximum(norms, 1e-12)) @ damped).tocsr().astype(np.float32)
        return shares, unit
