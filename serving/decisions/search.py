"""Search results in the order that suits the visitor: the same ids, each near its place.

An item may pass another only within `reach` places, and only as far as relevance allows: where the search
engine gives scores, a gap in relevance is a distance too. Without anything personal nothing moves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

REACH = 5
COLLABORATIVE_WEIGHT, CATEGORY_WEIGHT = 0.7, 0.3
# The whole span of relevance scores is worth this many places of the list.
SPAN_SHARE = 1.0


def personal_scores(
    collaborative: Sequence[float | None], categories: Sequence[str | None], affinity: Mapping[str, float]
) -> list[float]:
    """How much each result suits the visitor, 0 to 1: model scores over their own range, and category."""
    known = [score for score in collaborative if score is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    span = high - low
    best = max(affinity.values(), default=0.0)
    scores = []
    for score, category in zip(collaborative, categories, strict=True):
        model = (score - low) / span if score is not None and span > 0 else 0.0
        liking = affinity.get(category, 0.0) / best if category is not None and best > 0 else 0.0
        scores.append(round(COLLABORATIVE_WEIGHT * model + CATEGORY_WEIGHT * liking, 6))
    return scores


def rerank(personal: Sequence[float], relevance: Sequence[float] | None, reach: float = REACH) -> list[int]:
    """Positions in their new order: a permutation in which nothing moves by `reach` places or more.

    `relevance`: scores of the search engine, highest first is the given order; None: the order alone.
    """
    places = _places(len(personal), relevance)
    keys = [place - reach * min(max(score, 0.0), 1.0) for place, score in zip(places, personal, strict=True)]
    return sorted(range(len(personal)), key=lambda index: (keys[index], index))


def _places(count: int, relevance: Sequence[float] | None) -> list[float]:
    """Where each result stands: its rank, pushed further back by the relevance that it lacks."""
    if relevance is None or count < 2:
        return [float(index) for index in range(count)]
    high, low = max(relevance), min(relevance)
    span = high - low
    return [
        index + (SPAN_SHARE * count * (high - score) / span if span > 0 else 0.0)
        for index, score in enumerate(relevance)
    ]


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The re-ranked list. `inputs`: item_ids (best first), relevance or null, personal (0..1), reach."""
    order = rerank(inputs["personal"], inputs["relevance"], inputs["reach"])
    return {
        "results": [
            {
                "item_id": inputs["item_ids"][index],
                "rank": rank,
                "original_rank": index + 1,
                "personal_score": inputs["personal"][index],
            }
            for rank, index in enumerate(order, 1)
        ]
    }
