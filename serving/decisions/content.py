"""Which articles, videos, customer content and social proof suit somebody.

Each piece has four factors from 0 to 1: interest (its category and tags are the visitor's), engagement (what
it and its kind get from this visitor and from everybody), season (near its time of the year) and trend (what
is looked at lately). A request weighs them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from serving.decisions.rates import shrunk

FACTORS = {
    "interest_alignment": 0.4,
    "engagement_history": 0.3,
    "seasonal_relevance": 0.2,
    "trending_score": 0.1,
}
COUNTS = {"blog_articles": 3, "video_content": 2, "social_proof": 4, "user_generated_content": 2}
KIND_OF_BLOCK = {
    "blog_articles": "article",
    "video_content": "video",
    "user_generated_content": "user_content",
}
SOCIAL_PROOF = "social_proof"
# One more piece of a category that is already there counts this much less: a block shows several interests.
REPEAT_DISCOUNT = 0.7
LIKE_RATE, LIKE_WEIGHT = 0.05, 40.0
SEASON_HALF_WIDTH_MONTHS = 3.0
# Fewer buyers or ratings than this prove nothing, and might tell of one person.
LEAST_BUYERS, LEAST_RATINGS = 5, 5


def normalised(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of the factors, adding up to one; a factor that is not given keeps its default."""
    given = {name: float(weights.get(name, default)) for name, default in FACTORS.items()}
    total = sum(given.values())
    return {name: round(weight / total, 9) for name, weight in given.items()} if total > 0 else dict(FACTORS)


def interest(names: Sequence[str], affinity: Mapping[str, float]) -> float:
    """Affinity to the best of the piece's category and tags, relative to the visitor's strongest one."""
    best = max(affinity.values(), default=0.0)
    if best <= 0:
        return 0.0
    return max((affinity.get(name, 0.0) for name in names), default=0.0) / best


def liking(views: int, likes: int) -> float:
    """How well a piece is liked by everybody, 0 to 1; few likes of few looks say little."""
    return min(1.0, shrunk(likes, views, LIKE_RATE, LIKE_WEIGHT).mean / (4 * LIKE_RATE))


def engagement(liked: float, kind_share: float) -> float:
    """Half how well it is liked by everybody, half how much of the visitor's reading is of its kind."""
    return 0.5 * liked + 0.5 * kind_share


def season(month: int | None, peak_month: int | None) -> float:
    """1 in the piece's month, falling to 0 three months away; a half for what is never out of season."""
    if month is None or peak_month is None:
        return 0.5
    distance = abs(month - peak_month) % 12
    distance = min(distance, 12 - distance)
    return max(0.0, 1.0 - distance / SEASON_HALF_WIDTH_MONTHS)


def trend(recent_views: int, most_recent_views: int) -> float:
    """Looks of the last days relative to the most looked at piece, on a logarithmic scale."""
    if most_recent_views <= 0:
        return 0.0
    return math.log1p(max(0, recent_views)) / math.log1p(most_recent_views)


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks. `inputs`: counts, weights (normalised), pieces by block (content_id, category, factors by
    name), proof (item_id, buyers, days, rating, ratings, affinity)."""
    weights = inputs["weights"]
    blocks: dict[str, Any] = {}
    for block, count in inputs["counts"].items():
        if block == SOCIAL_PROOF:
            blocks[block] = _proof(inputs["proof"], count)
        else:
            blocks[block] = _varied(inputs["pieces"].get(block, ()), weights, count)
    return {"blocks": blocks}


def _varied(
    pieces: Sequence[Mapping[str, Any]], weights: Mapping[str, float], count: int
) -> list[dict[str, Any]]:
    """The best pieces, one after the other, a category that is already there counting less each time."""
    left = [
        (piece, sum(weight * piece["factors"][name] for name, weight in weights.items())) for piece in pieces
    ]
    chosen: list[dict[str, Any]] = []
    seen: dict[str | None, int] = {}
    while left and len(chosen) < count:
        best = min(
            range(len(left)),
            key=lambda index: (
                -left[index][1] * REPEAT_DISCOUNT ** seen.get(left[index][0]["category"], 0),
                left[index][0]["content_id"],
            ),
        )
        piece, score = left.pop(best)
        seen[piece["category"]] = seen.get(piece["category"], 0) + 1
        chosen.append(
            {
                "content_id": piece["content_id"],
                "score": round(score, 6),
                "reason": max(weights, key=lambda name: (weights[name] * piece["factors"][name], name)),
            }
        )
    return chosen


def _proof(facts: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Facts that were counted, about goods that the visitor may care for; too few to prove anything: none."""
    found = []
    for fact in facts:
        if fact["buyers"] >= LEAST_BUYERS:
            text = f"Bought by {fact['buyers']} customers in the last {fact['days']} days"
            found.append({**_shared(fact), "kind": "bought_recently", "text": text})
        elif fact["ratings"] >= LEAST_RATINGS:
            text = f"Rated {fact['rating']:.1f} of 5 by {fact['ratings']} customers"
            found.append({**_shared(fact), "kind": "rating", "text": text})
    found.sort(key=lambda each: (-each["score"], each["item_id"]))
    return found[:count]


def _shared(fact: Mapping[str, Any]) -> dict[str, Any]:
    score = (0.5 + 0.5 * fact["affinity"]) * math.log1p(fact["buyers"] + fact["ratings"])
    return {
        "item_id": fact["item_id"],
        "buyers": fact["buyers"],
        "days": fact["days"],
        "rating": fact["rating"],
        "ratings": fact["ratings"],
        "score": round(score, 6),
    }
