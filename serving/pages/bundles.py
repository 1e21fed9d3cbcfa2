"""Bundles for somebody, from what the release knows of goods that go together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serving.decisions import bundles
from serving.pages.deciding import Desk, register
from serving.pages.pricing import PriceBounds
from serving.pages.shelf import Shelf
from serving.pages.visitors import Visitor
from serving.people.permissions import Signals
from serving.releases import ServedRelease

KIND = "bundles"
ANCHORS, PARTNERS = 12, 6
MOST_FILLED = 200
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
        candidates = mined_candidates(desk.release, shelf, anchors, visitor, types, limit, item_id is None)
        if candidates:
            return self._answer(user_id, visitor, candidates, types, limit, item_id is None and bool(anchors))
        candidates = list(_candidates(shelf, anchors, visitor)) if anchors else []
        is_personal = visitor.personalized and bool(candidates) and item_id is None
        if len(candidates) < limit and item_id is None:
            popular = [each for each in shelf.popular(ANCHORS) if each not in anchors]
            candidates += _candidates(shelf, popular, visitor)
        return self._answer(user_id, visitor, candidates, types, limit, is_personal)

    def _answer(
        self,
        user_id: str,
        visitor: Visitor,
        candidates: list[dict[str, Any]],
        types: Sequence[str],
        limit: int,
        is_personal: bool,
    ) -> dict[str, Any]:
        desk, shelf = self._desk, self._desk.shelf
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
                    **{name: value for name, value in bundle.items() if name not in bundles.CONFIDENTIAL},
                    "evidence": desk.release.bundles.evidence.get(bundle.get("bundle_key", "")),
                    "products": shelf.described(bundle["items"]),
                }
                for number, bundle in enumerate(output["bundles"], 1)
            ],
            **desk.provenance(KIND, visitor, decision_id, personalized=is_personal and visitor.personalized),
        }


def mined_candidates(
    release: ServedRelease,
    shelf: Shelf,
    anchors: Sequence[str],
    visitor: Visitor,
    types: Sequence[str],
    limit: int,
    may_fill: bool,
) -> list[dict[str, Any]]:
    """The release's bundles around these items, of each type those that suit and earn most.

    Affinity, from 0 to 1: half of it how lately an item of the bundle was touched, a quarter each the liking
    for its category and the model's score of what the visitor does not have. With `may_fill`, bundles that
    earn most whoever asks join those around the visitor's items. What the visitor has whole is left out, and
    what cannot be among the `limit` best of all types.
    """
    rows, owned = release.bundles.rows, set(visitor.seen)
    numbers = release.bundles.around(anchors)
    if may_fill:
        numbers = list(dict.fromkeys((*numbers, *release.bundles.earning[:MOST_FILLED])))
    chosen = [
        rows[number]
        for number in numbers
        if rows[number]["bundle_type"] in types and not owned.issuperset(rows[number]["item_ids"])
    ]
    touched = {item: 0.9**place for place, item in enumerate(anchors)}
    best_liking = max(visitor.affinity.values(), default=0.0)
    wanted = list(dict.fromkeys(item for row in chosen for item in row["item_ids"] if item not in owned))
    scores = dict(zip(wanted, shelf.affinities(visitor.history, wanted), strict=True))
    best_score = max((score for score in scores.values() if score is not None), default=0.0)

    def affinity(row: Mapping[str, Any]) -> float:
        items = row["item_ids"]
        touch = max((touched.get(item, 0.0) for item in (*items, row["instead_of"])), default=0.0)
        liking = max(visitor.affinity.get(shelf.goods(item).category or "", 0.0) for item in items)
        fit = max((scores.get(item) or 0.0 for item in items), default=0.0)
        parts = 0.5 * touch
        parts += 0.25 * liking / best_liking if best_liking > 0 else 0.0
        parts += 0.25 * max(0.0, fit) / best_score if best_score > 0 else 0.0
        return round(parts, 6)

    ranked = [{**row, "affinity": affinity(row)} for row in chosen]
    ranked.sort(key=lambda row: bundles.order(row))
    kept: dict[str, int] = {}
    found = []
    for row in ranked:
        kept[row["bundle_type"]] = kept.get(row["bundle_type"], 0) + 1
        if kept[row["bundle_type"]] <= limit:
            items = [shelf.goods(item)._asdict() for item in row["item_ids"]]
            goods = [{name: item[name] for name in ("item_id", "price", "cost")} for item in items]
            found.append(
                {name: value for name, value in row.items() if name != "item_ids"} | {"items": goods}
            )
    return found


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
