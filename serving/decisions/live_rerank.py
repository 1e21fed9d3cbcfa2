"""What the session says about candidates that were ranked before it began."""

from collections.abc import Mapping, Sequence

from serving.decisions.candidates import RECENCY, Pool
from serving.decisions.catalogue import CatalogueIndex

CATEGORY_BOOST = 0.3
TIRED_AFTER, TIRED = 3, 0.7


def rerank(
    pool: Pool,
    categories: Sequence[str],
    views: Mapping[int, int],
    index: CatalogueIndex,
) -> Pool:
    """The pool with scores moved by the session; they stay between 0 and 1.

    `categories` were looked at, latest first: their items gain up to `CATEGORY_BOOST`. `views` counts how
    often an item was viewed without a step further: from `TIRED_AFTER` times on it loses.
    """
    boosts: dict[int, float] = {}
    strength = CATEGORY_BOOST
    for name in categories:
        number = index.category_number.get(name)
        if number is not None and number not in boosts:
            boosts[number] = strength
            strength *= RECENCY
    tired = {position for position, count in views.items() if count >= TIRED_AFTER}
    if not boosts and not tired:
        return pool
    scale = 1.0 / (1.0 + CATEGORY_BOOST)
    factor_of = {number: (1.0 + boost) * scale for number, boost in boosts.items()}.get
    category_of = index.category_of
    moved: Pool = {
        position: (score * factor_of(category_of[position], scale), algorithm, anchor)
        for position, (score, algorithm, anchor) in pool.items()
    }
    for position in tired & moved.keys():
        score, algorithm, anchor = moved[position]
        moved[position] = (score * TIRED, algorithm, anchor)
    return moved
