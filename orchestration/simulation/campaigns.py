"""Campaigns with a known effect: who is held out of each, and the visits that its messages cause.

A share of each audience, drawn anew for every campaign, gets no message. Who opens one may come to the shop
because of it, who follows a link does: visits that are added to the world, so that what they bring is exactly
what the campaign caused. Everything else in the world is as it would be without campaigns; a caused visit
leaves no trace in it (no return, no rating, no memory).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.simulation.calendar import Calendar, Floats, Ints
from orchestration.simulation.catalogue import Bools, Catalogue
from orchestration.simulation.choice import Shelf
from orchestration.simulation.drops import TRAFFIC, campaign_name
from orchestration.simulation.happenings import KIND, NOTHING, Happenings
from orchestration.simulation.messages import EMAIL, PUSH
from orchestration.simulation.population import Population
from orchestration.simulation.visits import Memory, Visits, live

HOLDOUT_SHARE = 0.2
VISIT_SHARE = {EMAIL: 0.35, PUSH: 0.08}
"""Of those who open a message and follow no link, the share that comes to the shop because of it."""
MEAN_DELAY_DAYS = 0.5
CLICK_SECONDS = 30.0
CAUSED = 1_000_000_000
"""Sessions and orders that campaigns cause are numbered from here, so that all others keep their numbers."""

SENT = [KIND["email_sent"], KIND["push_notification"]]
OPENED = [KIND["email_open"], KIND["push_open"]]

TRUTH_SCHEMA = pa.schema(
    [
        ("campaign_id", pa.string()),
        ("channel", pa.string()),
        ("day", pa.date32()),
        ("treated_users", pa.int64()),
        ("held_out_users", pa.int64()),
        ("caused_visits", pa.int64()),
        ("caused_revenue", pa.float64()),
    ]
)


@dataclass
class CampaignTruth:
    """A row for each campaign: customers by arm, visits and revenue that it caused."""

    rows: list[dict[str, object]] = field(default_factory=list)

    @property
    def revenue(self) -> float:
        """What all campaigns caused."""
        return float(sum(float(str(row["caused_revenue"])) for row in self.rows))

    def write(self, path: Path) -> None:
        pq.write_table(pa.Table.from_pylist(self.rows, TRUTH_SCHEMA), path)


def hold_out(rng: np.random.Generator, messages: Happenings, users: int) -> Happenings:
    """The messages with a share of each audience held out: they get, open and follow nothing."""
    pair = _pair(messages, users)
    is_sent = np.isin(messages.kind, SENT)
    is_held = np.zeros(messages.count, dtype=bool)
    is_held[is_sent] = rng.random(int(is_sent.sum())) < HOLDOUT_SHARE
    is_answer = ~is_sent & np.isin(pair, pair[is_held])
    kind = np.where(is_held, KIND["campaign_holdout"], messages.kind)
    return replace(messages, kind=kind).select(~is_answer)


def caused_visits(
    rng: np.random.Generator,
    calendar: Calendar,
    catalogue: Catalogue,
    population: Population,
    messages: Happenings,
    on: Shelf,
    memory: Memory,
    first: int,
    truth: CampaignTruth,
) -> Happenings:
    """All events of the visits that these messages cause; adds to the truth what they bring.

    ``first`` is the first day of the block, in which no message is older.
    """
    clicked = messages.select(messages.kind == KIND["email_click"])
    opened = messages.select(np.isin(messages.kind, OPENED))
    chance = np.where(opened.channel == PUSH, VISIT_SHARE[PUSH], VISIT_SHARE[EMAIL])
    follows = np.isin(_pair(opened, population.count), _pair(clicked, population.count))
    opened = opened.select(~follows & (rng.random(opened.count) < chance))
    at = np.concatenate(
        [
            clicked.at + CLICK_SECONDS / 86_400.0,
            opened.at + rng.exponential(MEAN_DELAY_DAYS, opened.count),
        ]
    )
    persona = np.concatenate([clicked.user, opened.user])
    campaign = np.concatenate([clicked.campaign, opened.campaign])
    is_push = np.concatenate([clicked.channel, opened.channel]) == PUSH
    rows = np.flatnonzero((at < population.alive_until[persona]) & (at < calendar.days))
    rows = rows[np.argsort(at[rows], kind="stable")]
    made = Visits(
        session=_sessions(is_push[rows], CAUSED + 10 * first * population.count),
        persona=persona[rows],
        is_known=np.ones(len(rows), dtype=bool),
        at=at[rows],
        wanted=np.full(len(rows), NOTHING),
    )
    happened = live(rng, catalogue, population, made, on, memory, CAUSED + first * population.count)
    _note(calendar, messages, made, campaign[rows], is_push[rows], happened, truth)
    return happened


def _pair(messages: Happenings, users: int) -> Ints:
    """A number for each customer of each campaign."""
    return np.asarray(
        (2 * messages.campaign + (messages.channel == PUSH)) * users + messages.user, dtype=np.int64
    )


def _sessions(is_push: Bools, start: int) -> Ints:
    """Ascending numbers whose page views come from the campaign; ``start`` is a multiple of 5.

    A session's source is number ``7 * session % 20 % 5`` of TRAFFIC, so 3 times a source's number gives it.
    """
    source = np.where(is_push, TRAFFIC.index("direct"), TRAFFIC.index("email_campaign"))
    return np.asarray(start + 5 * np.arange(len(is_push)) + 3 * source % 5, dtype=np.int64)


def _note(
    calendar: Calendar,
    messages: Happenings,
    visits: Visits,
    campaign: Ints,
    is_push: Bools,
    happened: Happenings,
    truth: CampaignTruth,
) -> None:
    bought = happened.select(happened.kind == KIND["purchase"])
    revenue: Floats = np.zeros(visits.count)
    np.add.at(revenue, np.searchsorted(visits.session, bought.session), bought.price * bought.quantity)
    is_sent = np.isin(messages.kind, SENT)
    for way, channel in (("email", EMAIL), ("push", PUSH)):
        for day in np.unique(messages.campaign[is_sent & (messages.channel == channel)]):
            of_campaign = (messages.campaign == day) & (messages.channel == channel)
            own = (campaign == day) & (is_push == (channel == PUSH))
            truth.rows.append(
                {
                    "campaign_id": campaign_name(way, calendar.day_of(int(day))),
                    "channel": way,
                    "day": calendar.day_of(int(day)),
                    "treated_users": int((of_campaign & is_sent).sum()),
                    "held_out_users": int((of_campaign & (messages.kind == KIND["campaign_holdout"])).sum()),
                    "caused_visits": int(own.sum()),
                    "caused_revenue": float(revenue[own].sum()),
                }
            )
