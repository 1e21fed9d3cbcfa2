"""Slots of a page: which kinds there are, and what fills them, no item twice on the page."""

from collections.abc import Iterable, Mapping, Sequence

from serving.decisions.candidates import (
    PERSONAL_FLOOR,
    POPULAR_IN_CATEGORY,
    SIMILAR,
    TOGETHER,
    TRENDING,
    TRENDING_IN_CATEGORY,
)
from serving.decisions.catalogue import POPULAR, CatalogueIndex

SIMILAR_PRODUCTS = "similar_products"
COMPLEMENTARY_PRODUCTS = "complementary_products"
TRENDING_IN_CATEGORY_SLOT = "trending_in_category"
TRENDING_SLOT = "trending"
RECENTLY_VIEWED = "recently_viewed"
POPULAR_SLOT = "popular"
PERSONALIZED_PICKS = "personalized_picks"
SLOT_TYPES = (
    SIMILAR_PRODUCTS,
    COMPLEMENTARY_PRODUCTS,
    TRENDING_IN_CATEGORY_SLOT,
    TRENDING_SLOT,
    RECENTLY_VIEWED,
    POPULAR_SLOT,
    PERSONALIZED_PICKS,
)
RECENT = "recently_viewed"

# Position, score, what proposed it, and the item that it is tied to (-1: none).
Placed = tuple[int, float, str, int]


def fill_slot(
    kind: str,
    count: int,
    index: CatalogueIndex,
    anchor: int | None,
    category: str | None,
    recent: Sequence[int],
    used: set[int],
    is_blocked: bytes,
) -> list[Placed]:
    """At most `count` items of one kind of slot, none of `used`, which grows by them.

    `anchor` is the item that the page shows, or was touched last; `category` is that of the page. What has no
    relation of its own is filled up by what is popular in the category, then by what is popular.
    """
    found: list[Placed] = []
    for placed in _proposals(kind, index, anchor, category, recent):
        if len(found) >= count:
            break
        position = placed[0]
        if position not in used and not is_blocked[position]:
            used.add(position)
            found.append(placed)
    return found


def _proposals(
    kind: str, index: CatalogueIndex, anchor: int | None, category: str | None, recent: Sequence[int]
) -> Iterable[Placed]:
    if kind == RECENTLY_VIEWED:
        yield from _falling(recent, RECENT, top=1.0)
        return
    if kind == SIMILAR_PRODUCTS and anchor is not None:
        for position, score, _ in index.near(anchor):
            yield position, _personal(score), SIMILAR, anchor
    elif kind == COMPLEMENTARY_PRODUCTS and anchor is not None:
        for position, score in index.together(anchor):
            yield position, _personal(score), TOGETHER, anchor
    elif kind == TRENDING_IN_CATEGORY_SLOT and category is not None:
        yield from _falling(index.trending_in.get(category, ()), TRENDING_IN_CATEGORY)
    elif kind == TRENDING_SLOT:
        yield from _falling(index.trending, TRENDING)
    if kind != POPULAR_SLOT and kind != COMPLEMENTARY_PRODUCTS and category is not None:
        yield from _falling(index.in_category.get(category, ()), POPULAR_IN_CATEGORY, top=PERSONAL_FLOOR)
    others = [position for position, _ in index.popular]
    if kind == COMPLEMENTARY_PRODUCTS and category is not None:
        # What goes with an item is rarely another of its kind.
        others = [position for position in others if index.category[position] != category]
    yield from _falling(others, POPULAR, top=PERSONAL_FLOOR)


def _personal(score: float) -> float:
    return PERSONAL_FLOOR + (1.0 - PERSONAL_FLOOR) * min(1.0, score)


def _falling(positions: Sequence[int], algorithm: str, top: float = 0.5) -> Iterable[Placed]:
    """Scores that fall evenly from `top`: a place in a list is all that is known."""
    for place, position in enumerate(positions):
        yield position, top * (1.0 - place / len(positions)), algorithm, -1


def slot_counts(asked: Mapping[str, int]) -> dict[str, int]:
    """The slots of a page in the order in which they choose: related items first, personal picks last."""
    return {kind: asked[kind] for kind in SLOT_TYPES if asked.get(kind, 0) > 0}
