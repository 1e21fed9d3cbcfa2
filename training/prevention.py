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
    """The customers of an audience, best saving first within each, with their rank from 1.

    `customers` has `user_id`, `value_segment`, `loyalty_tier`, `churn_probability`, `clv_90d` and
    `expected_saving`. Loyal customers are ranked by value: they are thanked, not saved.
    """
    found = customers.assign(audience=audience(customers["value_segment"], customers["loyalty_tier"]))
    found = found[found["audience"] != ""]
    weight = np.where(found["audience"] == "loyal", found["clv_90d"], found["expected_saving"])
    found = found.assign(weight=weight).sort_values(
        ["audience", "weight", "user_id"], ascending=[True, False, True], ignore_index=True
    )
    found["rank"] = found.groupby("audience").cumcount() + 1
    columns = ["audience", "rank", "user_id", "expected_saving", "churn_probability", "clv_90d"]
    return found[columns]
