"""Why a customer is likely to leave: exact additive contributions to the churn model's log odds.

The score is the mean of trees and a line. The trees' part of a feature is its Shapley value in the ensemble
(Lundberg et al. 2020, exact for trees), the line's part its weight times the standardised value; both sum to
the score. Effects are those on leaving: above 0 raises the risk. They explain the model, not the customer:
a driver is what the score rests on, and no promise that changing it would change the outcome.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.purchase import Purchase

FloatArray = npt.NDArray[np.float64]

DRIVER_NAMES = {
    "recency_days": "time since the last order",
    "tenure_days": "time since the first order",
    "inactivity_days": "time since the last visit",
    "order_day_count": "number of orders",
    "mean_gap_days": "usual time between orders",
    "gap_cv": "irregular orders",
    "overdue_ratio": "late by the own rhythm",
    "spend_total": "spend ever",
    "spend_decay_90d": "recent spend",
    "orders_decay_30d": "orders in the last weeks",
    "orders_decay_90d": "orders in the last months",
    "mean_order_value": "usual order value",
    "mean_order_units": "usual units an order",
    "return_share": "share of returns",
    "item_popularity": "how popular their items are",
    "views_decay_7d": "views in the last days",
    "views_decay_30d": "views in the last weeks",
    "views_decay_90d": "views in the last months",
    "views_trend_7d_30d": "trend of views",
    "carts_decay_30d": "carts in the last weeks",
    "carts_decay_90d": "carts in the last months",
}


@dataclass(frozen=True)
class Contributions:
    """`effects[row, column]` is what the feature of a column adds to the log odds of leaving."""

    features: tuple[str, ...]
    effects: FloatArray

    def top(self, count: int) -> list[tuple[list[str], list[float]]]:
        """For each row the names and effects of the features that count most, largest first."""
        order = np.argsort(-np.abs(self.effects), axis=1, kind="stable")[:, :count]
        names = np.array([DRIVER_NAMES.get(name, name) for name in self.features])
        return [
            ([str(each) for each in names[chosen]], [float(each) for each in row[chosen]])
            for chosen, row in zip(order, self.effects, strict=True)
        ]


def churn_contributions(purchase: Purchase, frame: pd.DataFrame) -> Contributions:
    """Of every feature of a purchase model to the risk of each row, measured from the average row."""
    score = purchase.score
    columns = {name: number for number, name in enumerate(score.features)}
    total = np.zeros((len(frame), len(columns)))
    parts = (
        (score.trees.features, score.trees.contributions(frame), 1.0 - score.share),
        (score.linear.features, score.linear.contributions(frame), score.share),
    )
    for features, contributions, share in parts:
        total[:, [columns[name] for name in features]] += share * contributions
    effects = -purchase.platt.slope * total
    return Contributions(score.features, effects - effects.mean(axis=0))
