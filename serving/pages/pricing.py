"""The price of an item for a customer: the list price, unless personal prices are on and allowed."""

from dataclasses import dataclass
from typing import Any

from serving.decisions import pricing
from serving.errors import UnknownItem
from serving.flags import Flags
from serving.pages.deciding import Desk, register
from serving.pages.visitors import Visitor
from serving.people.permissions import Signals
from serving.settings import Settings

KIND = "pricing"
FLAG = "dynamic_pricing"

register(KIND, pricing.decide)


@dataclass(frozen=True)
class PriceBounds:
    """How far prices may go: shares of the list price, and of the price that must stay as margin."""

    max_discount: float = 0.2
    max_increase: float = 0.0
    margin_floor: float = 0.1

    @classmethod
    def of(cls, settings: Settings) -> "PriceBounds":
        """As the settings say."""
        return cls(settings.max_discount, settings.max_price_increase, settings.margin_floor)


class Pricing:
    """Prices of one process."""

    def __init__(self, desk: Desk, flags: Flags, bounds: PriceBounds) -> None:
        self._desk = desk
        self._flags = flags
        self._bounds = bounds

    async def price(self, item_id: str, user_id: str | None, signals: Signals) -> dict[str, Any]:
        """List price and price, what moved it, and the sentence to show. Raises `UnknownItem`."""
        desk, bounds = self._desk, self._bounds
        goods = desk.shelf.goods(item_id)
        if item_id not in desk.release.release.items:
            raise UnknownItem(item_id)
        is_on = self._flags.enabled(FLAG)
        visitor = await desk.visitors.read(user_id, signals) if is_on and user_id is not None else None
        personal = visitor if visitor is not None and visitor.personalized else None
        inputs = {
            "list_price": goods.price,
            "cost": goods.cost,
            "stock": goods.stock if is_on else None,
            "loyalty_tier": personal.loyalty_tier if personal is not None else None,
            "price_tier": personal.price_tier if personal is not None else None,
            "churn_probability": personal.churn_probability if personal is not None else None,
            "max_discount": bounds.max_discount,
            "max_increase": bounds.max_increase if is_on else 0.0,
            "margin_floor": bounds.margin_floor,
        }
        output, decision_id = desk.decide(KIND, user_id, inputs, pricing.decide)
        return {
            "item_id": item_id,
            "user_id": user_id,
            "list_price": goods.price,
            **output,
            "dynamic_pricing": is_on,
            **desk.provenance(
                KIND, visitor, decision_id, reason=self._reason(visitor), personalized=personal is not None
            ),
        }

    def _reason(self, visitor: Visitor | None) -> str | None:
        disabled = self._flags.disabled_by(FLAG)
        if disabled is not None:
            return disabled
        return "no_customer_named" if visitor is None else visitor.permissions.reason
