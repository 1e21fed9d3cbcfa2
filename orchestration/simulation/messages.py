"""Messages: a newsletter every second Tuesday, a push message every Friday, and who opens them."""

from __future__ import annotations

import numpy as np

from orchestration.simulation.calendar import Calendar, Floats, Ints
from orchestration.simulation.happenings import CHANNEL_NAMES, Happenings, happenings, joined
from orchestration.simulation.population import Population

SUNSET_DAYS = 60.0
"""The shop stops writing to customers whom it has not seen for so long."""

EMAIL = CHANNEL_NAMES.index("email")
PUSH = CHANNEL_NAMES.index("push")


def draw_messages(
    rng: np.random.Generator,
    calendar: Calendar,
    population: Population,
    last_visit: Floats,
    first: int,
    last: int,
) -> Happenings:
    """The messages for the days [first, last) as if nobody were held out, and what is opened of them."""
    parts = [happenings("email_sent", np.empty(0), np.empty(0, dtype=np.int64))]
    for day in range(first, last):
        weekday = calendar.day_of(day).weekday()
        reachable = (population.joined < day) & (last_visit > day - SUNSET_DAYS)
        if weekday == 1 and (calendar.day_of(day).toordinal() // 7) % 2 == 0:
            parts += _campaign(
                rng, population, np.flatnonzero(reachable & population.is_subscribed), day, "email"
            )
        if weekday == 4:
            has_app = (population.device > 0) & (np.arange(population.count) % 3 == 0)
            parts += _campaign(rng, population, np.flatnonzero(reachable & has_app), day, "push")
    return joined(parts)


def _campaign(
    rng: np.random.Generator, population: Population, to: Ints, day: int, way: str
) -> list[Happenings]:
    sent_at = day + (8.0 + 2.0 * rng.random(len(to))) / 24.0
    opened_at = sent_at + rng.exponential(5.0, len(to)) / 24.0
    rate = population.open_rate[to] * (1.0 if way == "email" else 0.5)
    opens = (rng.random(len(to)) < rate) & (opened_at < population.alive_until[to])
    clicks = opens & (rng.random(len(to)) < 0.22) & (way == "email")
    channel = EMAIL if way == "email" else PUSH
    sent, opened = ("email_sent", "email_open") if way == "email" else ("push_notification", "push_open")
    device = population.device[to]
    columns = {"channel": channel, "campaign": day}
    return [
        happenings(sent, sent_at, to, **columns),
        happenings(opened, opened_at[opens], to[opens], device=device[opens], **columns),
        happenings(
            "email_click", opened_at[clicks] + 20.0 / 86_400.0, to[clicks], device=device[clicks], **columns
        ),
    ]
