"""What an e-mail to somebody says: its subject, its hero, its grid, its articles, its proof.

The kind of subject is the one that is opened most: open rates of the customer's segment, shrunk to those of
everybody, shrunk to one rate for all kinds. Where nothing was observed the order of the request decides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.decisions.rates import nested

SUBJECT_KINDS = ("personal_name", "offer", "plain")
PRIOR_OPEN_RATE, PRIOR_WEIGHT, SEGMENT_WEIGHT = 0.2, 60.0, 60.0
MAX_SUBJECT_LENGTH = 78
FIRST_DISCOUNT_SHOWN = 0.01


def subject_rates(responses: Mapping[str, Mapping[str, Sequence[int]]]) -> dict[str, float]:
    """Expected open rate of each kind of subject; counts are [sent, opened]."""
    rates = {}
    for kind in SUBJECT_KINDS:
        counts = responses.get(kind)
        part, whole = (counts["segment"], counts["all"]) if counts else ((0, 0), (0, 0))
        rate = nested((part[0], part[1]), (whole[0], whole[1]), PRIOR_OPEN_RATE, PRIOR_WEIGHT, SEGMENT_WEIGHT)
        rates[kind] = rate.mean
    return rates


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The e-mail. `inputs`: send, reason, name, offer ({discount, category, title} or null), hero
    ({item_id, title} or null), grid (item ids), articles, social_proof, use_customer_name,
    include_personalized_offer, responses by kind ({"segment", "all"}: [sent, opened]).

    Without consent there is nothing to send, and nothing is composed.
    """
    if not inputs["send"]:
        return {"send": False, "reason": inputs["reason"], "subject": None, "blocks": None}
    rates = subject_rates(inputs["responses"])
    texts = _texts(inputs)
    kind = max(texts, key=lambda name: (round(rates[name], 6), -list(texts).index(name)))
    observed = sum(counts["all"][0] for counts in inputs["responses"].values())
    hero = inputs["hero"]
    return {
        "send": True,
        "reason": None,
        "subject": {
            "kind": kind,
            "text": texts[kind],
            "expected_open_rate": round(rates[kind], 4),
            "basis": "observed" if observed else "prior",
            "considered": [{"kind": name, "expected_open_rate": round(rates[name], 4)} for name in texts],
        },
        "blocks": {
            "hero_product": None if hero is None else hero["item_id"],
            "product_grid": [item for item in inputs["grid"] if hero is None or item != hero["item_id"]],
            "content_articles": list(inputs["articles"]),
            "social_proof": list(inputs["social_proof"]),
        },
    }


def _texts(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Kind -> text, for the kinds for which everything that they say is known."""
    hero, offer, name = inputs["hero"], inputs["offer"], inputs["name"]
    title = hero["title"] if hero is not None and hero["title"] else "something new"
    texts = {}
    if name and inputs["use_customer_name"]:
        texts["personal_name"] = f"{name}, picked for you: {title}"
    if offer and inputs["include_personalized_offer"] and offer["discount"] >= FIRST_DISCOUNT_SHOWN:
        on = offer["title"] or offer["category"] or "something you like"
        texts["offer"] = f"{offer['discount']:.0%} off {on}"
    texts["plain"] = f"New for you: {title}"
    return {kind: _short(text) for kind, text in texts.items()}


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_SUBJECT_LENGTH else text[: MAX_SUBJECT_LENGTH - 3].rstrip() + "..."
