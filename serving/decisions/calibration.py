"""A list that keeps the mix of categories that its reader shows: calibrated recommendations (Steck 2018).

Each place goes to the item with the largest

    (1 - strength) x relevance over the pool's best  -  strength x (KL after it - KL before it)

where KL is the Kullback-Leibler divergence of the reader's mix p from the list's mix q, softened as
`(1 - SOFTNESS) q + SOFTNESS p`. Relevance is what `serving.decisions.diversity` makes of it: less for what is
like an item chosen before. Strength 0 is that module's list, strength 1 heeds nothing but the mix. The mix is
over categories with a name; what has none belongs to no part of it.
"""

import math
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heapreplace

from serving.decisions.candidates import Pool
from serving.decisions.diversity import SAME_CATEGORY, Likeness, Pinned, is_full, with_pins

SOFTNESS = 0.01


def choose_calibrated(
    pool: Pool,
    limit: int,
    likeness: Likeness,
    diversity: float,
    mix: Mapping[int, float],
    strength: float,
    pinned: Pinned | None = None,
    max_per_category: int | None = None,
    max_per_brand: int | None = None,
) -> tuple[list[int], list[int]]:
    """As `diversity.choose`, for a reader with this mix: category number -> share above 0, adding up to 1."""
    fixed = {place: position for place, position in (pinned or {}).items() if place < limit}
    best = max((candidate[0] for candidate in pool.values()), default=0.0) or 1.0
    so_far = _SoFar(likeness, diversity)
    for position in fixed.values():
        so_far.note(position)
    taken = set(fixed.values())
    heaps: dict[int, list[tuple[float, int]]] = {}
    for position, candidate in pool.items():
        if position not in taken:
            heaps.setdefault(likeness.category_of[position], []).append((-candidate[0], position))
    for heap in heaps.values():
        heapify(heap)
    chosen: list[int] = []
    capped: list[int] = []
    while len(chosen) < limit - len(fixed):
        gains = _gains(mix, so_far.categories, heaps)
        found: tuple[float, int, int] | None = None
        for category, heap in heaps.items():
            _bring_up(heap, pool, so_far, max_per_category, max_per_brand, capped)
            if heap:
                value = (1.0 - strength) * heap[0][0] / best - strength * gains[category]
                if found is None or (value, heap[0][1]) < found[:2]:
                    found = value, heap[0][1], category
        if found is None:
            break
        heappop(heaps[found[2]])
        chosen.append(found[1])
        so_far.note(found[1])
    return with_pins(chosen, fixed), capped


def _bring_up(
    heap: list[tuple[float, int]],
    pool: Pool,
    so_far: "_SoFar",
    max_per_category: int | None,
    max_per_brand: int | None,
    capped: list[int],
) -> None:
    """Have the best of a category on top of its heap: relevance only falls, so what falls is put back."""
    while heap:
        value, position = heap[0]
        if so_far.is_full(position, max_per_category, max_per_brand):
            capped.append(heappop(heap)[1])
            continue
        present = -pool[position][0] * so_far.share_kept(position)
        if present <= value:
            return
        heapreplace(heap, (present, position))


def divergence(mix: Mapping[int, float], counts: Mapping[int, int]) -> float:
    """KL of the reader's mix from that of the items counted by category, softened; 0 is the same mix."""
    total = sum(counts.values())
    return sum(
        share * math.log(share / _softened(share, counts.get(category, 0) / total if total else 0.0))
        for category, share in mix.items()
    )


def _gains(
    mix: Mapping[int, float], counts: Mapping[int, int], categories: Iterable[int]
) -> dict[int, float]:
    """How much one more item of each of these categories lowers the divergence."""
    total = sum(counts.values()) + 1
    before = divergence(mix, counts)
    kept = {
        category: share * math.log(share / _softened(share, counts.get(category, 0) / total))
        for category, share in mix.items()
    }
    others = before - sum(kept.values())
    found = dict.fromkeys(categories, others)
    for category in found.keys() & mix.keys():
        share = mix[category]
        one_more = share * math.log(share / _softened(share, (counts.get(category, 0) + 1) / total))
        found[category] = others + kept[category] - one_more
    return found


def _softened(share: float, found: float) -> float:
    return (1.0 - SOFTNESS) * found + SOFTNESS * share


class _SoFar:
    """What a list holds so far: categories, brands, and how alike each other item is to it."""

    def __init__(self, likeness: Likeness, diversity: float) -> None:
        self.categories: dict[int, int] = {}
        self._brands: dict[int, int] = {}
        self._alike: dict[int, float] = {}
        self._likeness, self._diversity = likeness, diversity

    def note(self, position: int) -> None:
        """Add an item."""
        category, brand = self._likeness.category_of[position], self._likeness.brand_of[position]
        self.categories[category] = self.categories.get(category, 0) + 1
        self._brands[brand] = self._brands.get(brand, 0) + 1
        if self._diversity:
            for other, score in self._likeness.likeness_of(position).items():
                self._alike[other] = max(self._alike.get(other, 0.0), score)

    def is_full(self, position: int, max_per_category: int | None, max_per_brand: int | None) -> bool:
        """Whether a cap keeps an item out."""
        category, brand = self._likeness.category_of[position], self._likeness.brand_of[position]
        return is_full(self.categories, category, max_per_category) or is_full(
            self._brands, brand, max_per_brand
        )

    def share_kept(self, position: int) -> float:
        """What is left of an item's relevance after what is like it was chosen."""
        category = self._likeness.category_of[position]
        likest = self._alike.get(position, 0.0)
        if category >= 0 and category in self.categories:
            likest = max(likest, SAME_CATEGORY)
        return 1.0 - self._diversity * likest
