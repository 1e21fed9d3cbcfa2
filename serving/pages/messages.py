"""E-mails for a customer or a segment, and when to send a message."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from feature_repo.events import MESSAGE_LIST, SENT_TYPES
from serving.decisions import content, email, offers, send_time
from serving.errors import InvalidField
from serving.flags import Flags
from serving.pages.content import Contents
from serving.pages.deciding import Desk, register
from serving.pages.offers import Offers
from serving.pages.responses import ACTIVE_TYPES, OPENED_TYPES, Responses
from serving.pages.visitors import OPERATIONAL_STORE, Visitor
from serving.people.permissions import Permissions, Signals
from serving.releases import ServedRelease
from serving.settings import Settings

EMAIL_KIND, SEND_TIME_KIND = "email", "send_time"
FLAG = "smart_notifications"
HOURS_TABLE = "message_hours"
VALUE_SEGMENTS = ("high", "medium", "low", "at_risk", "churned")
CAP_DAYS = 7
DAY_MICROS = 86_400_000_000
# An act says when somebody is awake; an opened message says when they read messages.
ACTIVE_WEIGHT = 0.25

register(EMAIL_KIND, email.decide)
register(SEND_TIME_KIND, send_time.decide)

NameOf = Callable[[str], Awaitable[str | None]]


async def no_name(_: str) -> str | None:
    """Where customers' names are not known."""
    return None


@dataclass(frozen=True)
class MessagePolicy:
    """Quiet hours are local; from 21 until 8 goes over midnight. `per_week` caps each channel."""

    quiet_from: int = 21
    quiet_until: int = 8
    per_week: int = 3
    time_zone: str = "UTC"

    @classmethod
    def of(cls, settings: Settings) -> "MessagePolicy":
        """As the settings say."""
        return cls(*settings.quiet_hours, settings.messages_per_week, settings.time_zone)


class Messages:
    """Messages of one process."""

    def __init__(
        self,
        desk: Desk,
        responses: Responses,
        contents: Contents,
        offers_core: Offers,
        flags: Flags,
        policy: MessagePolicy,
        name_of: NameOf = no_name,
    ) -> None:
        self._desk = desk
        self._responses = responses
        self._contents = contents
        self._offers = offers_core
        self._flags = flags
        self._policy = policy
        self._name_of = name_of
        self._counted: Mapping[tuple[str, str | None], list[float]] = {}
        self._counted_of: str | None = None

    async def email(
        self,
        user_id: str,
        signals: Signals,
        rules: Mapping[str, bool],
        grid: int,
        articles: int,
        channel: str = "email",
        lead: str | None = None,
    ) -> dict[str, Any]:
        """The e-mail for one customer; not to be sent, and not composed, without their consent.

        `channel`: on which it goes out, for whose consent is asked. `lead`: the item to begin with.
        """
        desk = self._desk
        visitor = await desk.visitors.read(user_id, signals)
        reason = why_not(visitor.permissions, visitor.preferences, channel)
        inputs: dict[str, Any] = {
            "send": reason is None,
            "reason": reason,
            "responses": self._responses.counts.of_subjects(visitor.value_segment),
            **_NOTHING,
            **rules,
        }
        if reason is None:
            inputs |= await self._blocks(visitor, signals, grid, articles, lead)
        output, decision_id = desk.decide(EMAIL_KIND, user_id, inputs, email.decide)
        is_personal = reason is None and visitor.personalized
        return {
            "user_id": user_id,
            "segment": visitor.value_segment,
            "recommendation_id": inputs["recommendation_id"],
            **self._shown(output),
            **desk.provenance(EMAIL_KIND, visitor, decision_id, personalized=is_personal, reason=reason),
        }

    async def segment_email(
        self, segment: str, rules: Mapping[str, bool], grid: int, articles: int
    ) -> dict[str, Any]:
        """The e-mail for everybody in a value segment. Each one's consent is asked when it is sent."""
        desk, shelf = self._desk, self._desk.shelf
        if segment not in VALUE_SEGMENTS:
            raise InvalidField("segment_id", segment, f"use one of {', '.join(VALUE_SEGMENTS)}")
        items = shelf.of_segment(segment, grid + 1)
        degraded = () if items else ("no_lists_by_segment",)
        items = items or shelf.popular(grid + 1)
        nobody = Visitor(f"segment:{segment}", _ANYBODY, affinity=_categories(desk, items))
        chosen = await self._choose_content(nobody, articles)
        inputs = {
            **_NOTHING,
            **rules,
            "send": True,
            "reason": None,
            "responses": self._responses.counts.of_subjects(segment),
            "hero": _hero(desk, items),
            "grid": items[1:],
            "articles": chosen,
            "social_proof": self._proof(nobody, items),
        }
        output, decision_id = desk.decide(EMAIL_KIND, None, inputs, email.decide)
        return {
            "segment_id": segment,
            "ask_consent_of_each": True,
            **self._shown(output),
            **desk.provenance(EMAIL_KIND, None, decision_id, degraded, reason="segment", personalized=False),
        }

    async def send_time(
        self,
        user_id: str,
        signals: Signals,
        channel: str,
        zone: str | None,
        now: datetime | None = None,
        at: send_time.When = "best",
    ) -> dict[str, Any]:
        """When to send the next message on a channel, or why not to send one; `at` may bind the hour."""
        desk, policy = self._desk, self._policy
        visitor = await desk.visitors.read(user_id, signals)
        zone = zone or str(visitor.preferences.get("timezone") or policy.time_zone)
        reason = why_not(visitor.permissions, visitor.preferences, channel)
        is_personal = reason is None and visitor.personalized and self._flags.enabled(FLAG)
        own, sent, is_known = await self._own_hours(visitor, channel, zone, is_personal)
        everybody = self._hours(channel, None, zone)
        has_segment = is_personal and visitor.value_segment is not None
        segment = self._hours(channel, visitor.value_segment, zone) if has_segment else _NO_HOURS
        inputs = {
            "channel": channel,
            "allowed": reason is None,
            "reason": reason,
            "now": (now or datetime.now(UTC)).isoformat(),
            "timezone": zone,
            "quiet_from": policy.quiet_from,
            "quiet_until": policy.quiet_until,
            "cap": policy.per_week,
            "cap_days": CAP_DAYS,
            "sent": len(sent),
            "oldest_sent": _oldest(sent, policy.per_week),
            "own": own,
            "segment": segment,
            "everybody": everybody,
            "at": at,
        }
        output, decision_id = desk.decide(SEND_TIME_KIND, user_id, inputs, send_time.decide)
        return {
            "user_id": user_id,
            "channel": channel,
            "timezone": zone,
            **output,
            "basis": {
                "own_acts": round(sum(own), 2),
                "segment_acts": sum(segment),
                "everybody_acts": sum(everybody),
            },
            "sent_in_window": len(sent),
            "cap": policy.per_week,
            "quiet_hours": [policy.quiet_from, policy.quiet_until],
            **desk.provenance(
                SEND_TIME_KIND,
                visitor,
                decision_id,
                () if is_known else (OPERATIONAL_STORE,),
                reason=reason or self._flags.disabled_by(FLAG),
                personalized=is_personal,
            ),
            "reason": output["reason"] or self._flags.disabled_by(FLAG),
        }

    async def _own_hours(
        self, visitor: Visitor, channel: str, zone: str, is_personal: bool
    ) -> tuple[list[float], list[int], bool]:
        """The visitor's local hours, the messages of the last week, and whether the log answered."""
        opened = OPENED_TYPES[channel]
        # What a batch customer did before is not in the log: the store keeps a few instants of it.
        stored = send_time.local_hours(visitor.acted_at, zone)
        types = (*opened, SENT_TYPES[channel], *(ACTIVE_TYPES if is_personal else ()))
        acts = await self._responses.own(visitor.visitor_id, types)
        since = time.time_ns() // 1_000 - CAP_DAYS * DAY_MICROS
        found = acts or []
        sent = [
            act.event_at for act in found if act.event_type == SENT_TYPES[channel] and act.event_at >= since
        ]
        if not is_personal:
            return [0.0] * send_time.HOURS, sent, acts is not None
        reading = send_time.local_hours([act.event_at for act in found if act.event_type in opened], zone)
        active = send_time.local_hours(
            [act.event_at for act in found if act.event_type in ACTIVE_TYPES], zone
        )
        awake = zip(reading, active, stored, strict=True)
        own = [read + ACTIVE_WEIGHT * (acts + before) for read, acts, before in awake]
        return own, sent, acts is not None

    def _hours(self, channel: str, segment: str | None, zone: str) -> list[float]:
        """Local hours at which messages are opened: what the release counted, and what the log adds."""
        release = self._desk.release
        if self._counted_of != release.release_id:
            self._counted = counted_hours(release)
            self._counted_of = release.release_id
        found = list(self._counted.get((channel, segment), _NO_HOURS))
        if segment is None:
            live = self._responses.counts.hours[channel]
            found = [counted + new for counted, new in zip(found, live, strict=True)]
        return _local(found, zone)

    async def _blocks(
        self, visitor: Visitor, signals: Signals, grid: int, articles: int, lead: str | None
    ) -> dict[str, Any]:
        """Name, offer, hero, grid, articles and proof for one customer."""
        desk = self._desk
        picks = await desk.recommend(visitor.visitor_id, grid + 1, signals, EMAIL_KIND, MESSAGE_LIST)
        items = [item["item_id"] for item in picks["recommendations"]]
        if lead is not None and visitor.personalized and lead in desk.release.index.position:
            items = [lead, *(item for item in items if item != lead)][: grid + 1]
        name = await self._name_of(visitor.visitor_id) if visitor.personalized else None
        return {
            "recommendation_id": picks["recommendation_id"],
            "name": name,
            "offer": self._offer(visitor),
            "hero": _hero(desk, items),
            "grid": items,
            "articles": await self._choose_content(visitor, articles),
            "social_proof": self._proof(visitor, items),
        }

    def _offer(self, visitor: Visitor) -> dict[str, Any] | None:
        """The visitor's best price reduction, for the subject."""
        inputs = self._offers.inputs(visitor, ("product_discounts",), {}, 1)
        found = offers.decide(inputs)["offers"]
        if not found:
            return None
        offer = found[0]
        title = self._desk.shelf.described([offer["item_id"]])[0]["title"]
        return {"discount": offer["discount"], "category": offer["category"], "title": title}

    async def _choose_content(self, visitor: Visitor, count: int) -> list[dict[str, Any]]:
        """Articles by interest alone."""
        weights = {"interest_alignment": 1.0, "engagement_history": 0.0, "seasonal_relevance": 0.0}
        weights["trending_score"] = 0.0
        output, _, _ = await self._contents.choose(visitor, {"blog_articles": count}, weights)
        found: list[dict[str, Any]] = output["blocks"]["blog_articles"]
        return found

    def _proof(self, visitor: Visitor, item_ids: list[str]) -> list[dict[str, Any]]:
        """What similar customers did: facts about the goods that the e-mail shows."""
        facts = self._contents.proof(visitor, item_ids)
        inputs = {"counts": {content.SOCIAL_PROOF: 2}, "weights": {}, "pieces": {}, "proof": facts}
        found: list[dict[str, Any]] = content.decide(inputs)["blocks"][content.SOCIAL_PROOF]
        return found

    def _shown(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """The e-mail with titles in place of bare ids."""
        blocks = output["blocks"]
        if blocks is None:
            return dict(output)
        shelf = self._desk.shelf
        hero = blocks["hero_product"]
        return {
            **output,
            "blocks": {
                "hero_product": None if hero is None else shelf.described([hero])[0],
                "product_grid": shelf.described(blocks["product_grid"]),
                "content_articles": self._contents.described(blocks["content_articles"]),
                "social_proof": self._contents.described(blocks["social_proof"]),
            },
        }


# A segment is nobody in particular: content for it is chosen by its goods alone.
_ANYBODY = Permissions(personalization=False)
_NO_HOURS = [0.0] * send_time.HOURS
_NOTHING: Mapping[str, Any] = {
    "recommendation_id": None,
    "name": None,
    "offer": None,
    "hero": None,
    "grid": [],
    "articles": [],
    "social_proof": [],
}


def counted_hours(release: ServedRelease) -> dict[tuple[str, str | None], list[float]]:
    """(channel, segment or None for everybody) -> opened messages by UTC hour, as of the release."""
    found: dict[tuple[str, str | None], list[float]] = {}
    table = release.release.tables.get(HOURS_TABLE)
    for row in table.to_pylist() if table is not None else ():
        hours = found.setdefault((row["channel"], row["segment"]), [0.0] * send_time.HOURS)
        hours[row["hour"]] += row["opens"]
    return found


def why_not(permissions: Permissions, preferences: Mapping[str, Any], channel: str) -> str | None:
    """Why this channel may not be used for this visitor; None if it may."""
    if channel not in permissions.channels:
        return f"no_consent_for_{channel}"
    notifications = preferences.get("notifications")
    if isinstance(notifications, Mapping) and notifications.get(channel) is False:
        return f"{channel}_turned_off"
    return None


def _hero(desk: Desk, items: list[str]) -> dict[str, Any] | None:
    if not items:
        return None
    found = desk.shelf.described(items[:1])[0]
    return {"item_id": found["item_id"], "title": found["title"]}


def _categories(desk: Desk, items: list[str]) -> dict[str, float]:
    names = [name for item in items if (name := desk.shelf.goods(item).category) is not None]
    return {name: names.count(name) / len(names) for name in dict.fromkeys(names)}


def _oldest(sent: list[int], cap: int) -> str | None:
    """The message that has to leave the window before another one fits."""
    if len(sent) < cap or not sent:
        return None
    newest_first = sorted(sent, reverse=True)
    return datetime.fromtimestamp(newest_first[max(0, cap - 1)] / 1e6, UTC).isoformat()


def _local(hours: list[float], zone: str) -> list[float]:
    """A histogram of UTC hours in local ones, by the zone's present offset."""
    offset = datetime.now(UTC).astimezone(ZoneInfo(zone)).utcoffset()
    shift = round(offset.total_seconds() / 3600) if offset is not None else 0
    return [hours[(hour - shift) % send_time.HOURS] for hour in range(send_time.HOURS)]
