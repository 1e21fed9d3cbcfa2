"""What is written down of a recommendation, and how it is computed again from that.

The inputs of a recommendation, all JSON values:

    id             the decision's id, seed of its exploration
    limit, slots   how many items; or how many of each slot
    page, current  the page and the item that it shows; page_category: the category that it is about
    rung           live, batch, segment or popular: what the answer rests on
    stored         the batch's list as far as it was looked at: items, scores, kinds and algorithms,
                   and the release whose models ranked them
    fold_in        items and scores of the model for the visitor's history
    touched        [item, pull of similar items, pull of items bought together], latest first
    categories     categories looked at, latest first
    session        categories of this session; how often each item was viewed in it
    bought_now     items bought since the batch
    seen, brands   what was bought, and the share of each brand in it, where a rule asks for that
    mix            the share of each category in what was bought and touched, where a rule calibrates to it
    segment        the visitor's value segment, where it was read
    weights        of the blend, where they differ from the defaults
    explore        the probability that a place is explored; diversity: the strength of the penalty
    rules          the rules that hold, whole; rules_version: the version that they come from
    arms           experiment -> variant
    ages           seconds: how old each kind of features was
"""

from collections.abc import Mapping
from typing import Any

import orjson

from serving.decisions.catalogue import CatalogueIndex
from serving.decisions.ranking import MOST_REPORTED, Outcome, decide
from serving.decisions.rules import Effect, compile_rules, held_from

KIND = "recommendations"
MOST_COMPILED = 100


def output_of(outcome: Outcome, index: CatalogueIndex, rung: str) -> dict[str, Any]:
    """The part of the answer that a receipt keeps."""
    item_ids = index.item_ids
    return {
        "rung": rung,
        "items": [
            {
                "item_id": item_ids[each.position],
                "position": place,
                "score": each.score,
                "algorithm": each.algorithm,
                "propensity": each.propensity,
                "slot": each.slot,
            }
            for place, each in enumerate(outcome.shown, 1)
        ],
        "removed": {
            name: {
                "count": len(positions),
                "items": [item_ids[position] for position in positions[:MOST_REPORTED]],
            }
            for name, positions in outcome.removed.items()
        },
    }


def recompute(inputs: Mapping[str, Any], index: CatalogueIndex) -> dict[str, Any]:
    """The output of a receipt's inputs on the release that they name."""
    effect = effect_of(orjson.dumps(inputs["rules"]), index)
    return output_of(decide(inputs, index, effect), index, inputs["rung"])


def effect_of(rules: bytes, index: CatalogueIndex) -> Effect:
    """The joint effect of rules in JSON form, compiled once for each release."""
    effects: dict[bytes, Effect] = index.compiled
    effect = effects.get(rules)
    if effect is None:
        effect = compile_rules(held_from(orjson.loads(rules)), index)
        if len(effects) >= MOST_COMPILED:
            effects.clear()
        effects[rules] = effect
    return effect
