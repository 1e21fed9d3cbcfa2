"""Offers for somebody: what kind, on what, how much, how personal, and what response to expect.

Price reductions keep the margin floor and need a known cost; without one an offer is a reward or an access,
no discount. Consent for personalization stands before all of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.decisions.pricing import discounted, lowest_price, most_discount
from serving.decisions.rates import nested

OFFER_TYPES = ("product_discounts", "category_bonuses", "experience_rewards", "early_access_privileges")
FACTORS = {
    "purchase_behavior": 0.4,
    "engagement_level": 0.3,
    "seasonal_preferences": 0.2,
    "brand_affinity": 0.1,
}
TIER_DISCOUNTS = {"VIP": 0.10, "Premium": 0.08, "Standard": 0.05, "New": 0.10}
DEFAULT_DISCOUNT = 0.05
WIN_BACK_DISCOUNT, LIKELY_TO_LEAVE = 0.05, 0.6
TIER_POINTS = {"VIP": 3.0, "Premium": 2.0, "Standard": 1.5, "New": 1.5}
EARLY_ACCESS_HOURS = {"VIP": 48, "Premium": 24}
VALID_DAYS = 14
# Before anybody was observed: what offers of this type usually get, and how many shows that is worth.
PRIOR_RESPONSE = {
    "product_discounts": 0.05,
    "category_bonuses": 0.04,
    "experience_rewards": 0.03,
    "early_access_privileges": 0.03,
}
PRIOR_WEIGHT, SEGMENT_WEIGHT = 100.0, 100.0


def normalised(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of the factors, adding up to one; a factor that is not given keeps its default."""
    given = {name: float(weights.get(name, default)) for name, default in FACTORS.items()}
    total = sum(given.values())
    return {name: round(weight / total, 9) for name, weight in given.items()} if total > 0 else dict(FACTORS)


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Offers, the most personal first. `inputs`: weights, types, tier, churn, engagement (0..1), products
    (item_id, category, brand, price, cost, score 0..1), affinity by category, season by category, brands,
    responses by type ({"segment", "all"}: [shown, responded]), max_discount, margin_floor, limit.

    Types take turns, so that one strong type does not fill the list.
    """
    made = {name: _made(name, inputs) for name in inputs["types"]}
    offers: list[dict[str, Any]] = []
    while len(offers) < inputs["limit"] and any(made.values()):
        best = max(
            (queue for queue in made.values() if queue), key=lambda queue: queue[0]["personalization_score"]
        )
        turn = sorted(
            (queue for queue in made.values() if queue),
            key=lambda queue: (
                sum(offer["offer_type"] == queue[0]["offer_type"] for offer in offers),
                queue is not best,
                -queue[0]["personalization_score"],
            ),
        )
        offers.append(turn[0].pop(0))
    return {"offers": offers}


def discount_for(tier: str | None, churn: float | None) -> float:
    """What a customer of this tier is given before bounds; more to keep somebody who is leaving."""
    found = TIER_DISCOUNTS.get(tier or "", DEFAULT_DISCOUNT)
    return found + (WIN_BACK_DISCOUNT if (churn or 0.0) >= LIKELY_TO_LEAVE else 0.0)


def _made(name: str, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    builders = {
        "product_discounts": _product_discounts,
        "category_bonuses": _category_bonuses,
        "experience_rewards": _experience_rewards,
        "early_access_privileges": _early_access,
    }
    found = [
        {
            "offer_type": name,
            **offer,
            **_response(name, inputs["responses"].get(name)),
            "valid_days": VALID_DAYS,
        }
        for offer in builders[name](inputs)
    ]
    return sorted(found, key=lambda offer: -offer["personalization_score"])


def _product_discounts(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    wanted = min(discount_for(inputs["tier"], inputs["churn"]), inputs["max_discount"])
    offers = []
    for product in inputs["products"]:
        price, cost = product["price"], product["cost"]
        discount = most_discount(price, cost, inputs["margin_floor"], wanted)
        if discount <= 0.0:
            continue
        lowest = max(lowest_price(cost, inputs["margin_floor"]), price * (1.0 - inputs["max_discount"]))
        reduced = discounted(price, discount, lowest)
        if reduced >= price:
            continue
        offers.append(
            {
                "item_id": product["item_id"],
                "category": product["category"],
                "list_price": price,
                "price": reduced,
                "discount": round(1.0 - reduced / price, 4),
                "personalization_score": _score(
                    inputs, product["score"], product["category"], product["brand"]
                ),
                "reason": _because(inputs, "suits what you buy"),
            }
        )
    return offers


def _category_bonuses(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    points = TIER_POINTS.get(inputs["tier"] or "", 1.5)
    best = max(inputs["affinity"].values(), default=0.0)
    return [
        {
            "category": category,
            "points_multiplier": points,
            "personalization_score": _score(inputs, liking / best, category, None),
            "reason": f"{category} is among the categories you look at most",
        }
        for category, liking in inputs["affinity"].items()
        if best > 0
    ][:3]


def _experience_rewards(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    if inputs["tier"] is None:
        return []
    reward = "personal_shopping_session" if inputs["tier"] in EARLY_ACCESS_HOURS else "free_delivery"
    return [
        {
            "reward": reward,
            "personalization_score": _score(inputs, inputs["engagement"], None, None),
            "reason": f"a thank-you to {inputs['tier']} customers",
        }
    ]


def _early_access(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    hours = EARLY_ACCESS_HOURS.get(inputs["tier"] or "")
    if hours is None:
        return []
    category = next(iter(inputs["affinity"]), None)
    return [
        {
            "category": category,
            "hours_early": hours,
            "personalization_score": _score(inputs, 1.0 if category else 0.5, category, None),
            "reason": f"a privilege of {inputs['tier']} customers",
        }
    ]


def _score(inputs: Mapping[str, Any], purchase: float, category: str | None, brand: str | None) -> float:
    """Weighted sum of the factors, each 0 to 1."""
    brands: Mapping[str, float] = inputs["brands"]
    weights: Mapping[str, float] = inputs["weights"]
    best = max(brands.values(), default=0.0)
    factors = {
        "purchase_behavior": min(1.0, max(0.0, purchase)),
        "engagement_level": inputs["engagement"],
        "seasonal_preferences": inputs["season"].get(category, 0.5) if category else 0.5,
        "brand_affinity": brands.get(brand, 0.0) / best if brand and best > 0 else 0.0,
    }
    return round(sum(weights[name] * float(value) for name, value in factors.items()), 4)


def _because(inputs: Mapping[str, Any], otherwise: str) -> str:
    return "we would like to see you again" if (inputs["churn"] or 0.0) >= LIKELY_TO_LEAVE else otherwise


def _response(name: str, counts: Mapping[str, Sequence[int]] | None) -> dict[str, Any]:
    """Expected share of customers who respond, and what that rests on."""
    part, whole = (counts["segment"], counts["all"]) if counts else ((0, 0), (0, 0))
    rate = nested(
        (part[0], part[1]), (whole[0], whole[1]), PRIOR_RESPONSE[name], PRIOR_WEIGHT, SEGMENT_WEIGHT
    )
    source = "segment" if part[0] >= SEGMENT_WEIGHT else "observed" if rate.observed else "prior"
    return {
        "expected_response_rate": round(rate.mean, 4),
        "basis": {"source": source, "shown": rate.observed, "responded": int(max(whole[1], part[1]))},
    }
