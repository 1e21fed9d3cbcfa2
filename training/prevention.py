"""Whom to keep: ranked by what an action would save, not by who will leave.

    saving = P(leaves) * save rate * value if kept * margin - cost

`value if kept` is what the customer would spend in the horizon as a buyer: the model's expectation given that
they buy. The save rate is the share of those about to leave whom the action keeps: an assumption
(`RetentionConfig`) until an experiment measured it; then its estimate per customer (uplift) takes its place.
A customer who leaves for certain but spends little, or one of great value who stays anyway, ranks low.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.value_config import RetentionConfig

FloatArray = npt.NDArray[np.float64]

AUDIENCES = ("win_back", "at_risk", "loyal")


def expected_saving(
    churn_probability: npt.ArrayLike,
    clv: npt.ArrayLike,
    purchase_probability: npt.ArrayLike,
    config: RetentionConfig | None = None,
    save_rate: npt.ArrayLike | None = None,
) -> FloatArray:
    """Money that the action brings per customer, net of its cost; below 0 it is not worth it.

    `save_rate` replaces the configured one, per customer.
    """
    chosen = config or RetentionConfig()
    leaves = np.asarray(churn_probability, dtype=np.float64)
    likely = np.maximum(np.asarray(purchase_probability, dtype=np.float64), chosen.least_probability)
    kept = np.asarray(clv, dtype=np.float64) / likely
    rate = chosen.save_rate if save_rate is None else np.asarray(save_rate, dtype=np.float64)
    return np.asarray(leaves * rate * kept * chosen.margin_share - chosen.cost)


def audience(value_segment: npt.ArrayLike, loyalty_tier: npt.ArrayLike) -> npt.NDArray[np.str_]:
    """Each customer's campaign: the lost, the wavering, the loyal; empty for the others."""
    segment, tier = np.asarray(value_segment), np.asarray(loyalty_tier)
    return np.select(
        [segment == "churned", segment == "at_risk", np.isin(tier, ("VIP", "Premium"))],
        list(AUDIENCES),
        default="",
    )


def retention_list(customers: pd.DataFrame) -> pd.DataFrame:
    """Everybody whom it pays to keep, the largest saving first, with their rank from 1.

    `customers` has `user_id`, `audience`, `churn_probability`, `clv_90d` and `expected_saving`. The audience
    says in which campaign somebody belongs; it does not decide who is listed.
    """
    found = customers[customers["expected_saving"] > 0.0]
    found = found.sort_values(["expected_saving", "user_id"], ascending=[False, True], ignore_index=True)
    found = found.assign(rank=np.arange(1, len(found) + 1))
    return found[["rank", "user_id", "audience", "expected_saving", "churn_probability", "clv_90d"]]
