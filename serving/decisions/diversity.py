"""A list in which not everything is alike: maximal marginal relevance over categories and similar items.

Each place goes to the item with the largest `relevance x (1 - strength x likeness)`: the likeness to the most
alike item chosen before, which is the released similarity where one is among the other's similar items, and
`SAME_CATEGORY` where both are of one category. Values only fall while the list grows, so a heap that looks at
an item again when it comes to the top gives exactly the greedy list.
"""

from collections.abc import Collection, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Protocol

from serving.decisions.candidates import Pool

SAME_CATEGORY = 0.4
DEFAULT_STRENGTH = 0.3
Pinned = Mapping[int, int]


class Likeness(Protocol):
    """What tells how alike items are; `CatalogueIndex` does."""

    @property
    def category_of(self) -> Sequence[int]: ...

    @property
    def brand_of(self) -> Sequence[int]: ...

    def likeness_of(self, position: int) -> Mapping[int, float]: ...


def choose(
    pool: Pool,
    limit: int,
    likeness: Likeness,
    strength: float = DEFAULT_STRENGTH,
    pinned: Pinned | None = None,
    max_per_category: int | None = None,
    max_per_brand: int | None = None,
) -> tuple[list[int], list[int]]:
    """At most `limit` positions in the order to show, and those that a cap kept out.

    `pinned` maps places (from 0) to positions; they count towards the caps and are never kept out by them.
    """
    pinned = pinned or {}
    fixed = {place: position for place, position in pinned.items() if place < limit}
    category_of, brand_of, likeness_of = likeness.category_of, likeness.brand_of, likeness.likeness_of
    candidates = pool.keys()
    taken = set(fixed.values())
    heap = [(-candidate[0], position) for position, candidate in pool.items() if position not in taken]
    heapify(heap)
    alike: dict[int, float] = {}
    categories: dict[int, int] = {}
    brands: dict[int, int] = {}
    chosen: list[int] = []
    capped: list[int] = []

    def note(position: int) -> None:
        category = category_of[position]
        categories[category] = categories.get(category, 0) + 1
        if max_per_brand is not None:
            brands[brand_of[position]] = brands.get(brand_of[position], 0) + 1
        if strength:
            scores = likeness_of(position)
            for other in scores.keys() & candidates:
                if alike.get(other, 0.0) < scores[other]:
                    alike[other] = scores[other]

    for position in fixed.values():
        note(position)
    room = limit - len(fixed)
    is_capped = max_per_category is not None or max_per_brand is not None
    while heap and len(chosen) < room:
        value, position = heap[0]
        category = category_of[position]
        if is_capped and (
            is_full(categories, category, max_per_category)
            or is_full(brands, brand_of[position], max_per_brand)
        ):
            capped.append(position)
            heappop(heap)
            continue
        if strength:
            likest = alike.get(position, 0.0)
            if likest < SAME_CATEGORY and category >= 0 and category in categories:
                likest = SAME_CATEGORY
            present = -pool[position][0] * (1.0 - strength * likest)
            if present > value:
                heapreplace(heap, (present, position))
                continue
        heappop(heap)
        chosen.append(position)
        note(position)
    return with_pins(chosen, fixed), capped


def with_pins(chosen: Sequence[int], fixed: Pinned) -> list[int]:
    """The list with the pinned items at their places, or at its end where it is shorter than that."""
    if not fixed:
        return list(chosen)
    shown: list[int] = []
    rest = iter(chosen)
    for place in range(len(chosen) + len(fixed)):
        position = fixed.get(place)
        shown.append(next(rest, -1) if position is None else position)
    late = [fixed[place] for place in sorted(fixed) if place >= len(shown)]
    return [position for position in shown if position >= 0] + late


def tail_of(
    pool: Pool,
    chosen: Collection[int],
    count: int,
    likeness: Likeness,
    max_per_category: int | None = None,
    max_per_brand: int | None = None,
) -> list[int]:
    """The next `count` positions by relevance: so few of each category and brand that all of them fit.

    Whichever of them take places in the list, the caps hold.
    """
    present = set(chosen)
    rest = sorted(
        ((-candidate[0], position) for position, candidate in pool.items() if position not in present)
    )
    if max_per_category is None and max_per_brand is None:
        return [position for _, position in rest[:count]]
    categories = _counts(chosen, likeness.category_of)
    brands = _counts(chosen, likeness.brand_of)
    tail: list[int] = []
    for _, position in rest:
        category, brand = likeness.category_of[position], likeness.brand_of[position]
        if is_full(categories, category, max_per_category) or is_full(brands, brand, max_per_brand):
            continue
        categories[category] = categories.get(category, 0) + 1
        brands[brand] = brands.get(brand, 0) + 1
        tail.append(position)
        if len(tail) == count:
            break
    return tail


def is_full(counts: Mapping[int, int], name: int, most: int | None) -> bool:
    """Whether a cap allows no more of a category or brand; what has none (-1) is never capped."""
    return most is not None and name >= 0 and counts.get(name, 0) >= most


def _counts(positions: Collection[int], names: Sequence[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for position in positions:
        counts[names[position]] = counts.get(names[position], 0) + 1
    return counts
