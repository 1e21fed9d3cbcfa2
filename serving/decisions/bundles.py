"""Which bundles to propose, at which price.

Candidates of a release that has mined bundles (training.bundles) come with an `offer`: the discount that
earns most under the measured price response, which is only kept within the bounds in force here, and what is
expected of it. A release without has pairs of its relations that are bought together beyond chance:
complementary, cross_sell (from another category), upsell (a dearer item of the category, like the one looked
at), seasonal (goods that rise now), promotional (well stocked goods beside an item of interest). Of these
nothing is expected; the discount is smaller where goods are bought together anyway.

No discount takes the margin below its floor.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from serving.decisions.pricing import discounted, lowest_price, most_discount
from training.artifacts import attach_at, profit_at

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
CONFIDENTIAL = ("expected_profit", "unit_profit")
"""What the receipt keeps of a bundle and the answer does not show: margins are the shop's own."""


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Bundles, best first, types taking turns. `inputs`: types, candidates (bundle_type, items as a list of
    {item_id, price, cost}, support, lift, affinity 0..1; of mined ones also bundle_key, instead_of, offer),
    max_discount, margin_floor, limit."""
    queues: dict[str, list[Mapping[str, Any]]] = {name: [] for name in inputs["types"]}
    for candidate in sorted(inputs["candidates"], key=order):
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
                price = _mined if candidate.get("offer") else _priced
                bundles.append(price(candidate, inputs["max_discount"], inputs["margin_floor"]))
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


def _mined(candidate: Mapping[str, Any], max_discount: float, floor: float) -> dict[str, Any]:
    """A mined bundle at its best discount, as far as the bounds allow, and what is expected at that price."""
    offer, kind = candidate["offer"], candidate["bundle_type"]
    total, price, discount = price_bundle(
        [offer["list_price"]], [offer["cost"]], min(offer["discount"], max_discount), floor
    )
    assert total is not None and price is not None
    attach = attach_at(offer["attach"], offer["elasticity"], (total - price) / offer["rest_price"])
    profit = profit_at(attach, price, offer["counted_cost"], offer["anchor_margin"])
    return {
        "bundle_key": candidate["bundle_key"],
        "bundle_type": kind,
        "items": [item["item_id"] for item in candidate["items"]],
        "instead_of": candidate["instead_of"],
        "list_price": total,
        "price": price,
        "discount": discount,
        "support": candidate["support"],
        "lift": round(candidate["lift"], 3),
        "reason": REASONS[kind],
        "expected_attach": round(float(attach), 6),
        "expected_profit": round(float(profit), 6),
        "unit_profit": round(price - offer["counted_cost"], 6),
        "is_cost_assumed": offer["is_cost_assumed"],
    }


def worth(candidate: Mapping[str, Any]) -> float:
    """What a mined bundle earns per customer who takes its anchor, at its best discount."""
    offer = candidate["offer"]
    price = offer["list_price"] * (1.0 - offer["discount"])
    cut = offer["list_price"] * offer["discount"] / offer["rest_price"]
    return float(attach_at(offer["attach"], offer["elasticity"], cut) * (price - offer["counted_cost"]))


def order(candidate: Mapping[str, Any]) -> tuple[float, str]:
    """Interest times what it earns; where nothing is expected, interest, then the strength of the bond."""
    if candidate.get("offer"):
        return -(0.1 + candidate["affinity"]) * worth(candidate), candidate["bundle_key"]
    strength = math.log1p(candidate["lift"] or 0.0)
    return -(0.5 + candidate["affinity"]) * (1.0 + strength), "|".join(
        item["item_id"] for item in candidate["items"]
    )
