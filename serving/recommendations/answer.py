"""Answers of JSON values in the shape of `serving.api.schemas`.

They are built by hand because a recommendation is the hot path.
"""

from collections.abc import Mapping
from typing import Any

from serving.decisions.catalogue import CatalogueIndex
from serving.decisions.ranking import Outcome, Shown, reason
from serving.recommendations.ask import RecommendAsk
from serving.recommendations.inputs import LIVE, POPULAR_RUNG
from serving.recommendations.knowledge import Known

NEW_CUSTOMER = "new_customer"
UNKNOWN_CUSTOMER = "unknown_customer"


def answer_of(
    ask: RecommendAsk,
    known: Known,
    outcome: Outcome,
    index: CatalogueIndex,
    inputs: Mapping[str, Any],
    ages: dict[str, float],
) -> dict[str, Any]:
    """What the visitor is told of a decision: its items, what they rest on, and what was missing."""
    items = [item_of(shown, place, index) for place, shown in enumerate(outcome.shown, 1)]
    rung, decision_id, stored = inputs["rung"], inputs["id"], inputs.get("stored")
    fallback = known.refusal or known.failure
    if fallback is None and rung != LIVE and stored is None:
        fallback = NEW_CUSTOMER if "behaviour" in ages else UNKNOWN_CUSTOMER
    answer: dict[str, Any] = {
        "customer_id": ask.visitor_id,
        "recommendation_id": decision_id,
        "decision_id": decision_id,
        "recommendations": items,
        "rung": rung,
        "personalized": rung != POPULAR_RUNG,
        "reason": known.refusal,
        "feature_age_seconds": min(ages.values()) if ages else None,
        "feature_ages": ages,
        "candidates_release": None if stored is None else stored["release"],
        "fallback": fallback is not None,
        "fallback_reason": fallback,
        "degraded": [] if known.failure is None else [known.failure],
        "experiments": dict(known.arms),
        "stored": False,
    }
    if ask.slots:
        slots: dict[str, list[dict[str, Any]]] = {kind: [] for kind in ask.slots}
        for shown, item in zip(outcome.shown, items, strict=True):
            slots[shown.slot or ""].append(item)
        answer["slots"] = slots
    return answer


def item_of(shown: Shown, place: int, index: CatalogueIndex) -> dict[str, Any]:
    """One item of an answer, with why it is shown."""
    return {
        "rank": place,
        "position": place,
        **index.descriptions[shown.position],
        "score": shown.score,
        "algorithm": shown.algorithm,
        "reason": reason(shown, index),
        "propensity": shown.propensity,
        "slot": shown.slot,
    }
