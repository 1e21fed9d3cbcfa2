"""Customer segments from features and predictions, by stated thresholds (`SegmentConfig`).

Value segments (one each): `churned` if churn is next to certain, else `at_risk` if it is likely, else
`high`, `medium` or `low` by expected spend. Plain names; thresholds are configuration.
"""

import numpy as np
import numpy.typing as npt

from training.value_config import SegmentConfig

Texts = npt.NDArray[np.str_]

VALUE_SEGMENTS = ("high", "medium", "low", "at_risk", "churned")


def value_segment(
    clv: npt.ArrayLike, churn_probability: npt.ArrayLike, config: SegmentConfig | None = None
) -> Texts:
    """The D1 segment of each customer: `high` above 1000, `low` below 200 (by default)."""
    limits = config or SegmentConfig()
    money = np.atleast_1d(np.asarray(clv, dtype=np.float64))
    churn = np.atleast_1d(np.asarray(churn_probability, dtype=np.float64))
    return np.select(
        [
            churn >= limits.churned_from,
            churn >= limits.at_risk_from,
            money > limits.value_high,
            money >= limits.value_low,
        ],
        ["churned", "at_risk", "high", "medium"],
        default="low",
    )
