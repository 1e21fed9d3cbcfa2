"""Who gets which variant: pure functions of an experiment's definition and a visitor's id.

Every draw is `point(salt, visitor)`: BLAKE2b of `salt:visitor`, 64 bits, as a number in [0, 1). Three salts
keep three questions apart, so that the answer to one says nothing about another:

- `layer:<layer>`: where a visitor stands in a layer. Experiments of one layer hold disjoint ranges of its
  10,000 buckets, so a visitor is in at most one of them; layers are independent of each other.
- `variant:<salt of the experiment>`: which variant, in proportion to the weights. In a bandit, whose weights
  change, each variant has a draw of its own (weighted rendezvous hashing): visitors only leave variants whose
  share falls, for those whose share grows.
- `holdout`: the permanent holdout. The lowest points are in no experiment, and stay the same visitors;
  an experiment that asks for a larger holdout leaves out more of the same order.

Nothing is stored to keep a visitor in their variant: the same definition gives the same answer on every
worker, after every restart, and offline.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

BUCKETS = 10_000
CONTROL = "control"
HOLDOUT_ID = "holdout"
"""What the permanent holdout is called among experiments: it is measured as one."""

FIXED, BANDIT = "fixed", "bandit"
HELD_OUT, INCLUDED = "held_out", "included"
EXPERIMENT = "experiment"
"""Why an answer is not personal though it might be: the visitor is the control of personalization itself."""
HOLDOUT_SALT = "holdout"
AT_LEAST_TWO, AT_MOST = 2, 5

Values = Mapping[str, Any]


def point(salt: str, visitor_id: str) -> float:
    """A number in [0, 1), uniform over visitors, the same for ever for one salt and visitor."""
    digest = blake2b(f"{salt}:{visitor_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm: its share of the experiment's visitors, and what decisions read for them."""

    name: str
    weight: float
    parameters: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of the request for a visitor to take part: an attribute is one of these values."""

    attribute: str
    is_one_of: tuple[str, ...]

    def holds(self, attributes: Values) -> bool:
        """What the request does not say holds for nobody."""
        value = attributes.get(self.attribute)
        return value is not None and str(value) in self.is_one_of


@dataclass(frozen=True, slots=True)
class Experiment:
    """What assignment needs of a definition. `ranges`: its buckets of the layer, [from, to)."""

    experiment_id: str
    version: int
    layer: str
    salt: str
    ranges: tuple[tuple[int, int], ...]
    variants: tuple[Variant, ...]
    segment: str | None = None
    conditions: tuple[Condition, ...] = ()
    holdout_share: float = 0.0
    start: datetime | None = None
    end: datetime | None = None
    mode: str = FIXED

    @property
    def keys(self) -> frozenset[str]:
        """Every parameter that some variant sets."""
        return frozenset(key for variant in self.variants for key in variant.parameters)

    def share_of(self, name: str) -> float:
        """The probability with which a visitor of the experiment gets this variant."""
        weights = {variant.name: variant.weight for variant in self.variants}
        return weights[name] / sum(weights.values())

    def is_running(self, at: datetime) -> bool:
        """From `start` on and before `end`."""
        return (self.start is None or at >= self.start) and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a decision reads: values by key, and the arms that they come from."""

    values: Values = field(default_factory=dict)
    arms: Mapping[str, str] = field(default_factory=dict)


NOTHING = Parameters()


def is_held_out(visitor_id: str, share: float) -> bool:
    """Whether the permanent holdout of this share holds the visitor."""
    return share > 0 and point(HOLDOUT_SALT, visitor_id) < share


def stands_in(experiment: Experiment, visitor_id: str) -> bool:
    """Whether the visitor's place in the layer belongs to the experiment."""
    bucket = int(point(f"layer:{experiment.layer}", visitor_id) * BUCKETS)
    return any(low <= bucket < high for low, high in experiment.ranges)


def variant_of(experiment: Experiment, visitor_id: str) -> Variant:
    """The visitor's variant, whether or not they take part."""
    if experiment.mode == BANDIT:
        return _by_own_draws(experiment, visitor_id)
    total = sum(variant.weight for variant in experiment.variants)
    place = point(f"variant:{experiment.salt}", visitor_id) * total
    for variant in experiment.variants:
        place -= variant.weight
        if place < 0:
            return variant
    return next(variant for variant in reversed(experiment.variants) if variant.weight > 0)


def _by_own_draws(experiment: Experiment, visitor_id: str) -> Variant:
    """The variant of the largest log(draw) / weight: each wins with the probability of its share."""
    weighed = [variant for variant in experiment.variants if variant.weight > 0]

    def score(variant: Variant) -> float:
        draw = 1 - point(f"variant:{experiment.salt}:{variant.name}", visitor_id)
        return math.log(draw) / variant.weight

    return max(weighed, key=score)


def why_not(
    experiment: Experiment,
    visitor_id: str,
    attributes: Values,
    is_in_segment: Callable[[str, str], bool],
    holdout_share: float = 0.0,
) -> str | None:
    """Why a visitor takes no part in an experiment that runs; None if they do."""
    if is_held_out(visitor_id, max(holdout_share, experiment.holdout_share)):
        return "holdout"
    if not stands_in(experiment, visitor_id):
        return "outside_the_share"
    if experiment.segment is not None and not is_in_segment(experiment.segment, visitor_id):
        return "outside_the_segment"
    if not all(condition.holds(attributes) for condition in experiment.conditions):
        return "conditions_do_not_hold"
    return None


def free_ranges(taken: Sequence[tuple[int, int]], share: float) -> tuple[tuple[int, int], ...] | None:
    """Buckets for a new experiment of a layer, lowest first; None if less than `share` is left."""
    wanted = round(share * BUCKETS)
    found: list[tuple[int, int]] = []
    low = 0
    for start, end in [*sorted(taken), (BUCKETS, BUCKETS)]:
        if start > low and wanted > 0:
            found.append((low, min(start, low + wanted)))
            wanted -= found[-1][1] - low
        low = max(low, end)
    return None if wanted > 0 else tuple(found)


def free_share(taken: Sequence[tuple[int, int]]) -> float:
    """What is left of a layer."""
    return 1 - sum(end - start for start, end in taken) / BUCKETS
