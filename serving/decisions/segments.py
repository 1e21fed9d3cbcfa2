"""Which tiers a customer belongs to, from what is known about them.

Three vocabularies are three answers: `value_segment` is a prediction and comes from the online store;
`loyalty_tier` and `price_tier` are rules over behaviour and stand here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_repo.loyalty import LoyaltyRules as LoyaltyRules


@dataclass(frozen=True, slots=True)
class PriceBands:
    """Terciles of the catalogue's prices, in currency units per unit sold."""

    budget_below: float
    premium_from: float


def price_bands(prices: npt.NDArray[np.float64]) -> PriceBands | None:
    """Terciles of these prices (no NaN); None if there are fewer than three to compare."""
    if len(prices) < 3:
        return None
    low, high = np.quantile(prices, [1 / 3, 2 / 3])
    return PriceBands(float(low), float(high))


def loyalty_tier(features: Mapping[str, Any], rules: LoyaltyRules | None = None) -> str | None:
    """VIP, Premium, Standard or New; None when nothing is known about the customer's orders."""
    return (rules or LoyaltyRules()).tier(features.get("order_count"), features.get("orders_decay_90d"))


def price_tier(features: Mapping[str, Any], bands: PriceBands | None) -> str | None:
    """Premium, Regular or Budget by the mean price of what was bought; None before the first purchase."""
    spend, units = features.get("spend_total"), features.get("unit_count")
    if bands is None or not units or spend is None:
        return None
    mean_price = spend / units
    if mean_price >= bands.premium_from:
        return "Premium"
    return "Budget" if mean_price < bands.budget_below else "Regular"


def segments(
    features: Mapping[str, Any], predictions: Mapping[str, Any], bands: PriceBands | None
) -> dict[str, str | None]:
    """The three tiers of one customer; each is None where its inputs are missing."""
    return {
        "value_segment": predictions.get("value_segment"),
        "loyalty_tier": loyalty_tier(features),
        "price_tier": price_tier(features, bands),
    }
