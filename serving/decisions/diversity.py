"""A list in which not everything is alike: maximal marginal relevance over categories and similar items.

Each place goes to the item with the largest `relevance x (1 - strength x likeness)`: the likeness to the most
alike item chosen before, which is the released similarity where one is among the other's similar items, and
`SAME_CATEGORY` where both are of one category. Values only fall while the list grows, so a heap that looks at
an item again when it comes to the top gives exactly the greedy list, and only what comes there is compared
with what was chosen since it was looked at last.
"""

from collections.abc import Collection, Mapping, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Protocol

from serving.decisions.candidates import Pool

SAME_CATEGORY = 0.4
DEFAULT_STRENGTH = 0.3
Pinned = Mapping[int, int]
Order = Sequence[tuple[float, int]]
"""Minus the relevance, and the position of each candidate, best first."""


class Likeness(Protocol):
    """What tells how alike items are; `CatalogueIndex` does."""

    @property
    def category_of(self) -> Sequence[int]: ...

    @property
    def brand_of(self) -> Sequence[int]: ...

    def likeness_of(self, position: int) -> Mapping[int, float]: ...


def by_relevance(pool: Pool) -> Order:
    """The pool, best first; of equals the lower position."""
    return sorted([(-candidate[0], position) for position, candidate in pool.items()])


def choose(
    order: Order,
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
    fixed = {place: position for place, position in (pinned or {}).items() if place < limit}
    category_of, brand_of, likeness_of = likeness.category_of, likeness.brand_of, likeness.likeness_of
    is_capped = max_per_category is not None or max_per_brand is not None
    categories: dict[int, int] = {}
    brands: dict[int, int] = {}
    rows: list[Mapping[int, float]] = []

    def note(position: int) -> None:
        category = category_of[position]
        categories[category] = categories.get(category, 0) + 1
        if is_capped:
            brands[brand_of[position]] = brands.get(brand_of[position], 0) + 1
        if strength:
            rows.append(likeness_of(position))

    for position in fixed.values():
        note(position)
    taken = set(fixed.values())
    untouched = iter(order)
    fresh = next(untouched, None)
    # What came up and fell: value, position, relevance, how many of `rows` it was compared with, and the
    # largest likeness in them.
    fallen: list[tuple[float, int, float, int, float]] = []
    chosen: list[int] = []
    capped: list[int] = []
    room = limit - len(fixed)
    while len(chosen) < room:
        if fresh is not None and (not fallen or fresh < fallen[0]):
            value, position = fresh
            relevance, done, likest = value, 0, 0.0
            fresh = next(untouched, None)
            if position in taken:
                continue
        elif fallen:
            value, position, relevance, done, likest = heappop(fallen)
        else:
            break
        category = category_of[position]
        if is_capped and (
            is_full(categories, category, max_per_category)
            or is_full(brands, brand_of[position], max_per_brand)
        ):
            capped.append(position)
            continue
        if done < len(rows):
            for row in rows[done:]:
                alike = row.get(position, 0.0)
                if alike > likest:
                    likest = alike
            if likest < SAME_CATEGORY and category >= 0 and category in categories:
                likest = SAME_CATEGORY
            present = relevance * (1.0 - strength * likest)
            if present > value:
                heappush(fallen, (present, position, relevance, len(rows), likest))
                continue
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
    order: Order,
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
    rest = (position for _, position in order if position not in present)
    if max_per_category is None and max_per_brand is None:
        return list(islice(rest, count))
    categories = _counts(chosen, likeness.category_of)
    brands = _counts(chosen, likeness.brand_of)
    tail: list[int] = []
    for position in rest:
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
