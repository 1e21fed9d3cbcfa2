"""Candidates of one visitor, from several sources, with scores on one scale.

**The scale.** A score is between 0 and 1. Above `PERSONAL_FLOOR` it rests on what is known of the visitor:
`floor + (1 - floor) x blend`, where the blend is the weighted mean of the components with evidence:

- `collaborative`: how strongly behaviour ties the item to what the visitor touched: similar items by factors,
  items bought together, the fold-in of the history, at most 1;
- `content`: how near it is to what was touched by category, brand and attributes, at most 1;
- `hybrid`: the stored list of the batch, each score over the list's best.

The weights default to 0.3, 0.3 and 0.4. Below the floor stands what fills up the list, in the order of its
list: popular in the visitor's categories, in their segment, rising, popular.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from serving.decisions.catalogue import CatalogueIndex

COLLABORATIVE, CONTENT, HYBRID = "collaborative", "content", "hybrid"
DEFAULT_WEIGHTS = {COLLABORATIVE: 0.3, CONTENT: 0.3, HYBRID: 0.4}
PERSONAL_FLOOR = 0.1
SIMILAR, TOGETHER = "similar_items", "bought_together"
FOLD_IN, POPULAR_IN_CATEGORY = "collaborative_fold_in", "popular_in_category"
POPULAR_IN_SEGMENT, TRENDING, TRENDING_IN_CATEGORY = (
    "popular_in_segment",
    "trending",
    "trending_in_category",
)
CATEGORY_SHARE, BRAND_SHARE = 0.7, 0.3
MOST_TOUCHED = 10
FROM_CATEGORY = 15
NOBODY = -1

# How much an event says for items like its item, and for items bought together with it.
PULL: Mapping[str, tuple[float, float]] = {
    "product_view": (0.5, 0.2),
    "search_click": (0.6, 0.2),
    "recommendation_click": (0.6, 0.2),
    "image_view": (0.4, 0.1),
    "wishlist_add": (0.9, 0.4),
    "add_to_cart": (0.7, 1.0),
    "purchase": (0.1, 1.0),
    "remove_from_cart": (0.0, 0.0),
    "wishlist_remove": (0.0, 0.0),
    "return": (0.0, 0.0),
    "order_cancel": (0.0, 0.0),
}
OTHER_PULL = (0.3, 0.1)
RECENCY = 0.85
HALF_LIFE_SECONDS = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Touch:
    """An item that the visitor touched: how much it pulls similar items, and items bought together."""

    position: int
    near: float
    together: float


# One candidate: its score, what proposed it, and the position of the item that it is tied to (NOBODY: none).
Candidate = tuple[float, str, int]
Pool = dict[int, Candidate]


def touch_strengths(
    recent: Iterable[tuple[str, str, int]], now_us: int | None, known: Mapping[str, int]
) -> list[tuple[str, float, float]]:
    """Items of the latest events, latest first, with their two pulls; of one item the strongest event counts.

    `recent` is (item_id, event_type, event_at in microseconds), latest first. Strength fades with the place
    in the list and, where `now_us` is given, with age. Items that `known` lacks are left out.
    """
    found: dict[str, tuple[float, float]] = {}
    recency = 1.0
    for item_id, event_type, event_at in recent:
        if item_id not in known:
            continue
        near, together = PULL.get(event_type, OTHER_PULL)
        present = found.get(item_id)
        if present is None:
            if len(found) >= MOST_TOUCHED:
                break
            recency *= RECENCY
        fresh = recency
        if now_us is not None:
            fresh *= 0.5 ** (max(0, now_us - event_at) / 1e6 / HALF_LIFE_SECONDS)
        near, together = near * fresh, together * fresh
        if present is not None:
            near, together = max(near, present[0]), max(together, present[1])
        found[item_id] = (near, together)
    return [
        (item_id, round(near, 4), round(together, 4))
        for item_id, (near, together) in found.items()
        if near or together
    ]


def stored_pool(
    item_ids: Sequence[str], scores: Sequence[float], algorithms: Sequence[str], position: Mapping[str, int]
) -> Pool:
    """The stored list: each score over the best of the list. What the release does not know is left out."""
    best = max(scores, default=0.0)
    share = 1.0 - PERSONAL_FLOOR
    get = position.get
    return {
        found: (PERSONAL_FLOOR + share * (score / best) if score > 0 else PERSONAL_FLOOR, algorithm, NOBODY)
        for item_id, score, algorithm in zip(item_ids, scores, algorithms, strict=True)
        if (found := get(item_id)) is not None
    }


def blended_pool(
    stored: Pool,
    fold_in: Mapping[int, float],
    touched: Sequence[Touch],
    categories: Sequence[str],
    index: CatalogueIndex,
    weights: Mapping[str, float],
) -> Pool:
    """All sources of somebody of whom more is known than a stored list.

    `fold_in` maps a position to its score over the best one; `categories` are those looked at, latest first.
    """
    ties = tied(touched, index)
    category_share, brand_share = tastes(touched, categories, index)
    collaborative, content, hybrid = (weights.get(name, 0.0) for name in (COLLABORATIVE, CONTENT, HYBRID))
    if not stored:
        hybrid = 0.0
    if not touched and not fold_in:
        collaborative = 0.0
    if not category_share and not brand_share:
        content = 0.0
    total = collaborative + content + hybrid
    if total <= 0:
        return dict(stored)
    collaborative, content, hybrid = collaborative / total, content / total, hybrid / total
    positions = dict.fromkeys(stored)
    positions.update(dict.fromkeys(fold_in))
    positions.update(dict.fromkeys(ties))
    best_categories = sorted(category_share, key=lambda each: (-category_share[each], each))[:3]
    for number in best_categories:
        found = index.in_category.get(index.category_names[number], ())
        positions.update(dict.fromkeys(found[:FROM_CATEGORY]))
    taste_of_category = {number: CATEGORY_SHARE * share for number, share in category_share.items()}.get
    taste_of_brand = {number: BRAND_SHARE * share for number, share in brand_share.items()}.get
    category_of, brand_of = index.category_of, index.brand_of
    stored_at, tie_of, folded_at = stored.get, ties.get, fold_in.get
    floor, room = PERSONAL_FLOOR, 1.0 - PERSONAL_FLOOR
    pool: Pool = {}
    for position in positions:
        strength, attributes, algorithm, anchor = tie_of(position, _NO_TIE)
        folded = folded_at(position, 0.0)
        if folded > strength:
            strength, algorithm, anchor = folded, FOLD_IN, NOBODY
        from_behaviour = collaborative * (strength if strength < 1.0 else 1.0)
        taste = taste_of_category(category_of[position], 0.0) + taste_of_brand(brand_of[position], 0.0)
        blend = from_behaviour + content * (taste if taste > attributes else attributes)
        by_list = stored_at(position)
        if by_list is not None:
            from_list = hybrid * (by_list[0] - floor) / room
            blend += from_list
            if from_list >= from_behaviour:
                algorithm, anchor = by_list[1], NOBODY
        pool[position] = (floor + room * blend, algorithm or POPULAR_IN_CATEGORY, anchor)
    return pool


_NO_TIE = (0.0, 0.0, "", NOBODY)
Tie = tuple[float, float, str, int]


def tied(touched: Sequence[Touch], index: CatalogueIndex) -> dict[int, Tie]:
    """What is similar to the touched items or bought together with them.

    Position -> strength by behaviour, nearness by attributes, algorithm and item of the strongest tie.
    """
    found: dict[int, tuple[float, float, str, int, float]] = {}
    none = (0.0, 0.0, "", NOBODY, 0.0)
    for touch in touched:
        anchor = touch.position
        if touch.near > 0:
            for position, score, is_behaviour in index.near(anchor):
                strength, attributes, algorithm, best_anchor, best = found.get(position, none)
                pull = touch.near * score
                if is_behaviour:
                    strength += pull
                elif pull > attributes:
                    attributes = pull
                if pull > best:
                    algorithm, best_anchor, best = SIMILAR, anchor, pull
                found[position] = (strength, attributes, algorithm, best_anchor, best)
        if touch.together > 0:
            for position, score in index.together(anchor):
                strength, attributes, algorithm, best_anchor, best = found.get(position, none)
                pull = touch.together * score
                if pull > best:
                    algorithm, best_anchor, best = TOGETHER, anchor, pull
                found[position] = (strength + pull, attributes, algorithm, best_anchor, best)
    return {position: each[:4] for position, each in found.items()}


def tastes(
    touched: Sequence[Touch], categories: Sequence[str], index: CatalogueIndex
) -> tuple[dict[int, float], dict[int, float]]:
    """How much each category and brand was touched, over the most touched one; unknown ones left out."""
    by_category: dict[int, float] = {}
    by_brand: dict[int, float] = {}
    for touch in touched:
        weight = touch.near + touch.together
        category, brand = index.category_of[touch.position], index.brand_of[touch.position]
        if category >= 0:
            by_category[category] = by_category.get(category, 0.0) + weight
        if brand >= 0:
            by_brand[brand] = by_brand.get(brand, 0.0) + weight
    strength = 0.5
    for name in categories:
        number = index.category_number.get(name)
        if number is not None:
            by_category[number] = by_category.get(number, 0.0) + strength
            strength *= RECENCY
    return _over_best(by_category), _over_best(by_brand)


def _over_best(shares: dict[int, float]) -> dict[int, float]:
    best = max(shares.values(), default=0.0)
    return {key: value / best for key, value in shares.items()} if best > 0 else {}


def fillers(
    index: CatalogueIndex, categories: Sequence[str], segment: str | None
) -> Iterable[tuple[int, str]]:
    """What fills up a list, best first, each with what proposed it; positions may repeat."""
    rows = [index.in_category.get(name, ()) for name in categories]
    for depth in range(max(map(len, rows), default=0)):
        for row in rows:
            if depth < len(row):
                yield row[depth], POPULAR_IN_CATEGORY
    if segment is not None:
        for position in index.in_segment.get(segment, ()):
            yield position, POPULAR_IN_SEGMENT
    yield from index.popular
    for position in index.trending:
        yield position, TRENDING


def fill_pool(pool: Pool, wanted: int, more: Iterable[tuple[int, str]], is_allowed: bytes) -> None:
    """Add fillers that are allowed (0 in the mask) until the pool has `wanted` items, each below the last."""
    step = PERSONAL_FLOOR / (wanted + 1.0)
    score = PERSONAL_FLOOR
    for position, algorithm in more:
        if len(pool) >= wanted:
            return
        if position not in pool and not is_allowed[position]:
            score -= step
            pool[position] = (score, algorithm, NOBODY)
