"""Which variant of each page element to serve, how sure that is, and what it is expected to bring.

A variant is judged by the visitors who met it: the share that interacted and the share that converted, in the
visitor's segment, shrunk to all segments, shrunk to the element. Lift is the ratio to the default variant's
share; its interval comes from the spread of the two Beta distributions and of what is known beforehand: that
of all changes tried, about one in three is an improvement. So without evidence a challenger has one chance in
three, the default stands, and the answer says that little is known.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from serving.decisions.rates import NORMAL_95, Rate, nested, normal_cdf

GOALS = {"increase_engagement": 0.4, "drive_conversions": 0.6}
OUTCOMES = {"increase_engagement": "interacted", "drive_conversions": "converted"}
PRIOR_RATES = {"interacted": 0.10, "converted": 0.03}
# Observations that the element is worth to a variant, and all segments (at most) to one segment.
ELEMENT_WEIGHT, SEGMENT_WEIGHT = 40.0, 2000.0
# Log of the lift of a change, beforehand: two thirds of all changes are no improvement.
PRIOR_LIFT_SPREAD = 0.10
PRIOR_LIFT_MEAN = -0.4307 * PRIOR_LIFT_SPREAD
EXPERIMENT = "experiment"


def weighted_goals(goals: Mapping[str, float]) -> dict[str, float]:
    """The weights of the goals, adding up to one; none given means the documented ones."""
    given = {name: float(goals.get(name, 0.0)) for name in GOALS} if goals else dict(GOALS)
    total = sum(given.values())
    return {name: weight / total for name, weight in given.items()} if total > 0 else dict(GOALS)


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A variant for each element. `inputs`: threshold, goals, elements.

    An element has name, default, eligible (names), assigned (by an experiment, or null), and evidence:
    variant -> {"segment": counts, "all": counts}, counts being [served, interacted, converted].
    """
    goals = weighted_goals(inputs["goals"])
    elements = [_element(element, goals, inputs["threshold"]) for element in inputs["elements"]]
    scores = [element["confidence_score"] for element in elements]
    return {
        "elements": elements,
        "confidence_score": round(sum(scores) / len(scores), 4) if scores else 0.0,
    }


def _element(element: Mapping[str, Any], goals: Mapping[str, float], threshold: float) -> dict[str, Any]:
    default, evidence = element["default"], element["evidence"]
    prior = _pooled(evidence)
    rates = {name: _rates(evidence.get(name), prior) for name in {*element["eligible"], default}}
    lifts = {
        name: _lift(rates[name], rates[default], goals) for name in element["eligible"] if name != default
    }
    chances = {name: normal_cdf(mean / spread) for name, (mean, spread) in lifts.items()}
    best = max(chances, key=lambda name: (chances[name], name), default=None)
    assigned = element["assigned"]
    if assigned is not None and assigned in rates:
        chosen, reason = assigned, EXPERIMENT
    elif best is not None and chances[best] >= threshold:
        chosen, reason = best, "better_than_default"
    elif not any(counts["all"][0] for counts in evidence.values()):
        chosen, reason = default, "no_evidence"
    else:
        chosen, reason = default, "below_threshold"
    if chosen == default:
        rival = 1.0 - chances[best] if best is not None else 1.0
        lift, low, high = 0.0, *_own_interval(rates[default], goals)
    else:
        rival = chances[chosen]
        mean, spread = lifts[chosen]
        lift, low, high = (
            _percent(mean),
            *(_percent(mean + side * spread) for side in (-NORMAL_95, NORMAL_95)),
        )
    return {
        "name": element["name"],
        "variant": chosen,
        "confidence_score": round(rival, 4),
        "expected_lift": lift,
        "lift_low": low,
        "lift_high": high,
        "reason": reason,
        "observations": int(evidence.get(chosen, {"all": [0]})["all"][0]),
    }


def _pooled(evidence: Mapping[str, Any]) -> dict[str, float]:
    """The element's rates over all variants, shrunk to what pages usually get."""
    served = sum(counts["all"][0] for counts in evidence.values())
    pooled = {}
    for place, outcome in enumerate(("interacted", "converted"), 1):
        responded = sum(counts["all"][place] for counts in evidence.values())
        pooled[outcome] = (responded + ELEMENT_WEIGHT * PRIOR_RATES[outcome]) / (served + ELEMENT_WEIGHT)
    return pooled


def _rates(counts: Mapping[str, Sequence[int]] | None, prior: Mapping[str, float]) -> dict[str, Rate]:
    part, whole = (counts["segment"], counts["all"]) if counts else ((0, 0, 0), (0, 0, 0))
    return {
        outcome: nested(
            (part[0], part[place]), (whole[0], whole[place]), prior[outcome], ELEMENT_WEIGHT, SEGMENT_WEIGHT
        )
        for place, outcome in enumerate(("interacted", "converted"), 1)
    }


def _lift(
    variant: Mapping[str, Rate], default: Mapping[str, Rate], goals: Mapping[str, float]
) -> tuple[float, float]:
    """Mean and standard deviation of the log of the lift, evidence and prior knowledge taken together.

    Each goal by itself first, so that one about which nothing was seen does not drown another. What helps one
    goal tends to help the others: their deviations add up.
    """
    mean = spread = 0.0
    for goal, weight in goals.items():
        own, other = variant[OUTCOMES[goal]], default[OUTCOMES[goal]]
        precision = 1.0 / (own.log_variance + other.log_variance)
        prior_precision = 1.0 / PRIOR_LIFT_SPREAD**2
        seen = own.log_mean - other.log_mean
        posterior = 1.0 / (precision + prior_precision)
        mean += weight * (seen * precision + PRIOR_LIFT_MEAN * prior_precision) * posterior
        spread += weight * math.sqrt(posterior)
    return mean, spread


def _own_interval(default: Mapping[str, Rate], goals: Mapping[str, float]) -> tuple[float, float]:
    """How far the default's own rate may lie from what is expected of it: wide without evidence."""
    spread = NORMAL_95 * sum(weight * default[OUTCOMES[goal]].deviation for goal, weight in goals.items())
    return round(-100.0 * min(1.0, spread), 2), round(100.0 * spread, 2)


def _percent(log_lift: float) -> float:
    return round(100.0 * (math.exp(log_lift) - 1.0), 2)
