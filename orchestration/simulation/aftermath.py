"""What follows a purchase days later: returns, ratings, reviews, and used-up consumables.

Each follow-up is decided when the purchase happens and waits in a queue until its day; a customer who has
died by then does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestration.simulation.calendar import Floats, Ints
from orchestration.simulation.catalogue import Catalogue
from orchestration.simulation.happenings import KIND, Happenings, happenings, joined
from orchestration.simulation.population import Population

RATING_SHARE = 0.05
REVIEW_SHARE = 0.02
REFILL_SHARE = 0.5


@dataclass(frozen=True)
class Waiting:
    """Decided, not yet happened: follow-up events, and refills as (persona, item, at)."""

    events: Happenings
    refill_persona: Ints
    refill_item: Ints
    refill_at: Floats


def nothing_waits() -> Waiting:
    none = np.empty(0, dtype=np.int64)
    return Waiting(happenings("return", np.empty(0), none), none, none, np.empty(0))


def follow_up(
    rng: np.random.Generator,
    catalogue: Catalogue,
    population: Population,
    bought: Happenings,
    waiting: Waiting,
) -> Waiting:
    """The queue with what follows from these purchases."""
    bought = bought.select(bought.kind == KIND["purchase"])
    known = bought.user >= 0
    chance = rng.random((4, bought.count))
    back = bought.select(chance[0] < catalogue.return_rate[bought.item])
    whole = rng.random(back.count) < 0.7
    returned = happenings(
        "return",
        back.at + rng.uniform(2, 21, back.count),
        back.user,
        item=back.item,
        order=back.order,
        quantity=np.where(whole, back.quantity, 1.0),
        price=back.price,
        channel=back.channel,
        device=back.device,
    )
    rated = bought.select(known & (chance[1] < RATING_SHARE))
    reviewed = bought.select(known & (chance[2] < REVIEW_SHARE))
    events = joined(
        [waiting.events, returned, _opinion(rng, "rating", rated), _opinion(rng, "review", reviewed)]
    )
    used = bought.select(known & (catalogue.cycle_days[bought.item] > 0) & (chance[3] < REFILL_SHARE))
    cycle = catalogue.cycle_days[used.item] * np.sqrt(used.quantity) * rng.lognormal(0.0, 0.25, used.count)
    return Waiting(
        events.select((events.user < 0) | (events.at < population.alive_until[events.user])),
        np.concatenate([waiting.refill_persona, used.user]),
        np.concatenate([waiting.refill_item, used.item]),
        np.concatenate([waiting.refill_at, used.at + cycle]),
    )


def due_events(waiting: Waiting, last: float) -> tuple[Happenings, Waiting]:
    """(follow-ups before ``last``, the queue without them)."""
    is_due = waiting.events.at < last
    left = Waiting(
        waiting.events.select(~is_due), waiting.refill_persona, waiting.refill_item, waiting.refill_at
    )
    return waiting.events.select(is_due), left


def due_refills(
    waiting: Waiting, population: Population, first: float, last: float
) -> tuple[tuple[Ints, Ints, Floats], Waiting]:
    """((persona, item, at) of refills in [first, last) by the living, the queue without what is past)."""
    at = np.maximum(waiting.refill_at, first)
    is_due = at < last
    persona, item, when = waiting.refill_persona[is_due], waiting.refill_item[is_due], at[is_due]
    alive = when < population.alive_until[persona]
    left = Waiting(
        waiting.events,
        waiting.refill_persona[~is_due],
        waiting.refill_item[~is_due],
        waiting.refill_at[~is_due],
    )
    return (persona[alive], item[alive], when[alive]), left


def _opinion(rng: np.random.Generator, kind: str, about: Happenings) -> Happenings:
    stars = rng.choice([1, 2, 3, 4, 5], size=about.count, p=[0.05, 0.07, 0.15, 0.33, 0.4])
    at = about.at + rng.uniform(3, 15, about.count)
    return happenings(
        kind, at, about.user, item=about.item, channel=about.channel, device=about.device, stars=stars
    )
