"""Which bundles to propose, at which price.

Five types, each only where the data supports it: complementary (bought together more often than by chance),
cross_sell (the same, from another category), upsell (a dearer item of the same category, like the one looked
at), seasonal (goods that sell now beyond their usual), promotional (well stocked goods beside an item of
interest). The discount is smaller where goods are bought together anyway, and never below the margin floor.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from serving.decisions.pricing import discounted, lowest_price, most_discount

BUNDLE_TYPES = ("complementary", "cross_sell", "upsell", "seasonal", "promotional")
# Share of the largest discount that each type starts from; the stronger the bond, the less is needed.
TYPE_SHARES = {"complementary": 0.6, "cross_sell": 0.8, "upsell": 0.4, "seasonal": 0.6, "promotional": 1.0}
STRONG_LIFT = 20.0
REASONS = {
    "complementary": "often bought together",
    "cross_sell": "goes with it, from another category",
    "upsell": "a step up from what you looked at",
    "seasonal": "in season now",
    "promotional": "well stocked and fitting",
}


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Bundles, best first, types taking turns. `inputs`: types, candidates (bundle_type, items as a list of
    {item_id, price, cost}, support, lift, affinity 0..1), max_discount, margin_floor, limit."""
    queues: dict[str, list[Mapping[str, Any]]] = {name: [] for name in inputs["types"]}
    for candidate in sorted(inputs["candidates"], key=_order):
        if candidate["bundle_type"] in queues:
            queues[candidate["bundle_type"]].append(candidate)
    # The rarest type chooses first: what it needs could be taken by a type that has other choices.
    turns = sorted(queues.values(), key=len)
    seen: set[frozenset[str]] = set()
    bundles: list[dict[str, Any]] = []
    while len(bundles) < inputs["limit"] and any(turns):
        for queue in turns:
            candidate = _next_unseen(queue, seen)
            if candidate is not None and len(bundles) < inputs["limit"]:
                bundles.append(_priced(candidate, inputs["max_discount"], inputs["margin_floor"]))
    return {"bundles": bundles}


def _next_unseen(queue: list[Mapping[str, Any]], seen: set[frozenset[str]]) -> Mapping[str, Any] | None:
    """The next bundle of goods that no bundle holds yet; None at the end of the queue."""
    while queue:
        candidate = queue.pop(0)
        members = frozenset(item["item_id"] for item in candidate["items"])
        if len(members) > 1 and members not in seen:
            seen.add(members)
            return candidate
    return None


def price_bundle(
    prices: Sequence[float | None], costs: Sequence[float | None], discount: float, floor: float
) -> tuple[float | None, float | None, float]:
    """(list price, bundle price, discount): the sum, less at most `discount`, the margin kept above `floor`.

    An unknown price leaves both prices unknown; an unknown cost leaves no discount.
    """
    if any(price is None for price in prices):
        return None, None, 0.0
    total = round(sum(price for price in prices if price is not None), 2)
    if any(cost is None for cost in costs):
        return total, total, 0.0
    cost = sum(each for each in costs if each is not None)
    allowed = most_discount(total, cost, floor, discount)
    if allowed <= 0.0:
        return total, total, 0.0
    price = discounted(total, allowed, max(lowest_price(cost, floor), total * (1.0 - discount)))
    return total, price, round(1.0 - price / total, 4)


def _priced(candidate: Mapping[str, Any], max_discount: float, floor: float) -> dict[str, Any]:
    kind, lift = candidate["bundle_type"], candidate["lift"]
    bond = min(1.0, math.log(max(1.0, lift)) / math.log(STRONG_LIFT)) if lift is not None else 0.0
    wanted = max_discount * TYPE_SHARES[kind] * (1.0 - 0.5 * bond)
    items = candidate["items"]
    total, price, discount = price_bundle(
        [item["price"] for item in items], [item["cost"] for item in items], wanted, floor
    )
    return {
        "bundle_type": kind,
        "items": [item["item_id"] for item in items],
        "list_price": total,
        "price": price,
        "discount": discount,
        "support": candidate["support"],
        "lift": None if lift is None else round(lift, 3),
        "reason": REASONS[kind],
    }


def _order(candidate: Mapping[str, Any]) -> tuple[float, str]:
    """Interest first, then the strength of the bond."""
    strength = math.log1p(candidate["lift"] or 0.0)
    return -(0.5 + candidate["affinity"]) * (1.0 + strength), "|".join(
        item["item_id"] for item in candidate["items"]
    )
