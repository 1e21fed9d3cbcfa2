"""Always-valid inference: intervals and p-values that hold however often, and whenever, one looks.

Asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit
theory and asymptotic confidence sequences", 2021; Annals of Statistics 2024), which are Robbins' normal
mixture with an estimated variance; the same boundary is Howard, Ramdas, McAuliffe & Sekhon's (2021) and the
mixture sequential probability ratio test's (Johari, Koomen, Pekelis & Walsh 2017). With standard error s
after n users, and e = n * rho^2:

    estimate +- s * sqrt((1 + 1/e) * log((1 + e) / alpha^2))

Tuning: rho^2 = (-2 log alpha + log(1 - 2 log alpha)) / planned, which makes the interval about narrowest at
the planned number of users (both arms), with alpha = 0.05 whatever level is asked for, so that p-values and
intervals agree. `planned` is fixed before the start; it changes the width, never the validity.

Assumption: users come in a stream, each with one value that stays as it is (`metrics`: the window is closed),
and means are near normal from `MINIMUM_USERS` in each arm on. Before that nothing is said.
"""

import math

import numpy as np

from training.experiments.effects import Array, Contrast, Inference, scores

TUNED_FOR = 0.05
MINIMUM_USERS = 100
"""In each arm, before means of revenue are taken as near normal."""


def mixing(users: Array, planned: float) -> Array:
    """n * rho^2, the information that the data carry relative to the mixture's prior."""
    at_planned = -2 * math.log(TUNED_FOR) + math.log1p(-2 * math.log(TUNED_FOR))
    return np.asarray(at_planned * users / planned)


def always_valid(contrast: Contrast, level: float, planned: float) -> Inference:
    """The interval at this look, and the p-value: 1 over the mixture likelihood ratio, at most 1."""
    information = mixing(contrast.users, planned)
    spread = (1 + 1 / information) * (np.log1p(information) - 2 * math.log(1 - level))
    reach = np.sqrt(spread * contrast.variance)
    exponent = -0.5 * scores(contrast) ** 2 * information / (1 + information)
    p_value = np.minimum(1.0, np.sqrt(1 + information) * np.exp(exponent))
    return Inference(contrast.estimate, contrast.estimate - reach, contrast.estimate + reach, p_value)
