"""Prices, discounts and margins: how far a price may go, and how far it goes for somebody.

A price never leaves its bounds around the list price and never takes the margin below its floor; where the
cost is unknown it is not lowered at all. What may be known about the customer is a closed list: nothing that
the law protects, and nothing that stands for it.
"""

import math
from collections.abc import Mapping
from typing import Any

ALLOWED_INPUTS = frozenset(
    {
        "list_price",
        "cost",
        "stock",
        "loyalty_tier",
        "price_tier",
        "churn_probability",
        "max_discount",
        "max_increase",
        "margin_floor",
    }
)
PROTECTED = frozenset(
    {
        "age",
        "age_group",
        "gender",
        "location",
        "country",
        "city",
        "postal_code",
        "ethnicity",
        "nationality",
        "religion",
        "disability",
        "health",
        "language",
        "name",
        "email",
        "device_type",
        "income",
    }
)
DISCLOSURE = "This price was adjusted for you automatically. The list price is shown beside it."
SUPPLY_DISCLOSURE = "This price was adjusted automatically to what is in stock; it is the same for everybody."
LIST_DISCLOSURE = "This is the list price; it is the same for everybody."
LOYALTY_SHARES = {"VIP": 0.5, "Premium": 0.3, "Standard": 0.1}
BUDGET_SHARE, WIN_BACK_SHARE, OVERSTOCK_SHARE = 0.2, 0.3, 0.2
LIKELY_TO_LEAVE, OVERSTOCK_UNITS = 0.6, 200
IMPERSONAL = frozenset({"overstock", "scarce"})


def margin(price: float, cost: float) -> float:
    """Share of the price that is left after the cost."""
    return (price - cost) / price if price > 0 else 0.0


def most_discount(price: float | None, cost: float | None, floor: float, wanted: float) -> float:
    """At most `wanted` off, such that the margin stays at or above `floor`; 0 where the cost is unknown."""
    if price is None or cost is None or price <= 0 or cost < 0 or floor >= 1.0:
        return 0.0
    lowest = cost / (1.0 - floor)
    return max(0.0, min(wanted, 1.0 - lowest / price))


def discounted(price: float, discount: float, lowest: float) -> float:
    """The price after the discount in whole cents, rounded up where rounding down would break `lowest`."""
    found = round(price * (1.0 - discount), 2)
    return min(price, found if found >= lowest else math.ceil(round(lowest * 100, 6)) / 100)


def lowest_price(cost: float, floor: float) -> float:
    """The price at which the margin is exactly the floor."""
    return cost / (1.0 - floor)


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The price of one item for one customer. `inputs`: ALLOWED_INPUTS only, anything else is an error.

    Reasons for a lower price add up and share `max_discount`; a scarce item may rise by `max_increase`.
    """
    unknown = set(inputs) - ALLOWED_INPUTS
    if unknown:
        raise ValueError(f"pricing may not see {', '.join(sorted(unknown))}")
    price, cost = inputs["list_price"], inputs["cost"]
    if price is None:
        return {"price": None, "adjustment": 0.0, "reasons": ["no_list_price"], "disclosure": LIST_DISCLOSURE}
    share, reasons = _share(inputs)
    if (
        not reasons
        and inputs["stock"] is not None
        and 0 < inputs["stock"] <= 3
        and inputs["max_increase"] > 0
    ):
        raised = math.floor(round(price * (1.0 + inputs["max_increase"]) * 100, 6)) / 100
        return _answer(price, max(price, raised), ["scarce"])
    if not reasons:
        return _answer(price, price, ["list_price"])
    discount = most_discount(price, cost, inputs["margin_floor"], inputs["max_discount"] * share)
    if cost is None or discount == 0.0:
        return _answer(price, price, ["cost_unknown" if cost is None else "margin_floor"])
    lowest = max(lowest_price(cost, inputs["margin_floor"]), price * (1.0 - inputs["max_discount"]))
    return _answer(price, discounted(price, discount, lowest), reasons)


def _share(inputs: Mapping[str, Any]) -> tuple[float, list[str]]:
    """The share of the largest discount that is due, and why."""
    share, reasons = 0.0, []
    tier = inputs["loyalty_tier"]
    if tier in LOYALTY_SHARES:
        share += LOYALTY_SHARES[tier]
        reasons.append(f"loyalty_{tier.lower()}")
    if inputs["price_tier"] == "Budget":
        share += BUDGET_SHARE
        reasons.append("price_sensitive")
    if (inputs["churn_probability"] or 0.0) >= LIKELY_TO_LEAVE:
        share += WIN_BACK_SHARE
        reasons.append("win_back")
    if (inputs["stock"] or 0) >= OVERSTOCK_UNITS:
        share += OVERSTOCK_SHARE
        reasons.append("overstock")
    return min(1.0, share), reasons


def _answer(list_price: float, price: float, reasons: list[str]) -> dict[str, Any]:
    return {
        "price": price,
        "adjustment": round(price / list_price - 1.0, 6) if list_price else 0.0,
        "reasons": reasons,
        "disclosure": LIST_DISCLOSURE if price == list_price else _disclosure(reasons),
    }


def _disclosure(reasons: list[str]) -> str:
    return SUPPLY_DISCLOSURE if IMPERSONAL.issuperset(reasons) else DISCLOSURE
