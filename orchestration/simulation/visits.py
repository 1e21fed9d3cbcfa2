"""Visits: who comes when, what is looked at, and the funnel from look to cart to purchase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestration.simulation.calendar import Calendar, Floats, Ints, hours
from orchestration.simulation.catalogue import Bools, Catalogue
from orchestration.simulation.choice import Shelf, cart_rate, look, units
from orchestration.simulation.happenings import NOBODY, NOTHING, Happenings, happenings, joined
from orchestration.simulation.population import Population

EVENTS_PER_VISIT = 8.75
"""About; sets how many visits make the wanted number of events."""

ANONYMOUS_SHARE = 0.12
STRANGER_SHARE = 0.06
VIEW_STOP = 0.27
MAX_VIEWS = 15
NEIGHBOUR_SHARE = 0.22
COMPLEMENT_SHARE = 0.08
REVISIT_SHARE = 0.15
MEDIAN_GAP_SECONDS = 22.0
MAX_GAP_SECONDS = 900.0


@dataclass(frozen=True)
class Visits:
    """One entry per visit; ``wanted`` is the item it was made for, -1 for none."""

    session: Ints
    persona: Ints
    is_known: Bools
    at: Floats
    wanted: Ints

    @property
    def count(self) -> int:
        return len(self.persona)


@dataclass(frozen=True)
class Memory:
    """What a customer brings from one block to the next."""

    last_item: Ints
    last_visit: Floats


def draw_visits(
    rng: np.random.Generator,
    calendar: Calendar,
    population: Population,
    rate: Floats,
    first: int,
    last: int,
    due: tuple[Ints, Ints, Floats],
    next_session: int,
) -> Visits:
    """The visits of the days [first, last): by each one's rate and the calendar, and those for refills.

    ``rate`` is visits per weighted day; ``due`` is (persona, item, at) of used-up consumables. The number of
    a customer's visits is Poisson in the busyness of the time for which he is there and alive.
    """
    edges = np.concatenate([[0.0], np.cumsum(calendar.weights(first, last))])
    grid = np.arange(first, last + 1, dtype=np.float64)
    begin = np.interp(np.clip(population.joined, first, last), grid, edges)
    end = np.interp(np.clip(population.alive_until, first, last), grid, edges)
    busy = np.maximum(end - begin, 0.0)
    own = np.repeat(np.arange(population.count), rng.poisson(rate * busy))
    strangers = rng.integers(population.count, size=rng.poisson(STRANGER_SHARE * len(own)))
    place = np.concatenate(
        [begin[own] + rng.random(len(own)) * busy[own], rng.random(len(strangers)) * edges[-1]]
    )
    persona = np.concatenate([own, strangers])
    at = np.floor(np.interp(place, edges, grid - 1e-9)) + hours(rng, population.rhythm[persona])
    at = np.where(at < first, at + 1.0, at)
    is_there = (at >= population.joined[persona]) & (at < population.alive_until[persona])
    is_there[len(own) :] = True
    is_known = (rng.random(len(persona)) >= ANONYMOUS_SHARE) & (np.arange(len(persona)) < len(own))
    wanted = np.full(len(persona), NOTHING)
    kept = is_there & (at < last)
    refill_persona, refill_item, refill_at = due
    all_at = np.concatenate([at[kept], refill_at])
    order = np.argsort(all_at, kind="stable")
    return Visits(
        session=next_session + np.arange(len(order)),
        persona=np.concatenate([persona[kept], refill_persona])[order],
        is_known=np.concatenate([is_known[kept], np.ones(len(refill_at), dtype=bool)])[order],
        at=all_at[order],
        wanted=np.concatenate([wanted[kept], refill_item])[order],
    )


def live(
    rng: np.random.Generator,
    catalogue: Catalogue,
    population: Population,
    visits: Visits,
    on: Shelf,
    memory: Memory,
    next_order: int,
) -> Happenings:
    """All events of these visits, each visit in the order of its steps, lines of one order at one instant."""
    size = np.minimum(rng.geometric(VIEW_STOP, size=visits.count), MAX_VIEWS)
    visit = np.repeat(np.arange(visits.count), size)
    step = np.arange(len(visit)) - np.repeat(np.cumsum(size) - size, size)
    item = _items(rng, catalogue, population, visits, on, memory, visit, step)
    day = np.floor(visits.at[visit]).astype(np.int64)
    rate, price = cart_rate(catalogue, population, visits.persona[visit], item, day)
    is_refill = (visits.wanted[visit] == item) & (step == 0)
    in_cart = rng.random(len(visit)) < np.where(is_refill & (rate > 0), 0.85, rate)
    in_cart &= _first_of_pair(visit, item, in_cart)
    quantity = units(rng, catalogue, item)
    removed = in_cart & (rng.random(len(visit)) < 0.06)
    has_line = np.zeros(visits.count, dtype=bool)
    has_line[visit[in_cart & ~removed]] = True
    chance = np.where(visits.wanted >= 0, 0.9, population.checkout_rate[visits.persona])
    is_started = has_line & (rng.random(visits.count) < np.sqrt(chance))
    is_bought = is_started & (rng.random(visits.count) < np.sqrt(chance))
    bought = in_cart & ~removed & is_bought[visit]
    order = np.full(visits.count, NOTHING)
    order[is_bought] = next_order + np.arange(int(is_bought.sum()))
    is_left = has_line & ~is_bought & (rng.random(visits.count) < 0.6)

    every = np.arange(visits.count)
    plan: list[tuple[str, Ints, Floats | float, dict[str, Ints | Floats]]] = [
        *_arrival(rng, catalogue, visits, every, item[np.cumsum(size) - size]),
        ("product_view", visit, 10.0 + step, {"item": item, "price": price}),
        *_asides(rng, visit, step, item),
        (
            "add_to_cart",
            visit[in_cart],
            10.5 + step[in_cart],
            {"item": item[in_cart], "quantity": quantity[in_cart], "price": price[in_cart]},
        ),
        (
            "remove_from_cart",
            visit[removed],
            10.7 + step[removed],
            {"item": item[removed], "quantity": quantity[removed]},
        ),
        ("cart_view", every[has_line & (rng.random(visits.count) < 0.7)], 100.0, {}),
        ("checkout_start", every[is_started], 101.0, {}),
        (
            "purchase",
            visit[bought],
            102.0 + 1e-3 * step[bought],
            {
                "item": item[bought],
                "quantity": quantity[bought],
                "price": price[bought],
                "order": order[visit[bought]],
            },
        ),
        ("cart_abandonment", every[is_left], 103.0, {}),
        ("logout", every[visits.is_known & (rng.random(visits.count) < 0.05)], 104.0, {}),
    ]
    return _timed(rng, population, visits, plan)


def _items(
    rng: np.random.Generator,
    catalogue: Catalogue,
    population: Population,
    visits: Visits,
    on: Shelf,
    memory: Memory,
    visit: Ints,
    step: Ints,
) -> Ints:
    """The item of each look: by taste, or near the look before, or its complement, or seen last time."""
    base = look(rng, catalogue, population, visits.persona[visit], on)
    before = np.roll(base, 1)
    way = rng.random(len(visit))
    near = catalogue.neighbours[before, rng.integers(catalogue.neighbours.shape[1], size=len(visit))]
    follows = step > 0
    item = np.where(follows & (way < NEIGHBOUR_SHARE), near, base)
    is_complement = follows & (way > 1 - COMPLEMENT_SHARE)
    item = np.where(is_complement, catalogue.complement[before], item)
    item = np.where(catalogue.launched[item] > visits.at[visit], base, item)
    seen = memory.last_item[visits.persona[visit]]
    again = ~follows & (way < REVISIT_SHARE) & (seen >= 0)
    item = np.where(again, seen, item)
    wanted = visits.wanted[visit]
    return np.asarray(np.where(~follows & (wanted >= 0), wanted, item), dtype=np.int64)


def _first_of_pair(visit: Ints, item: Ints, among: Bools) -> Bools:
    """True for the first look among those marked at an item within a visit: one cart line per product."""
    rows = np.flatnonzero(among)
    pair = visit[rows] * (int(item.max(initial=0)) + 1) + item[rows]
    _, first = np.unique(pair, return_index=True)
    result = np.zeros(len(visit), dtype=bool)
    result[rows[first]] = True
    return result


def _arrival(
    rng: np.random.Generator, catalogue: Catalogue, visits: Visits, every: Ints, first_item: Ints
) -> list[tuple[str, Ints, Floats | float, dict[str, Ints | Floats]]]:
    """Signing in, landing, searching for what is then looked at."""
    chance = rng.random((5, visits.count))
    searched = chance[2] < 0.33
    return [
        ("login", every[visits.is_known & (chance[0] < 0.3)], 0.0, {}),
        ("page_view", every[chance[1] < 0.55], 1.0, {}),
        ("search", every[searched], 2.0, {"query": catalogue.leaf[first_item[searched]]}),
        (
            "category_browse",
            every[chance[3] < 0.3],
            3.0,
            {"query": catalogue.leaf[first_item[chance[3] < 0.3]]},
        ),
        ("filter_applied", every[chance[4] < 0.1], 4.0, {}),
    ]


def _asides(
    rng: np.random.Generator, visit: Ints, step: Ints, item: Ints
) -> list[tuple[str, Ints, Floats | float, dict[str, Ints | Floats]]]:
    chance = rng.random((2, len(visit)))
    wished, shared = chance[0] < 0.03, chance[1] < 0.005
    return [
        ("wishlist_add", visit[wished], 10.2 + step[wished], {"item": item[wished]}),
        ("share", visit[shared], 10.3 + step[shared], {"item": item[shared]}),
    ]


def _timed(
    rng: np.random.Generator,
    population: Population,
    visits: Visits,
    plan: list[tuple[str, Ints, Floats | float, dict[str, Ints | Floats]]],
) -> Happenings:
    """Steps into instants: gaps of seconds to minutes, never near the 1800 s that end a visit."""
    parts = []
    places = []
    for kind, visit, place, values in plan:
        persona = visits.persona[visit]
        device = population.device[persona]
        channel = np.where(device == 0, 0, 1 + (persona + device) % 2)
        parts.append(
            happenings(
                kind,
                visit.astype(np.float64),
                np.where(visits.is_known[visit], persona, NOBODY),
                session=visits.session[visit],
                channel=channel,
                device=device,
                **values,
            )
        )
        places.append(np.broadcast_to(place, (len(visit),)))
    events = joined(parts)
    place = np.concatenate(places)
    order = np.lexsort((place, events.at))
    events, place = events.select(order), place[order]
    visit = events.at.astype(np.int64)
    gaps = np.minimum(MEDIAN_GAP_SECONDS * rng.lognormal(0.0, 0.9, size=len(visit)), MAX_GAP_SECONDS)
    starts = np.flatnonzero(np.diff(visit, prepend=-1))
    same_order = (events.order >= 0) & (events.order == np.roll(events.order, 1))
    gaps[same_order] = 0.0
    gaps[starts] = 0.0
    elapsed = np.cumsum(gaps)
    elapsed -= np.repeat(elapsed[starts], np.diff(np.append(starts, len(visit))))
    return Happenings(**{**vars(events), "at": visits.at[visit] + elapsed / 86_400.0})
