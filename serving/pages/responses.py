"""How visitors answer what they are shown: counts by variant, section, offer, subject and hour.

Counts of everybody are folded from the event log by one follower a process, so that any worker and any
restart gets the same; no count names a person. One visitor's own answers are read when they are asked for.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from feature_repo.events import SENT_TYPES
from serving.decisions.email import SUBJECT_KINDS
from serving.decisions.homepage import STARTING_SHARES
from serving.decisions.offers import OFFER_TYPES
from serving.decisions.send_time import HOURS
from serving.errors import StoreUnavailable
from serving.store.database import Database
from serving.store.responses import Act, Answered, acts_between, acts_of, answered_messages, last_sequence

logger = logging.getLogger(__name__)

SERVED, INTERACTED, CONVERTED = "experience_served", "experience_interaction", "conversion_achieved"
SECTION_ACTS = ("click", "recommendation_click", "product_view", "add_to_cart", "purchase")
OFFER_SHOWN, OFFER_ANSWERED = ("offer_view",), ("offer_click", "offer_redeem")
OPENED_TYPES = {
    "email": ("email_open", "email_click"),
    "push": ("push_open",),
    "sms": ("sms_click",),
}
CONTENT_ACTS = ("content_view", "content_click", "video_play")
ACTIVE_TYPES = ("login", "page_view", "product_view", "search", "add_to_cart", "purchase")
FOLLOWED = (
    *(SERVED, INTERACTED, CONVERTED),
    *OFFER_SHOWN,
    *OFFER_ANSWERED,
    "email_sent",
    *(kind for kinds in OPENED_TYPES.values() for kind in kinds),
)
MARKS = ("section", "experience_id")
"""Of the acts that may come from a section, those that say so, and purchases that name an experience."""
EVERYBODY = ""
FOLLOW_SECONDS = 1.0
PAGE = 5_000
REMEMBERED_EXPERIENCES = 50_000
MAX_VARIANTS = 1_000
OWN_ACTS, OWN_DAYS = 500, 180
DAY_MICROS = 86_400_000_000

Counts = dict[str, list[int]]
"""Segment (`EVERYBODY` for all) -> counts."""


class ResponseCounts:
    """The fold: events in, counts out. It holds no customer id."""

    def __init__(self) -> None:
        self.variants: dict[tuple[str, str], Counts] = {}
        self.sections: dict[str, float] = {}
        self.offers: dict[str, Counts] = {}
        self.subjects: dict[str, Counts] = {}
        self.hours: dict[str, list[float]] = {channel: [0.0] * HOURS for channel in OPENED_TYPES}
        self._experiences: OrderedDict[str, tuple[str | None, dict[str, str], set[tuple[str, int]]]]
        self._experiences = OrderedDict()

    def fold(self, acts: Iterable[Act], answered: Answered | None = None) -> None:
        """Take these events in; each event once, in the order of the log.

        `answered`: which of them answer messages of campaigns.
        """
        for act in acts:
            self._fold(act)
            if act.event_type in OPENED_TYPES["email"]:
                self._credit_subject(act, answered or {})

    def of_element(self, element: str, names: Iterable[str], segment: str | None) -> dict[str, Any]:
        """Variant -> [served, interacted, converted] in the segment and in all."""
        return {name: _pair(self.variants.get((element, name)), segment, 3) for name in names}

    def of_offers(self, segment: str | None) -> dict[str, Any]:
        """Offer type -> [shown, responded] in the segment and in all."""
        return {name: _pair(self.offers.get(name), segment, 2) for name in OFFER_TYPES}

    def of_subjects(self, segment: str | None) -> dict[str, Any]:
        """Kind of subject -> [sent, opened] in the segment and in all."""
        return {name: _pair(self.subjects.get(name), segment, 2) for name in SUBJECT_KINDS}

    def _fold(self, act: Act) -> None:
        kind, context = act.event_type, act.context
        if kind == SERVED:
            self._remember(context)
        elif kind in (INTERACTED, CONVERTED):
            self._credit(context, 1 if kind == INTERACTED else 2)
        elif kind == "purchase" and context.get("experience_id"):
            self._credit(context, 2)
        if kind in SECTION_ACTS and context.get("section") in STARTING_SHARES:
            section = str(context["section"])
            self.sections[section] = self.sections.get(section, 0.0) + 1.0
        if kind in OFFER_SHOWN or kind in OFFER_ANSWERED:
            _add(self.offers, context.get("offer_type"), OFFER_TYPES, context, int(kind in OFFER_ANSWERED))
        if kind == SENT_TYPES["email"]:
            _add(self.subjects, context.get("subject_kind"), SUBJECT_KINDS, context, 0)
        for channel, kinds in OPENED_TYPES.items():
            if kind in kinds:
                self.hours[channel][datetime.fromtimestamp(act.event_at / 1e6, UTC).hour] += 1.0

    def _credit_subject(self, act: Act, answered: Answered) -> None:
        """An opened e-mail, for the kind of subject that the event names, else for that of its message.

        A click says so too, as images are often not loaded; but of one message only the first answer counts.
        """
        told = act.context
        if act.sequence in answered:
            message = answered[act.sequence]
            if message is None:
                return
            told = {name: message.get(name) for name in ("subject_kind", "segment")} | told
        elif act.event_type != "email_open":
            return
        _add(self.subjects, told.get("subject_kind"), SUBJECT_KINDS, told, 1)

    def _remember(self, context: Mapping[str, Any]) -> None:
        experience_id, elements = context.get("experience_id"), context.get("elements")
        if not isinstance(experience_id, str) or not isinstance(elements, dict):
            return
        segment = context.get("segment")
        known = {str(name): str(variant) for name, variant in elements.items()}
        self._experiences[experience_id] = (segment if isinstance(segment, str) else None, known, set())
        if len(self._experiences) > REMEMBERED_EXPERIENCES:
            self._experiences.popitem(last=False)
        for element, variant in known.items():
            self._count(element, variant, segment, 0)

    def _credit(self, context: Mapping[str, Any], place: int) -> None:
        """Count an answer once for each element of its experience, or for the element that it names."""
        served = self._experiences.get(str(context.get("experience_id")))
        if served is None:
            return
        segment, elements, credited = served
        named = context.get("element")
        for element in [named] if named in elements else list(elements):
            if (element, place) not in credited:
                credited.add((element, place))
                self._count(element, elements[element], segment, place)

    def _count(self, element: str, variant: str, segment: Any, place: int) -> None:
        if (element, variant) not in self.variants and len(self.variants) >= MAX_VARIANTS:
            return
        counts = self.variants.setdefault((element, variant), {})
        for name in (EVERYBODY, segment):
            if isinstance(name, str):
                counts.setdefault(name, [0, 0, 0])[place] += 1


def _add(
    table: dict[str, Counts],
    name: Any,
    allowed: tuple[str, ...],
    context: Mapping[str, Any],
    place: int,
) -> None:
    if name not in allowed:
        return
    counts = table.setdefault(name, {})
    segment = context.get("segment")
    for key in (EVERYBODY, segment):
        if isinstance(key, str) and (key in counts or len(counts) < MAX_VARIANTS):
            counts.setdefault(key, [0, 0])[place] += 1


def _pair(counts: Counts | None, segment: str | None, width: int) -> dict[str, list[int]]:
    nothing = [0] * width
    counts = counts or {}
    part = counts.get(segment, nothing) if segment is not None else nothing
    return {"segment": list(part), "all": list(counts.get(EVERYBODY, nothing))}


class Responses:
    """Follows the log, and reads what one visitor answered. One instance a process, on its event loop."""

    def __init__(self, database: Database, follow_seconds: float = FOLLOW_SECONDS) -> None:
        self._database = database
        self._follow_seconds = follow_seconds
        self._done = 0
        # Sequences up to here were seen a turn ago: whoever held one has committed by now (PostgreSQL hands
        # them out before the commit).
        self._settled = 0
        self._follower: asyncio.Task[None] | None = None
        self.counts = ResponseCounts()

    def start(self) -> None:
        """Follow the log from its beginning, and from then on."""
        self._follower = asyncio.create_task(self._follow_on(), name="responses-follow")

    async def close(self) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower

    async def follow(self) -> None:
        """Take in what was settled since the last time."""
        newest = await self._database.read(last_sequence)
        settled, self._settled = self._settled, newest
        while self._done < settled:
            until = min(self._done + PAGE, settled)
            query = partial(
                acts_between,
                after=self._done,
                until=until,
                types=FOLLOWED,
                marked_types=SECTION_ACTS,
                marks=MARKS,
            )
            acts = await self._database.read(query)
            opened = partial(
                answered_messages, acts=acts, sent=SENT_TYPES["email"], answers=OPENED_TYPES["email"]
            )
            self.counts.fold(acts, await self._database.read(opened))
            self._done = until

    async def _follow_on(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self.follow()
            await asyncio.sleep(self._follow_seconds)

    # one visitor

    async def own(self, visitor_id: str, types: tuple[str, ...], days: int = OWN_DAYS) -> list[Act] | None:
        """The visitor's last acts of these types, latest first; None if the store does not answer."""
        since = time.time_ns() // 1_000 - days * DAY_MICROS
        query = partial(acts_of, visitor_id=visitor_id, types=types, since=since, limit=OWN_ACTS)
        try:
            return await self._database.read(query)
        except StoreUnavailable:
            return None


def by_section(acts: Iterable[Act]) -> dict[str, float]:
    """Answers by the section of the homepage that they came from."""
    found: dict[str, float] = {}
    for act in acts:
        section = act.context.get("section")
        if section in STARTING_SHARES:
            found[section] = found.get(section, 0.0) + 1.0
    return found
