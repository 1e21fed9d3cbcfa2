"""Bundles for somebody, from what the release knows of goods that go together."""

from collections.abc import Iterator, Sequence
from typing import Any

from serving.decisions import bundles
from serving.pages.deciding import Desk, register
from serving.pages.pricing import PriceBounds
from serving.pages.shelf import Shelf
from serving.pages.visitors import Visitor
from serving.people.permissions import Signals

KIND = "bundles"
ANCHORS, PARTNERS = 12, 6
STEP_UP_FROM, STEP_UP_TO = 1.15, 2.5
WELL_STOCKED_UNITS = 200

register(KIND, bundles.decide)


class Bundles:
    """Bundles of one process."""

    def __init__(self, desk: Desk, bounds: PriceBounds) -> None:
        self._desk = desk
        self._bounds = bounds

    async def bundles(
        self,
        user_id: str,
        signals: Signals,
        limit: int,
        types: Sequence[str],
        item_id: str | None = None,
    ) -> dict[str, Any]:
        """Bundles around what the visitor touched (or one item); around what is popular for a newcomer."""
        desk = self._desk
        visitor = await desk.visitors.read(user_id, signals)
        shelf = desk.shelf
        anchors = [item_id] if item_id is not None else list(visitor.history[:ANCHORS])
        candidates = list(_candidates(shelf, anchors, visitor)) if anchors else []
        is_personal = visitor.personalized and bool(candidates) and item_id is None
        if len(candidates) < limit and item_id is None:
            popular = [each for each in shelf.popular(ANCHORS) if each not in anchors]
            candidates += _candidates(shelf, popular, visitor)
        inputs = {
            "types": list(types),
            "candidates": candidates,
            "max_discount": self._bounds.max_discount,
            "margin_floor": self._bounds.margin_floor,
            "limit": limit,
        }
        output, decision_id = desk.decide(KIND, user_id, inputs, bundles.decide)
        return {
            "user_id": user_id,
            "bundles": [
                {
                    "bundle_id": f"{decision_id}-{number}",
                    **bundle,
                    "products": shelf.described(bundle["items"]),
                }
                for number, bundle in enumerate(output["bundles"], 1)
            ],
            **desk.provenance(KIND, visitor, decision_id, personalized=is_personal),
        }


def _candidates(shelf: Shelf, anchors: Sequence[str], visitor: Visitor) -> Iterator[dict[str, Any]]:
    """Every bundle that the data supports around these items."""
    best = max(visitor.affinity.values(), default=0.0)
    for place, anchor in enumerate(anchors):
        own = shelf.goods(anchor)
        liking = visitor.affinity.get(own.category or "", 0.0) / best if best > 0 else 0.0
        affinity = round(0.5 * liking + 0.5 * 0.9**place, 6)
        companions = shelf.companions(anchor, PARTNERS)
        rising = set(shelf.trending(own.category, 20)) if own.category is not None else set()
        for companion in companions:
            other = shelf.goods(companion.item_id)
            kind = "complementary" if other.category == own.category else "cross_sell"
            pair = (anchor, companion.item_id)
            yield _bundle(shelf, kind, pair, companion.support, companion.lift, affinity)
            if anchor in rising and companion.item_id in rising:
                yield _bundle(shelf, "seasonal", pair, companion.support, companion.lift, affinity)
            if other.stock is not None and other.stock >= WELL_STOCKED_UNITS:
                yield _bundle(shelf, "promotional", pair, companion.support, companion.lift, affinity)
        yield from _step_up(shelf, anchor, affinity)


def _step_up(shelf: Shelf, anchor: str, affinity: float) -> Iterator[dict[str, Any]]:
    """A dearer item of the same category that is like this one, with what is bought along with it."""
    own = shelf.goods(anchor)
    if own.price is None or own.category is None:
        return
    for item_id in shelf.similar(anchor, 2 * PARTNERS):
        other = shelf.goods(item_id)
        is_step = (
            other.price is not None and STEP_UP_FROM * own.price <= other.price <= STEP_UP_TO * own.price
        )
        if not is_step or other.category != own.category:
            continue
        companion = next(
            (each for each in shelf.companions(item_id, PARTNERS) if each.item_id != anchor), None
        )
        if companion is not None:
            pair = (item_id, companion.item_id)
            yield _bundle(shelf, "upsell", pair, companion.support, companion.lift, affinity)
            return


def _bundle(
    shelf: Shelf, kind: str, item_ids: Sequence[str], support: float, lift: float, affinity: float
) -> dict[str, Any]:
    goods = [shelf.goods(item_id) for item_id in item_ids]
    return {
        "bundle_type": kind,
        "items": [{"item_id": each.item_id, "price": each.price, "cost": each.cost} for each in goods],
        "support": support,
        "lift": lift,
        "affinity": affinity,
    }
