"""What somebody asks to be recommended, and by which names they ask for weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.decisions.candidates import COLLABORATIVE, CONTENT, HYBRID
from serving.decisions.catalogue import CatalogueIndex
from serving.decisions.receipt import KIND
from serving.decisions.rules import Actions
from serving.decisions.slots import PERSONALIZED_PICKS
from serving.people.permissions import NO_SIGNALS, Signals

ALGORITHM_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "collaborative": {COLLABORATIVE: 1.0},
    "collaborative_filtering": {COLLABORATIVE: 1.0},
    "content": {CONTENT: 1.0},
    "content_based": {CONTENT: 1.0},
    "content_based_enhanced": {CONTENT: 1.0},
    "hybrid": {HYBRID: 1.0},
    "hybrid_neural": {HYBRID: 1.0},
}
WEIGHT_NAMES: Mapping[str, str] = {name: next(iter(weights)) for name, weights in ALGORITHM_WEIGHTS.items()}


@dataclass(slots=True)
class RecommendAsk:
    """What somebody asks to be recommended.

    `slots` asks for a page instead of a list: slot -> how many items. `rules` are the request's own switches
    and filters, which add to the rules in force and never take one away. `reuse` accepts a stored answer.
    `attributes` are those of the context that rules may look at, such as device.
    """

    visitor_id: str | None
    limit: int = 10
    exclude_seen: bool = False
    page: str | None = None
    current_item: str | None = None
    category: str | None = None
    slots: Mapping[str, int] | None = None
    weights: Mapping[str, float] | None = None
    rules: Actions | None = None
    signals: Signals = NO_SIGNALS
    kind: str = KIND
    reuse: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)


def picks_of(ask: RecommendAsk) -> int:
    """How many places of the page are personalized picks."""
    return ask.slots.get(PERSONALIZED_PICKS, 0) if ask.slots else 0


def page_category(ask: RecommendAsk, index: CatalogueIndex) -> str | None:
    """The category that the page is about: the one named, else that of the item it shows."""
    if ask.category is not None:
        return ask.category
    position = index.position.get(ask.current_item) if ask.current_item is not None else None
    return None if position is None else index.category[position]


def weights_of(ask: RecommendAsk, values: Mapping[str, Any]) -> dict[str, float] | None:
    """The weights of the request, else those of an experiment; None for the defaults."""
    if ask.weights is not None:
        return dict(ask.weights)
    named = ALGORITHM_WEIGHTS.get(str(values.get("recommendations.algorithm")))
    if named is not None:
        return dict(named)
    given = values.get("recommendations.weights")
    if not isinstance(given, Mapping):
        return None
    found = {
        WEIGHT_NAMES[name]: float(value)
        for name, value in given.items()
        if name in WEIGHT_NAMES and isinstance(value, int | float) and value >= 0
    }
    return found if sum(found.values()) > 0 else None
