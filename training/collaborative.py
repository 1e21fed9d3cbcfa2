"""Collaborative filtering: implicit ALS for the fit, its item factors for everything after.

Only item factors are kept. User vectors are solved from histories (`vectors`, or `ItemFactors.fold_in`
without the library), so known and unknown users are treated alike and the user factors of the fit, which are
half an iteration older than the item factors, are never served. BLAS runs with one thread inside the fit.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse
from threadpoolctl import threadpool_limits

from training.config import AlsConfig
from training.errors import NotEnoughData
from training.factors import ItemFactors, confidence
from training.identifiers import UNKNOWN, Positions
from training.interactions import Interactions
from training.top_items import Scores

THREADS = 2


@dataclass(frozen=True)
class CollaborativeModel:
    """What a fit leaves: item factors, and the configuration that made them."""

    factors: ItemFactors
    config: AlsConfig
    seed: int


def fit(interactions: Interactions, config: AlsConfig, seed: int) -> CollaborativeModel:
    """Fit item factors on decayed strengths; the same input and seed give the same factors."""
    users, items = interactions.shape
    if users < 2 or items < 2:
        raise NotEnoughData("users and items with interactions", min(users, items), 2, "land more days")
    weights = confidences(interactions.strengths(config.half_life_days), config)
    with threadpool_limits(limits=1, user_api="blas"):
        model = _als(config, seed)
        model.fit(weights, show_progress=False)
    factors = ItemFactors(
        interactions.items.ids,
        np.ascontiguousarray(model.item_factors, dtype=np.float32),
        item_trend(interactions, config),
        config.regularization,
        config.alpha,
        config.weighting,
        config.half_life_days,
    )
    return CollaborativeModel(factors, config, seed)


def vectors(factors: ItemFactors, strengths: sparse.csr_matrix) -> npt.NDArray[np.float32]:
    """User vectors of many histories at once: rows of `strengths` over the columns of `factors.item_ids`.

    The exact solution for each row, computed by the library's solver; zeros for an empty row.
    """
    weights = strengths.copy().astype(np.float32)
    weights.data = factors.confidence(weights.data).astype(np.float32)
    weights.eliminate_zeros()
    if not weights.nnz:
        return np.zeros((weights.shape[0], factors.vectors.shape[1]), dtype=np.float32)
    with threadpool_limits(limits=1, user_api="blas"):
        model = _als(AlsConfig(factors=factors.vectors.shape[1], regularization=factors.regularization), 0)
        model.item_factors = factors.vectors
        solved = model.recalculate_user(np.arange(weights.shape[0]), weights)
    return np.asarray(solved, dtype=np.float32)


def item_trend(interactions: Interactions, config: AlsConfig) -> npt.NDArray[np.float32]:
    """Score multiplier of each item: (buyers of the last days / rate over three times as long) ** exponent.

    One is added to both, so an item with few buyers stays near 1.
    """
    recent = interactions.buyers(config.trend_days) + 1.0
    usual = interactions.buyers(3 * config.trend_days) / 3.0 + 1.0
    return ((recent / usual) ** config.trend_exponent).astype(np.float32)


def confidences(strengths: sparse.csr_matrix, config: AlsConfig) -> sparse.csr_matrix:
    """The confidence of each stored strength, as CSR of float32."""
    weights = strengths.copy().astype(np.float32)
    weights.data = confidence(weights.data, config.weighting, config.alpha).astype(np.float32)
    return weights.tocsr()


@dataclass(frozen=True)
class CollaborativeScorer:
    """Scores from item factors for the users of `interactions`, known to the fit or not.

    A user without history on the model's items gets no recommendation rather than an arbitrary one. Items
    that the model does not know are not recommendable. With `trend` False the multipliers are left out.
    """

    interactions: Interactions
    factors: ItemFactors
    trend: bool = True

    @property
    def name(self) -> str:
        return "als_trend" if self.trend else "als"

    @cached_property
    def columns(self) -> Positions:
        """Row of `factors` for each item of `interactions`, UNKNOWN where the model lacks it."""
        lookup = self.factors.position
        ids = self.interactions.items.ids
        return np.fromiter((lookup.get(item_id, UNKNOWN) for item_id in ids), dtype=np.int64, count=len(ids))

    @cached_property
    def strengths(self) -> sparse.csr_matrix:
        """Histories over the model's items, decayed as in training."""
        matrix = self.interactions.strengths(self.factors.half_life_days).tocoo()
        columns = self.columns[matrix.col]
        known = columns != UNKNOWN
        shape = (matrix.shape[0], len(self.factors.item_ids))
        return sparse.csr_matrix((matrix.data[known], (matrix.row[known], columns[known])), shape=shape)

    def scores(self, users: Positions) -> Scores:
        solved = vectors(self.factors, self.strengths[users])
        scores = solved @ self.factors.vectors.T
        if self.trend:
            scores *= self.factors.multipliers
        if not np.array_equal(self.columns, np.arange(scores.shape[1])):
            scores = np.where(self.columns == UNKNOWN, -np.inf, scores[:, self.columns]).astype(np.float32)
        scores[~solved.any(axis=1)] = -np.inf
        return np.asarray(scores, dtype=np.float32)


def _als(config: AlsConfig, seed: int):  # type: ignore[no-untyped-def]  # implicit publishes no types
    """An unfitted model of the library; confidences already carry alpha."""
    from implicit.cpu.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=config.factors,
        regularization=config.regularization,
        alpha=1.0,
        iterations=config.iterations,
        random_state=seed,
        num_threads=THREADS,
    )
