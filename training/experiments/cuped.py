"""CUPED: take out of each user's value what was known of the user before the exposure.

y - theta (x - mean(x)), with one theta for all arms from the variation within arms and the mean over all arms
(Deng, Xu, Kohavi & Walker 2013; with several covariates, a regression). Because x is from before the
exposure, the arms do not differ in it but by chance, so the effect stays unbiased and its variance falls by
the share of y that x explains. Assumption: covariates are as of the first exposure, which Feast's
point-in-time join guarantees, and users are many beside them.
"""

import numpy as np

from training.experiments.effects import Array

USERS_PER_COVARIATE = 50
"""With fewer, theta is too noisy to be worth it."""


def adjusted(arms: tuple[Array, ...], covariates: tuple[Array, ...]) -> tuple[Array, ...]:
    """Values (..., users) of each arm given covariates (..., users, k) of each arm.

    Covariates that do not vary or repeat each other are no harm (pseudo-inverse).
    """
    width = covariates[0].shape[-1]
    within = np.zeros((*arms[0].shape[:-1], width, width))
    across = np.zeros((*arms[0].shape[:-1], width))
    varies = np.zeros(arms[0].shape[:-1], dtype=bool)
    for values, known in zip(arms, covariates, strict=True):
        centred = known - known.mean(axis=-2, keepdims=True)
        within = within + np.swapaxes(centred, -1, -2) @ centred
        across = across + np.einsum("...nk,...n->...k", centred, values)
        varies |= values.max(axis=-1) > values.min(axis=-1)
    theta = np.einsum("...jk,...k->...j", np.linalg.pinv(within, hermitian=True), across)
    theta = np.where(varies[..., None], theta, 0.0)
    centre = np.concatenate(covariates, axis=-2).mean(axis=-2, keepdims=True)
    return tuple(
        values - np.einsum("...nk,...k->...n", known - centre, theta)
        for values, known in zip(arms, covariates, strict=True)
    )


def covariate_matrix(columns: Array) -> Array:
    """Covariates of (users, k) as the adjustment takes them: each in units of its spread, gaps filled.

    NaN (a user of whom nothing was known) becomes the mean, and one more column says who is known at all.
    Columns that never vary are left out.
    """
    known = ~np.isnan(columns)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, columns, 0.0).sum(axis=0) / count
    filled = np.where(known, columns, mean) - mean
    spread = np.sqrt((filled**2).sum(axis=0) / count)  # of those who are known
    scaled = filled[:, spread > 0] / spread[spread > 0]
    is_known = np.asarray(known.all(axis=1), dtype=np.float64)
    if 0 < is_known.sum() < len(columns):
        scaled = np.column_stack([scaled, is_known])
    return np.asarray(scaled)
