"""Sources that multiply a user's profile by an item-item matrix: neighbours, graph filter, transitions, EASE,
and content.

`scores = (profile D^-a) M D^-c`: profile and matrix say which method it is. Degrees are numbers of takers.
Items of no score (no path from the profile) are 0 and rank last; the profile's own items keep their scores,
so exclusion is the caller's.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from training.identifiers import Positions
from training.sources.history import History, Single
from training.top_items import Scores

SPARSE_CELLS = 150_000_000
"""Beyond this estimate an item-item matrix is never formed; the filter then goes through the users."""
DENSE_CELLS, DENSE_SHARE = 64_000_000, 0.15
"""A matrix no larger than this, and filled beyond that share, is quicker to multiply as an array."""
TILE = 256
FOLLOWING_CELLS = 20_000_000
"""Entries of the sums of following baskets that are held at a time."""
CONTENT = "content"
MOST_TERMS = 20_000


@dataclass(frozen=True)
class LinearScorer:
    """`profile @ left [@ right]`, times one number for each item.

    `right` is given where the product of both would be too large to hold.
    """

    name: str
    config: "ProfileConfig"
    profile: sparse.csr_matrix
    left: sparse.csr_matrix | Single
    right: sparse.csr_matrix | None = None
    item_weights: Single | None = None

    def for_users(self, history: History, before: Positions) -> "LinearScorer":
        return replace(self, profile=self.config.of(history))

    def scores(self, users: Positions) -> Scores:
        product = self.profile[users] @ self.left
        if self.right is not None:
            product = product @ self.right
        dense = product.toarray() if sparse.issparse(product) else product
        scores = np.ascontiguousarray(dense, dtype=np.float32)
        if self.item_weights is not None:
            scores *= self.item_weights
        return scores


@dataclass(frozen=True)
class ProfileConfig:
    """How much each basket of a user counts: 2 ** (-age / `half_life`) times `step_decay` ** step.

    Ages are days, or baskets without a clock. With `binary`, an item counts once, by its latest basket.
    """

    half_life: float | None = None
    step_decay: float | None = None
    binary: bool = True

    def of(self, history: History) -> sparse.csr_matrix:
        """User x item weights."""
        if self.half_life is None and self.step_decay is None:
            return history.taken if self.binary else history.counts
        summed = history.decayed(self.half_life, self.step_decay)
        if not self.binary:
            return summed
        key = history.user.astype(np.int64) * history.shape[1] + history.item
        order = np.lexsort((history.step, key))
        latest = order[np.r_[True, key[order][1:] != key[order][:-1]]]
        chosen = np.zeros(len(history), dtype=bool)
        chosen[latest] = True
        weights = np.ones(len(history), dtype=np.float32)
        if self.half_life is not None:
            weights *= np.exp2(-history.age / np.float32(self.half_life))
        if self.step_decay is not None:
            weights *= np.power(np.float32(self.step_decay), history.step.astype(np.float32))
        matrix = sparse.csr_matrix(
            (np.maximum(weights, 1e-20)[chosen], (history.user[chosen], history.item[chosen])), history.shape
        )
        return matrix


@dataclass(frozen=True)
class GraphFilterConfig:
    """`r_u D_i^-a (R^T D_u^-b R) D_i^-c`: items reached through users, one low-pass step on the graph.

    Shen et al. 2021 show that such a filter is what graph networks for recommendation learn. With a = c = .5
    and b = 0 it is item neighbours by cosine. Nothing is pruned: pruning to 100 neighbours loses a fifth.
    """

    name: str = "graph_filter"
    a: float = 0.8
    b: float = 0.5
    c: float = 0.3
    profile: ProfileConfig = ProfileConfig()

    def fit(self, history: History, seed: int) -> LinearScorer:
        taken = history.taken
        items = powers(np.asarray(taken.sum(axis=0)).ravel(), -self.a)
        users = powers(np.diff(taken.indptr), -self.b)
        right = (sparse.diags(users) @ taken).tocsr().astype(np.float32)
        left = (sparse.diags(items) @ taken.T).tocsr().astype(np.float32)
        weights = powers(np.asarray(taken.sum(axis=0)).ravel(), -self.c)
        profile = self.profile.of(history)
        if float((np.diff(taken.indptr).astype(np.float64) ** 2).sum()) <= SPARSE_CELLS:
            return LinearScorer(
                self.name, self.profile, profile, quicker((left @ right).tocsr()), None, weights
            )
        return LinearScorer(self.name, self.profile, profile, left, right, weights)


@dataclass(frozen=True)
class TransitionsConfig:
    """What follows what: pairs of a user's baskets, weighted by distance ** -distance_power.

    `backward` is the share that the pair counts against the direction, `together` what two items of a basket
    count. Both ends are divided by (takers ** a, takers ** c). The profile fades by `step_decay` a basket.
    """

    name: str = "transitions"
    distance_power: float = 0.5
    reach: int = 20
    backward: float = 0.1
    together: float = 0.5
    a: float = 0.5
    c: float = 0.5
    step_decay: float = 0.6

    def fit(self, history: History, seed: int) -> LinearScorer:
        baskets = basket_matrix(history)
        owner = np.zeros(baskets.shape[0], dtype=np.int64)
        owner[history.basket] = history.user
        forward = following_pairs(baskets, owner, self.reach, self.distance_power)
        both = forward + np.float32(self.backward) * forward.T
        if self.together and baskets.nnz > baskets.shape[0]:
            inside = (baskets.T @ baskets).tocsr()
            inside.setdiag(0)
            both = both + np.float32(self.together) * inside
        degree = np.asarray(baskets.sum(axis=0)).ravel()
        left = both.tocsr().astype(np.float32)
        left.data *= np.repeat(powers(degree, -self.a), np.diff(left.indptr))
        profile = ProfileConfig(step_decay=self.step_decay)
        weights = powers(degree, -self.c)
        return LinearScorer(self.name, profile, profile.of(history), quicker(left), None, weights)


@dataclass(frozen=True)
class EaseConfig:
    """EASE^R (Steck 2019): the closed form of a linear autoencoder with zero diagonal, dense in the items."""

    name: str = "ease"
    regularization: float = 200.0
    profile: ProfileConfig = ProfileConfig()

    def fit(self, history: History, seed: int) -> LinearScorer:
        taken = history.taken
        gram = (taken.T @ taken).toarray().astype(np.float32)
        gram[np.diag_indices_from(gram)] += np.float32(self.regularization)
        factor, _ = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        lower, _ = linalg.lapack.spotri(factor, lower=True, overwrite_c=True)
        inverse = mirrored(lower).T  # LAPACK's columns are our rows, and the matrix is symmetric
        weights = np.asarray(inverse / -np.diag(inverse), dtype=np.float32)
        weights[np.diag_indices_from(weights)] = 0.0
        return LinearScorer(self.name, self.profile, self.profile.of(history), weights)


def content_scorer(texts: tuple[str, ...], history: History) -> LinearScorer:
    """Content: cosine of TF-IDF between an item's text and the user's items; `texts` has one an item."""
    terms = text_terms(texts)
    profile = ProfileConfig()
    return LinearScorer(CONTENT, profile, profile.of(history), terms, terms.T.tocsr())


@lru_cache(maxsize=4)
def text_terms(texts: tuple[str, ...], most: int = MOST_TERMS) -> sparse.csr_matrix:
    """Item x term TF-IDF of the `most` frequent terms, rows of length 1; all zero if there is no word."""
    words = TfidfVectorizer(
        max_features=most, dtype=np.float32, token_pattern=r"(?u)\b\w+\b", sublinear_tf=True
    )
    try:
        return words.fit_transform(texts).tocsr()
    except ValueError:  # no text has a word
        return sparse.csr_matrix((len(texts), 1), dtype=np.float32)


def quicker(matrix: sparse.csr_matrix) -> sparse.csr_matrix | Single:
    """The matrix in the form that a sparse profile multiplies sooner."""
    cells = matrix.shape[0] * matrix.shape[1]
    filled = matrix.nnz > DENSE_SHARE * cells
    return matrix.toarray() if filled and cells <= DENSE_CELLS else matrix


def mirrored(lower: Single) -> Single:
    """The symmetric matrix with this lower triangle, in its place; tile by tile, which the cache likes."""
    for start in range(0, len(lower), TILE):
        end = start + TILE
        lower[start:end, end:] = lower[end:, start:end].T
        tile = np.tril(lower[start:end, start:end])
        lower[start:end, start:end] = tile + np.tril(tile, -1).T
    return lower


def basket_matrix(history: History) -> sparse.csr_matrix:
    """Basket x item, 1 where the basket holds the item; baskets of a user follow each other, oldest first."""
    count = int(history.basket[-1]) + 1
    ones = np.ones(len(history), dtype=np.float32)
    return sparse.csr_matrix((ones, (history.basket, history.item)), shape=(count, history.shape[1]))


def following_pairs(
    baskets: sparse.csr_matrix, owner: npt.NDArray[np.int64], reach: int, power: float
) -> sparse.csr_matrix:
    """Item x item: how often the second follows the first within `reach` baskets of the same owner.

    Each pair counts distance ** -power. Every basket is multiplied once, with the weighted sum of those that
    follow it; blocks of baskets bound the memory that these sums take.
    """
    count = len(owner)
    distances = [
        each for each in range(1, min(reach, count - 1) + 1) if (owner[each:] == owner[:-each]).any()
    ]
    weights = np.array([each**-power for each in distances], dtype=np.float32)
    sums = sparse.csr_matrix((baskets.shape[1], baskets.shape[1]), dtype=np.float32)
    size = max(1, int(FOLLOWING_CELLS * count / max(1, baskets.nnz * len(distances))))
    for start in range(0, count, size):
        here = np.arange(start, min(start + size, count))
        later = here[:, None] + np.array(distances, dtype=np.int64)
        known = later < count
        known &= owner[np.where(known, later, 0)] == owner[here][:, None]
        row, column = np.nonzero(known)
        after = sparse.csr_matrix((weights[column], (row, later[row, column])), shape=(len(here), count))
        sums = sums + baskets[here].T @ (after @ baskets)
    return sums.tocsr()


def powers(degrees: npt.ArrayLike, exponent: float) -> Single:
    """degree ** exponent, and 0 for a degree of 0."""
    values = np.asarray(degrees, dtype=np.float64)
    return np.where(values > 0, np.power(np.maximum(values, 1e-12), exponent), 0.0).astype(np.float32)
