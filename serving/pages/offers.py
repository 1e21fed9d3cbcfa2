"""Offers and loyalty offers for somebody, and what became of them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from serving.decisions import offers
from serving.pages.deciding import Desk, register
from serving.pages.pricing import PriceBounds
from serving.pages.responses import Responses
from serving.pages.visitors import Visitor
from serving.people.permissions import Signals

KIND, LOYALTY_KIND = "offers", "loyalty_offers"
PRODUCTS = 24
OFFER_EVENTS = {"viewed": "offer_view", "clicked": "offer_click", "redeemed": "offer_redeem"}

register(KIND, offers.decide)
register(LOYALTY_KIND, offers.decide)


class EventTracker(Protocol):
    """What is used of the tracker; `serving.tracking.Tracker` is one."""

    async def track(self, rows: Sequence[Mapping[str, Any]], signals: Signals, source: str) -> list[Any]: ...


class Offers:
    """Offers of one process."""

    def __init__(self, desk: Desk, responses: Responses, tracker: EventTracker, bounds: PriceBounds) -> None:
        self._desk = desk
        self._responses = responses
        self._tracker = tracker
        self._bounds = bounds

    async def offers(
        self,
        user_id: str,
        signals: Signals,
        types: Sequence[str],
        weights: Mapping[str, float],
        limit: int,
        tier: str | None = None,
        kind: str = KIND,
    ) -> dict[str, Any]:
        """Offers, the most personal first. Without personalization: none, and the answer says why."""
        visitor = await self._desk.visitors.read(user_id, signals)
        inputs = self.inputs(visitor, types, weights, limit, tier)
        output, decision_id = self._desk.decide(kind, user_id, inputs, offers.decide)
        shelf = self._desk.shelf
        shown = []
        for number, offer in enumerate(output["offers"], 1):
            item_id = offer.get("item_id")
            title = shelf.described([item_id])[0]["title"] if item_id is not None else None
            shown.append({"offer_id": f"{decision_id}-{number}", "title": title, **offer})
        return {
            "user_id": user_id,
            "customer_tier": inputs["tier"],
            "segment": visitor.value_segment,
            "offers": shown,
            **self._desk.provenance(kind, visitor, decision_id),
        }

    def inputs(
        self,
        visitor: Visitor,
        types: Sequence[str],
        weights: Mapping[str, float],
        limit: int,
        tier: str | None = None,
    ) -> dict[str, Any]:
        """What the decision sees. Who may not be personalized is offered nothing."""
        shelf = self._desk.shelf
        return {
            "weights": offers.normalised(weights),
            "types": list(types) if visitor.personalized else [],
            "tier": tier or visitor.loyalty_tier,
            "churn": visitor.churn_probability,
            "engagement": visitor.engagement,
            "products": self._products(visitor),
            "affinity": dict(visitor.affinity),
            "season": self._season(list(visitor.affinity)),
            "brands": shelf.brand_affinity(visitor.history),
            "responses": self._responses.counts.of_offers(visitor.value_segment),
            "max_discount": self._bounds.max_discount,
            "margin_floor": self._bounds.margin_floor,
            "limit": limit,
        }

    async def performance(
        self,
        offer_id: str,
        customer_id: str,
        event: str,
        offer_type: str | None,
        value: float | None,
        signals: Signals,
    ) -> dict[str, Any]:
        """Record that an offer was seen, opened or used; the same again counts once."""
        visitor = await self._desk.visitors.read(customer_id, signals)
        context = {
            "offer_id": offer_id,
            "offer_type": offer_type,
            "segment": visitor.value_segment,
            "value": value,
        }
        key = hashlib.sha256("|".join((offer_id, customer_id, event)).encode()).hexdigest()[:32]
        row = {
            "event_id": f"offer-{key}",
            "event_type": OFFER_EVENTS[event],
            "user_id": customer_id,
            "recommendation_id": offer_id.rpartition("-")[0] or offer_id,
            "context": {name: each for name, each in context.items() if each is not None},
        }
        [outcome] = await self._tracker.track([row], signals, "offers")
        return {
            "offer_id": offer_id,
            "event_id": outcome.event_id,
            "status": outcome.status,
            "tracked": outcome.status in ("accepted", "duplicate"),
            "reason": outcome.reason,
        }

    def _products(self, visitor: Visitor) -> list[dict[str, Any]]:
        """What a discount could be on: the visitor's candidates, or what is like what they touched last."""
        shelf = self._desk.shelf
        item_ids = list(visitor.candidates[:PRODUCTS])
        for item_id in visitor.recent_items[:3]:
            item_ids += shelf.similar(item_id, 6)
        found = []
        for place, item_id in enumerate(list(dict.fromkeys(item_ids))[:PRODUCTS]):
            goods = shelf.goods(item_id)
            if goods.stock != 0:
                product = {name: value for name, value in goods._asdict().items() if name != "stock"}
                found.append({**product, "score": round(0.97**place, 6)})
        return found

    def _season(self, categories: Sequence[str]) -> dict[str, float]:
        """Category -> share of its popular goods that sell more now than before."""
        shelf = self._desk.shelf
        rising = set(self._desk.release.release.relations.trending.item_ids)
        shares = {}
        for category in categories:
            listed = shelf.trending(category, 20)
            shares[category] = (
                round(sum(item in rising for item in listed) / len(listed), 6) if listed else 0.5
            )
        return shares
