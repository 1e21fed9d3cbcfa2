"""The goods of a release as decisions ask for them: facts, relatives, trends, and what suits a history."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from serving.decisions.fallback import recency_strengths
from serving.releases import ServedRelease

HISTORY_ITEMS = 50


class Goods(NamedTuple):
    """What a price or an offer needs to know of an item; None where the catalogue does not say."""

    item_id: str
    category: str | None
    brand: str | None
    price: float | None
    cost: float | None
    stock: int | None


class Companion(NamedTuple):
    """What is bought with another item: how much more than by chance, in which share of orders."""

    item_id: str
    lift: float
    support: float


class Shelf:
    """One release's goods."""

    def __init__(self, release: ServedRelease) -> None:
        self._release = release.release
        self._served = release

    def goods(self, item_id: str) -> Goods:
        """Facts of one item."""
        items = self._release.items
        index = items.position.get(item_id)
        if index is None:
            return Goods(item_id, None, None, None, None, None)
        stock = _number(items.stock[index])
        return Goods(
            item_id,
            items.category[index],
            items.brand[index],
            _number(items.price[index]),
            _number(items.cost[index]),
            None if stock is None else int(stock),
        )

    def described(self, item_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Items as answers show them."""
        return [{"item_id": item_id, **self._served.describe(item_id)} for item_id in item_ids]

    def categories(self) -> list[str]:
        """Top-level categories, the one with the most buyers first."""
        lists = self._release.popularity.by_category
        return sorted(lists, key=lambda name: (-sum(lists[name].scores), name))

    def similar(self, item_id: str, count: int) -> list[str]:
        """What is like an item, best first; nothing for an item that the release does not know."""
        index = self._release.items.position.get(item_id)
        if index is None:
            return []
        found = self._release.relations.similar_to(index)[:count]
        return [self._release.items.item_ids[position] for position, _ in found]

    def companions(self, item_id: str, count: int) -> list[Companion]:
        """What is bought with an item, best first."""
        index = self._release.items.position.get(item_id)
        relations = self._release.relations
        if index is None or relations.complementary.shape[1] == 0:
            return []
        rows = zip(
            relations.complementary[index].tolist(),
            relations.complementary_lift[index].tolist(),
            relations.complementary_support[index].tolist(),
            strict=True,
        )
        ids = self._release.items.item_ids
        found = [
            Companion(ids[position], round(lift, 6), round(support, 8))
            for position, lift, support in rows
            if position >= 0
        ]
        return found[:count]

    def trending(self, category: str | None, count: int) -> list[str]:
        """What rises, in a category or overall; what is popular there if nothing is known to rise."""
        relations, popularity = self._release.relations, self._release.popularity
        if category is None:
            lists = [relations.trending, popularity.recent, popularity.overall]
        else:
            by_category = (relations.trending_by_category, popularity.by_category)
            lists = [each[category] for each in by_category if category in each]
        ids = [item_id for ranked in lists for item_id in ranked.item_ids]
        return list(dict.fromkeys(ids))[:count]

    def popular(self, count: int) -> list[str]:
        """What sells now, then what sells ever."""
        popularity = self._release.popularity
        return list(dict.fromkeys((*popularity.recent.item_ids, *popularity.overall.item_ids)))[:count]

    def of_segment(self, segment: str, count: int) -> list[str]:
        """What a value segment buys; nothing for a segment that the release does not know."""
        ranked = self._release.relations.by_segment.get(segment)
        return [] if ranked is None else list(ranked.item_ids[:count])

    def segments(self) -> list[str]:
        """Value segments of which the release knows what they buy."""
        return sorted(self._release.relations.by_segment)

    def affinities(self, history: Sequence[str], item_ids: Sequence[str]) -> list[float | None]:
        """The model's score of each item for somebody with this history; None where it cannot say."""
        factors = self._release.factors
        history = history[:HISTORY_ITEMS]
        pairs = [
            (factors.position[item], strength)
            for item, strength in zip(history, recency_strengths(len(history)), strict=True)
            if item in factors.position
        ]
        if not pairs:
            return [None] * len(item_ids)
        user = factors.fold_in([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        positions = [factors.position.get(item) for item in item_ids]
        known = [position for position in positions if position is not None]
        scores = iter((factors.vectors[known] @ np.asarray(user, dtype=np.float32)).tolist())
        return [None if position is None else round(float(next(scores)), 6) for position in positions]

    def brand_affinity(self, history: Sequence[str]) -> dict[str, float]:
        """Brand -> share of the history, the latest items counting most."""
        weights: dict[str, float] = {}
        history = history[:HISTORY_ITEMS]
        for item, strength in zip(history, recency_strengths(len(history)), strict=True):
            brand = self.goods(item).brand
            if brand is not None:
                weights[brand] = weights.get(brand, 0.0) + strength
        total = sum(weights.values())
        return {brand: round(weight / total, 6) for brand, weight in weights.items()}


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
