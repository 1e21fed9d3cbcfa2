"""What touches earn: a Markov chain of channels, and what a campaign caused by who was kept out of it.

Rule-based credit (first, last, ...) is SQL, in the mart `attribution_daily`. Here is what SQL is bad at. All
functions are pure; instants are microseconds since 1970, amounts in the shop's currency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from training.errors import NotEnoughData

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

START, BOUGHT, LEFT = "(start)", "(bought)", "(left)"
DAY_MICROS = 86_400_000_000
FEWEST_IN_ARM = 2


@dataclass(frozen=True)
class Chain:
    """How journeys go on: `counts[i, j]` steps from state i to state j.

    States are the start, then `channels`, then bought and left, which end a journey.
    """

    channels: tuple[str, ...]
    counts: Floats


def count_transitions(touches: pd.DataFrame, orders: pd.DataFrame, window_days: int) -> Chain:
    """The chain of journeys: a visitor's touches until an order, or until none follows within the window.

    `touches` has visitor_id, channel and at; `orders` has visitor_id and at. An order without a touch in the
    window before it is no journey. The same channel twice in a row is one step. At one instant a touch comes
    before an order.
    """
    channels = tuple(sorted(touches["channel"].unique()))
    bought = len(channels) + 1
    visitors = pd.factorize(pd.concat([touches["visitor_id"], orders["visitor_id"]]))[0]
    codes = 1 + np.searchsorted(np.array(channels, dtype=object), touches["channel"].to_numpy(dtype=object))
    state = np.concatenate([codes, np.full(len(orders), bought)]).astype(np.int64)
    at = np.concatenate([touches["at"].to_numpy(np.int64), orders["at"].to_numpy(np.int64)])
    order = np.lexsort((state, at, visitors))
    visitors, state, at = visitors[order], state[order], at[order]
    return Chain(channels, _steps(visitors, state, at, bought, window_days * DAY_MICROS))


def _steps(visitors: Ints, state: Ints, at: Ints, bought: int, window: int) -> Floats:
    """Counts of all transitions of acts in the order of visitor and time."""
    counts = np.zeros((bought + 2, bought + 2))
    if len(state) == 0:
        return counts
    follows = np.zeros(len(state), dtype=bool)
    follows[1:] = (visitors[1:] == visitors[:-1]) & (at[1:] - at[:-1] <= window) & (state[:-1] != bought)
    goes_on = np.append(follows[1:], False)
    is_touch = state != bought
    np.add.at(counts, (0, state[is_touch & ~follows]), 1.0)
    changes = follows & (state != np.roll(state, 1))
    np.add.at(counts, (np.roll(state, 1)[changes], state[changes]), 1.0)
    np.add.at(counts, (state[is_touch & ~goes_on], bought + 1), 1.0)
    return counts


def conversion_probability(counts: Floats) -> float:
    """The probability that a journey from the start (row 0) ends in the last state but one."""
    size = len(counts) - 2
    totals = counts[:size].sum(axis=1)
    chances = counts[:size] / np.where(totals > 0, totals, 1.0)[:, None]
    moves, ends = chances[:, :size], chances[:, size]
    # A state that nothing leaves is never entered either: its row is zero, and so is its probability.
    return float(np.linalg.solve(np.eye(size) - moves, ends)[0])


def removal_effects(chain: Chain) -> dict[str, float]:
    """Channel -> the share of conversions that would be lost if whoever comes to it left instead.

    First-order Markov attribution: Anderl, Becker, von Wangenheim, Schumann (IJRM 2016). Raises NotEnoughData
    where no journey converts.
    """
    whole = conversion_probability(chain.counts)
    if whole <= 0:
        raise NotEnoughData("journeys that end in an order", 0, 1, "track what brings visitors, or ask later")
    effects = {}
    for number, channel in enumerate(chain.channels, start=1):
        counts = chain.counts.copy()
        counts[:, -1] += counts[:, number]
        counts[:, number] = 0.0
        counts[number, :] = 0.0
        effects[channel] = 1.0 - conversion_probability(counts) / whole
    return effects


def shares(effects: Mapping[str, float]) -> dict[str, float]:
    """Removal effects as shares that add up to one; all zero if no channel matters."""
    total = sum(effects.values())
    return {channel: effect / total if total > 0 else 0.0 for channel, effect in effects.items()}


@dataclass(frozen=True)
class Arm:
    """Sums over the customers of one arm: what they spent after, and before (prior), and squares."""

    users: int
    revenue: float
    revenue_squared: float
    prior: float
    prior_squared: float
    prior_by_revenue: float


@dataclass(frozen=True)
class Effect:
    """What a campaign earned in all over what its customers spend anyway, and the variance of that."""

    incremental_revenue: float
    variance: float


def incremental_revenue(treated: Arm, held_out: Arm) -> Effect:
    """Mean difference of the arms times the treated, corrected by what both had spent before.

    CUPED (Deng, Xu, Kohavi, Walker; WSDM 2013) with the coefficient of both arms together. Raises
    NotEnoughData for arms of fewer than two customers.
    """
    for name, arm in (("treated", treated), ("held out", held_out)):
        if arm.users < FEWEST_IN_ARM:
            raise NotEnoughData(
                f"customers {name}", arm.users, FEWEST_IN_ARM, "hold a share of the audience out"
            )
    arms = (treated, held_out)
    covariance = sum(arm.prior_by_revenue - arm.prior * arm.revenue / arm.users for arm in arms)
    spread = sum(arm.prior_squared - arm.prior**2 / arm.users for arm in arms)
    theta = covariance / spread if spread > 0 else 0.0
    means = [(arm.revenue - theta * arm.prior) / arm.users for arm in arms]
    variance = sum(_variance_of_mean(arm, theta) for arm in arms)
    return Effect((means[0] - means[1]) * treated.users, variance * treated.users**2)


def _variance_of_mean(arm: Arm, theta: float) -> float:
    squares = arm.revenue_squared - 2 * theta * arm.prior_by_revenue + theta**2 * arm.prior_squared
    total = arm.revenue - theta * arm.prior
    return float(max(squares - total**2 / arm.users, 0.0) / (arm.users - 1) / arm.users)


def added(effects: Sequence[Effect]) -> Effect:
    """The effects of campaigns that were dealt independently, together."""
    return Effect(sum(each.incremental_revenue for each in effects), sum(each.variance for each in effects))
