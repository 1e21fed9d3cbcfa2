"""When customers react to a message, and so how much the orders of each day after it tell of what it caused.

The difference of two arms over the week after a message is right on average and wide: most orders of a week
have nothing to do with the message. Visits are many more than orders and tell on which days it acts. Taken
that a visit that a message causes is worth the same on any of these days, what it caused is that worth times
the visits it caused, and the worth is told best by the days with many such visits: two-stage least squares,
with the arm on each stretch of days as instruments for visits (Angrist, Imbens; JASA 1995).

Where a channel's own visits are too few to tell (first-stage F below 10: Staiger, Stock; Econometrica 1997)
the days count as they do for all channels together; where those are too few as well, every day counts alike.

Arrays have one element per stretch of days; amounts are in the shop's currency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

FEWEST_F = 10.0


@dataclass(frozen=True)
class ArmDays:
    """Sums over the customers of one arm, and of squares: days with a visit, and revenue."""

    users: int
    visits: Floats
    visits_squared: Floats
    revenue: Floats
    revenue_squared: Floats


@dataclass(frozen=True)
class CausedDays:
    """Days with a visit, and revenue, that messages caused, and the variances of both."""

    visits: Floats
    visits_variance: Floats
    revenue: Floats
    revenue_variance: Floats

    @property
    def first_stage_f(self) -> float:
        """How clearly the arms differ in visits: about 1 where they do not at all."""
        known = self.visits_variance > 0
        squares = self.visits[known] ** 2 / self.visits_variance[known]
        return float(squares.mean()) if known.any() else 0.0


@dataclass(frozen=True)
class Counting:
    """A customer's revenue for comparing arms: `revenue @ orders + visits @ days_visited`."""

    orders: Floats
    visits: Floats


def caused_days(treated: ArmDays, held_out: ArmDays) -> CausedDays:
    """Mean differences times the treated; both arms have two customers or more."""
    visits = _difference(
        (treated.users, treated.visits, treated.visits_squared),
        (held_out.users, held_out.visits, held_out.visits_squared),
    )
    revenue = _difference(
        (treated.users, treated.revenue, treated.revenue_squared),
        (held_out.users, held_out.revenue, held_out.revenue_squared),
    )
    return CausedDays(*visits, *revenue)


def _difference(
    treated: tuple[int, Floats, Floats], held_out: tuple[int, Floats, Floats]
) -> tuple[Floats, Floats]:
    users = treated[0]
    means = [total / count for count, total, _ in (treated, held_out)]
    variances = [
        np.maximum(squares - total**2 / count, 0.0) / (count - 1) / count
        for count, total, squares in (treated, held_out)
    ]
    return (means[0] - means[1]) * users, (variances[0] + variances[1]) * users**2


def together(parts: Sequence[CausedDays]) -> CausedDays:
    """What campaigns that were dealt independently caused in all; at least one."""
    names = ("visits", "visits_variance", "revenue", "revenue_variance")
    return CausedDays(*(np.sum([getattr(part, name) for part in parts], axis=0) for name in names))


def countings(channels: Mapping[str, CausedDays]) -> dict[str, Counting]:
    """Channel -> how its customers' revenue is counted."""
    if not channels:
        return {}
    everything = together(list(channels.values()))
    return {channel: _counting(own, everything) for channel, own in channels.items()}


def evenly(stretches: int) -> Counting:
    """Every order counts as one, no visit does: the plain difference of arms."""
    return Counting(np.ones(stretches), np.zeros(stretches))


def _counting(own: CausedDays, everything: CausedDays) -> Counting:
    known = own.revenue_variance > 0
    precision = np.where(known, 1.0 / np.where(known, own.revenue_variance, 1.0), 0.0)
    guide = own if own.first_stage_f >= FEWEST_F else everything
    strength = float((guide.visits**2 * precision).sum())
    if guide.first_stage_f < FEWEST_F or strength == 0:
        return evenly(len(own.visits))
    orders = guide.visits.sum() * guide.visits * precision / strength
    if guide is everything:
        return Counting(orders, np.zeros_like(orders))
    # The sum of `orders * caused revenue` depends on the caused visits, which are estimates as well. To first
    # order that is a customer's visits times these; over all campaigns of the channel they cancel.
    worth = float((guide.visits * own.revenue * precision).sum()) / strength
    return Counting(orders, worth * (1.0 - orders))
