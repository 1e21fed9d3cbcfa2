"""Customer segments from features and predictions, by stated thresholds (`SegmentConfig`).

Value segments (one each): `churned` if churn is next to certain, else `at_risk` if it is likely, else
`high`, `medium` or `low` by expected spend. Plain names; thresholds are configuration.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.value_config import SegmentConfig

FloatArray = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]

VALUE_SEGMENTS = ("high", "medium", "low", "at_risk", "churned")
LOYALTY_TIERS = ("VIP", "Premium", "Standard", "New")
PRICE_TIERS = ("Premium", "Regular", "Budget")


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


def loyalty_tier(
    order_count: npt.ArrayLike,
    spend_total: npt.ArrayLike,
    tenure_days: npt.ArrayLike,
    config: SegmentConfig | None = None,
) -> Texts:
    """VIP or Premium by orders or lifetime spend, else New in the first days or before any order."""
    limits = config or SegmentConfig()
    orders = np.nan_to_num(np.atleast_1d(np.asarray(order_count, dtype=np.float64)))
    spend = np.nan_to_num(np.atleast_1d(np.asarray(spend_total, dtype=np.float64)))
    tenure = np.nan_to_num(np.atleast_1d(np.asarray(tenure_days, dtype=np.float64)))
    return np.select(
        [
            (orders >= limits.vip_orders) | (spend >= limits.vip_spend),
            (orders >= limits.premium_orders) | (spend >= limits.premium_spend),
            (orders == 0) | (tenure < limits.new_days),
        ],
        ["VIP", "Premium", "New"],
        default="Standard",
    )


def price_tier(
    mean_unit_price: npt.ArrayLike, shop_median_price: float, config: SegmentConfig | None = None
) -> Texts:
    """Premium, Regular or Budget by the customer's mean price per unit against the shop's median customer.

    Unknown prices (no purchase yet) and a shop without prices are Regular.
    """
    limits = config or SegmentConfig()
    price = np.atleast_1d(np.asarray(mean_unit_price, dtype=np.float64))
    if not shop_median_price > 0.0:
        return np.full(len(price), "Regular")
    with np.errstate(invalid="ignore"):
        ratio = price / shop_median_price
        return np.select(
            [ratio >= limits.premium_price_ratio, ratio <= limits.budget_price_ratio],
            ["Premium", "Budget"],
            default="Regular",
        )


def customer_segments(
    features: pd.DataFrame,
    clv: npt.ArrayLike,
    churn_probability: npt.ArrayLike,
    config: SegmentConfig | None = None,
) -> pd.DataFrame:
    """`value_segment`, `loyalty_tier` and `price_tier` of each row of a scoring frame, in its order."""
    units = features["unit_count"].to_numpy(dtype=np.float64)
    spend = features["spend_total"].to_numpy(dtype=np.float64)
    price = np.divide(spend, units, out=np.full(len(units), np.nan), where=units > 0)
    median = float(np.nanmedian(price)) if np.isfinite(price).any() else 0.0
    tenure = features["tenure_days"].to_numpy(dtype=np.float64)
    return pd.DataFrame(
        {
            "value_segment": value_segment(clv, churn_probability, config),
            "loyalty_tier": loyalty_tier(features["order_count"].to_numpy(), spend, tenure, config),
            "price_tier": price_tier(price, median, config),
        },
        index=features.index,
    )
