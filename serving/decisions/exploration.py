"""Exploration over the tail, with propensities that are exact.

**The policy.** Let R be the ranked list, E its explorable places (those not pinned) and T the tail: the next
items by relevance, in no order. Each place of E is explored independently with probability epsilon. The
explored places, first to last, get the items of a uniformly random permutation of T. Where T has fewer items
than E has places, only the last |T| places of E are explorable.

**The propensities.** The number of explored places before a place p depends on independent draws only, and
every entry of a uniform permutation is uniform over T whatever its index. So, given the context,

    P(item at p is R[p])  = 1 - epsilon        P(item at p is t) = epsilon / |T|  for each t of T

and 1 for a place that is not explorable. At each place they sum to 1. Drawing without replacement keeps an
item from appearing twice and leaves these marginals as they are (exchangeability).

**The seed** is the decision's id, so that the same inputs give the same list again.
"""

from collections.abc import Collection, Sequence
from hashlib import blake2b

DEFAULT_EPSILON = 0.05
TAIL = 20
_WORD = 2**32


def explore(
    ranked: Sequence[int], tail: Sequence[int], epsilon: float, seed: str, fixed: Collection[int] = ()
) -> tuple[list[int], list[float]]:
    """The list to show and the propensity of each place; places (from 0) in `fixed` stay."""
    shown = list(ranked)
    propensities = [1.0] * len(shown)
    if epsilon <= 0 or not tail:
        return shown, propensities
    places = [place for place in range(len(shown)) if place not in fixed]
    places = places[-len(tail) :]
    stays, drawn = round(1.0 - epsilon, 9), round(epsilon / len(tail), 9)
    threshold = int(epsilon * _WORD)
    numbers = draws(seed, len(places))
    remaining: list[int] | None = None
    for place, number in zip(places, numbers, strict=True):
        propensities[place] = stays
        if number < threshold:
            if remaining is None:
                remaining = list(tail)
                swaps = iter(draws(f"{seed}/tail", len(places)))
            # One step of a Fisher-Yates shuffle: each explored place takes one of those not yet drawn.
            shown[place] = remaining.pop(next(swaps) * len(remaining) // _WORD)
            propensities[place] = drawn
    return shown, propensities


def draws(seed: str, count: int) -> list[int]:
    """`count` whole numbers, uniform below 2**32, decided by the seed."""
    numbers: list[int] = []
    block = 0
    while len(numbers) < count:
        digest = blake2b(f"{seed}/{block}".encode()).digest()
        numbers += memoryview(digest).cast("I").tolist()
        block += 1
    return numbers[:count]
