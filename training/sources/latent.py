"""Sources that compress: truncated SVD of the normalised matrix, and ALS with recency."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from training.cores import usable_cores
from training.identifiers import Positions
from training.sources.history import History, Single
from training.sources.linear import ProfileConfig, powers
from training.top_items import Scores

EXACT_ITEMS = 3_000
"""Up to this many items the spectrum comes from the dense Gram matrix, exactly."""


@dataclass(frozen=True)
class LatentScorer:
    """`profile @ input vectors @ output vectors^T`; a user without a profile gets no recommendation."""

    name: str
    config: ProfileConfig
    profile: sparse.csr_matrix
    inputs: Single
    outputs: Single

    def for_users(self, history: History, before: Positions) -> "LatentScorer":
        return replace(self, profile=self.config.of(history))

    def scores(self, users: Positions) -> Scores:
        return products(self.profile[users] @ self.inputs, self.outputs)


@dataclass(frozen=True)
class FactorScorer:
    """User vectors, solved from histories, times item vectors."""

    config: "AlsSourceConfig"
    vectors: Single
    outputs: Single

    @property
    def name(self) -> str:
        return self.config.name

    def for_users(self, history: History, before: Positions) -> "FactorScorer":
        return replace(self, vectors=self.config.solve(history, self.outputs))

    def scores(self, users: Positions) -> Scores:
        return products(self.vectors[users], self.outputs)


def products(vectors: Single, outputs: Single) -> Scores:
    """Scores of each user vector with all items; -inf for a vector of nothing."""
    scores = np.asarray(vectors @ outputs.T, dtype=np.float32)
    scores[~np.asarray(vectors).any(axis=1)] = -np.inf
    return scores


@dataclass(frozen=True)
class Spectrum:
    """Right singular vectors of the matrix with degrees to the powers of -`user_power` and -`item_power`."""

    vectors: Single
    item_degree: Single
    user_power: float
    item_power: float


@dataclass(frozen=True)
class SpectralConfig:
    """Projection of a user's normalised row on the first `rank` singular vectors: the ideal low-pass filter.

    `item_power` .25 to .5; `restore` multiplies the result by degree ** restore. One spectrum of the largest
    rank serves all smaller ones (`truncated`).
    """

    name: str = "spectral"
    rank: int = 256
    user_power: float = 0.25
    item_power: float = 0.35
    restore: float = 0.0
    iterations: int = 3
    profile: ProfileConfig = ProfileConfig()

    def fit(self, history: History, seed: int) -> LatentScorer:
        return self.scorer(history, self.spectrum(history, seed))

    def spectrum(self, history: History, seed: int) -> Spectrum:
        """The vectors, largest singular value first."""
        taken = history.taken
        degree = np.asarray(taken.sum(axis=0)).ravel()
        users = sparse.diags(powers(np.diff(taken.indptr), -self.user_power))
        matrix = (users @ taken @ sparse.diags(powers(degree, -self.item_power))).tocsr().astype(np.float32)
        rank = min(self.rank, min(matrix.shape) - 1)
        if matrix.shape[1] <= EXACT_ITEMS:
            gram = (matrix.T @ matrix).toarray()
            _, vectors = np.linalg.eigh(gram)
            found = np.ascontiguousarray(vectors[:, ::-1][:, :rank], dtype=np.float32)
        else:
            _, _, rows = randomized_svd(
                matrix,
                rank,
                n_oversamples=32,
                n_iter=self.iterations,
                power_iteration_normalizer="LU",
                random_state=seed,
            )
            found = np.ascontiguousarray(rows.T, dtype=np.float32)
        return Spectrum(found, degree.astype(np.float32), self.user_power, self.item_power)

    def scorer(self, history: History, spectrum: Spectrum) -> LatentScorer:
        """The scores of this rank and `restore`, from a spectrum of at least the rank."""
        vectors = spectrum.vectors[:, : self.rank]
        inputs = powers(spectrum.item_degree, -self.item_power)[:, None] * vectors
        outputs = powers(spectrum.item_degree, self.restore)[:, None] * vectors
        return LatentScorer(
            self.name,
            self.profile,
            self.profile.of(history),
            np.ascontiguousarray(inputs),
            np.ascontiguousarray(outputs),
        )

    def truncated(self, rank: int) -> "SpectralConfig":
        """The same with another rank."""
        return replace(self, rank=rank)


@dataclass(frozen=True)
class AlsSourceConfig:
    """Implicit ALS (Hu, Koren & Volinsky 2008) on decayed baskets.

    Confidence is `alpha` * weight, weights fading with `half_life` and `step_decay`; `log` takes log(1 + w).
    User vectors come from the fit's item vectors and the weights alike, so they are never half a step older.
    """

    name: str = "als"
    factors: int = 128
    regularization: float = 20.0
    alpha: float = 10.0
    iterations: int = 12
    half_life: float | None = None
    step_decay: float | None = None
    fold_in_step_decay: float | None = None
    log: bool = False

    def fit(self, history: History, seed: int) -> FactorScorer:
        model = self._model(seed)
        with threadpool_limits(limits=1, user_api="blas"):
            model.fit(self._weights(history, self.step_decay), show_progress=False)
        outputs = np.asarray(model.item_factors, dtype=np.float32)
        return FactorScorer(self, self.solve(history, outputs), outputs)

    def solve(self, history: History, outputs: Single) -> Single:
        """The vector of each user for these item vectors; zeros without a history."""
        weights = self.weights(history)
        known = np.flatnonzero(np.diff(weights.indptr))
        model = self._model(0)
        model.item_factors = outputs
        vectors = np.zeros((history.shape[0], self.factors), dtype=np.float32)
        with threadpool_limits(limits=1, user_api="blas"):
            vectors[known] = model.recalculate_user(known, weights[known])
        return vectors

    def weights(self, history: History) -> sparse.csr_matrix:
        """User x item: the confidences that user vectors are solved with."""
        return self._weights(history, self.fold_in_step_decay)

    def _model(self, seed: int):  # type: ignore[no-untyped-def]  # implicit publishes no types
        from implicit.cpu.als import AlternatingLeastSquares

        with threadpool_limits(limits=1, user_api="blas"):  # or it warns that it would be slow
            return AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.regularization,
                alpha=1.0,
                iterations=self.iterations,
                random_state=seed,
                num_threads=usable_cores(),
            )

    def _weights(self, history: History, step_decay: float | None) -> sparse.csr_matrix:
        weights = history.decayed(self.half_life, step_decay).copy()
        values = np.log1p(weights.data) if self.log else weights.data
        weights.data = np.maximum(self.alpha * values, 1e-6).astype(np.float32)
        return weights
