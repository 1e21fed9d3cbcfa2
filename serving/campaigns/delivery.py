"""Sending what is due, once: consent, quiet hours and caps are asked again, whatever was planned.

A message is claimed before it goes out and settled after. A sender that dies in between leaves it claimed;
whether it arrived is then not known, and it is given up rather than sent twice. What a server does not take
now is tried again, later each time. A customer of the control share passes the same questions at the same
time and gets nothing: an event says so, as an event says what was sent, and the two are compared.
"""

import asyncio
import contextlib
import smtplib
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

import orjson

from feature_repo.errors import DeliveryError
from feature_repo.events import SENT_TYPES
from feature_repo.mail import smtp_server
from feature_repo.webhook import post_json
from serving.campaigns.definitions import Campaign
from serving.campaigns.letters import letter, posted
from serving.decisions.send_time import after_quiet
from serving.errors import NothingToSend, StoreUnavailable
from serving.pages.messages import CAP_DAYS, MessagePolicy, why_not
from serving.people.consent import ConsentBook
from serving.people.permissions import NO_SIGNALS
from serving.people.tombstones import Tombstones
from serving.settings import Settings
from serving.store import campaigns as store
from serving.store.campaigns import CONTROL, EVENT_PREFIX, FAILED, HELD_OUT, QUEUED, SENT, SKIPPED
from serving.store.database import Database
from serving.tracking import Tracker

AT_ONCE = 200
MOST_ATTEMPTS = 5
FIRST_WAIT, LONGER = timedelta(minutes=5), 4
"""The waits before another attempt: 5 minutes, 20, 80, and more than five hours."""
CLAIMED_FOR = timedelta(minutes=10)
TOO_LATE = timedelta(days=3)
LOST = "interrupted: whether it arrived is not known"

Message = dict[str, Any]


class Undeliverable(Exception):
    """This message will never be taken; others may."""


class Outbound(Protocol):
    """A way out: an `address` is given to those that need one."""

    needs_address: bool

    def send(self, message: Mapping[str, Any], address: str | None) -> None:
        """Raises `DeliveryError` for what may work later, `Undeliverable` for what never will."""

    def close(self) -> None:
        """No more messages."""


class Mail:
    """E-mail over one connection, opened with the first message."""

    needs_address = True

    def __init__(self, url: str, sender: str) -> None:
        self._url = url
        self._sender = sender
        self._stack = ExitStack()
        self._server: smtplib.SMTP | None = None

    def send(self, message: Mapping[str, Any], address: str | None) -> None:
        """Hand one over; a refused one leaves the connection to the next."""
        assert address is not None
        try:
            mail = letter(message, self._sender, address)
        except ValueError as error:  # such as a line break in an address
            raise Undeliverable("the address cannot be used") from error
        if self._server is None:
            self._server = self._stack.enter_context(smtp_server(self._url))
        try:
            self._server.send_message(mail)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
            code = _code(error)
            self.close()
            if code >= 500:
                raise Undeliverable(f"the mail server refused it ({code})") from error
            raise DeliveryError(f"the mail server does not take it now ({code})") from error
        except (smtplib.SMTPException, OSError) as error:
            self.close()
            raise DeliveryError(f"the mail server went away ({type(error).__name__})") from error

    def close(self) -> None:
        """End the connection; the next message opens another."""
        self._server = None
        with contextlib.suppress(DeliveryError):
            self._stack.close()


def _code(error: smtplib.SMTPRecipientsRefused | smtplib.SMTPResponseException) -> int:
    if isinstance(error, smtplib.SMTPResponseException):
        return int(error.smtp_code)
    return max((code for code, _ in error.recipients.values()), default=500)


class Webhook:
    """Messages as signed JSON to one address."""

    needs_address = False

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret

    def send(self, message: Mapping[str, Any], address: str | None) -> None:
        """Post one."""
        post_json(self._url, posted(message), self._secret)

    def close(self) -> None:
        """Nothing is held open."""


def ways_out(settings: Settings) -> dict[str, Outbound]:
    """Channel -> how its messages go out, as far as that is configured."""
    ways: dict[str, Outbound] = {}
    if settings.campaign_webhook:
        ways = dict.fromkeys(SENT_TYPES, Webhook(settings.campaign_webhook, settings.campaign_secret))
    if settings.smtp_url:
        ways["email"] = Mail(settings.smtp_url, settings.mail_from)
    return ways


@dataclass(frozen=True)
class Gate:
    """Whether a message may go out now."""

    database: Database
    tombstones: Tombstones
    consent: ConsentBook
    policy: MessagePolicy
    campaigns: Mapping[str, Campaign]

    async def opinion(self, message: Message, now: datetime) -> tuple[str, Any] | None:
        """None: it may. ("skip", why): never. ("later", when): not before. Raises `StoreUnavailable`."""
        user_id, channel = message["user_id"], message["channel"]
        campaign = self.campaigns.get(message["campaign"])
        if self.tombstones.is_erased(user_id):
            return "skip", "erased"
        if campaign is None or not campaign.is_running(now.date()):
            return "skip", "campaign_over"
        if now - _instant(message["planned_at"]) > TOO_LATE:
            return "skip", "too_late"
        if reason := why_not(self.consent.permissions(user_id), {}, channel):
            return "skip", reason
        awake = after_quiet(now, message["timezone"], self.policy.quiet_from, self.policy.quiet_until)
        if awake is None:
            return "skip", "quiet_hours"
        if awake > now:
            return "later", awake
        since = _micros(now - timedelta(days=CAP_DAYS))
        count = partial(
            store.messages_since,
            user_id=user_id,
            channel=channel,
            event_type=SENT_TYPES[channel],
            since=since,
        )
        return ("skip", "cap_reached") if await self.database.read(count) >= self.policy.per_week else None


@dataclass(frozen=True)
class Sender:
    """Sends the outbox of one home."""

    database: Database
    gate: Gate
    tracker: Tracker
    ways: Mapping[str, Outbound]

    async def send_due(self, now: datetime | None = None) -> Counter[str]:
        """Everything that is due; how many messages came to which end.

        Raises `NothingToSend` if then some wait for a channel that has no way out: of either arm, or the arms
        would not be alike.
        """
        at = now or datetime.now(UTC)
        channels = list(self.ways)
        due = partial(store.due_messages, now=_micros(at), channels=channels, limit=AT_ONCE)
        ends: Counter[str] = Counter()
        lost = partial(store.give_up_lost, now=_micros(at), reason=LOST)
        if given_up := await self.database.write(lost):
            ends["lost"] = given_up
        try:
            while batch := await self.database.read(due):
                for message in batch:
                    # The hour may have changed since the first of many.
                    ends[await self._send(message, now or datetime.now(UTC))] += 1
        finally:
            for way in set(self.ways.values()):
                way.close()
        others = await self.database.read(partial(store.waiting, now=_micros(at), channels=channels))
        if others:
            counts = ", ".join(f"{count} by {channel}" for channel, count in sorted(others.items()))
            raise NothingToSend(
                f"messages wait that have no way out: {counts}; set ATTUNE_CAMPAIGN_WEBHOOK, or for e-mail"
                f" ATTUNE_SMTP_URL. Of the others: {dict(ends) or 'none was due'}"
            )
        return ends

    async def _send(self, message: Message, now: datetime) -> str:
        way = self.ways[message["channel"]]
        opinion = await self.gate.opinion(message, now)
        if opinion is not None:
            verdict, detail = opinion
            if verdict == "later":
                await self._settle(message, due_at=_micros(detail), reason="quiet_hours")
                return "postponed"
            await self._settle(message, state=SKIPPED, reason=detail, done_at=_micros(now))
            return SKIPPED
        address = None
        if way.needs_address:
            found = partial(store.address_of, user_ids=[message["user_id"]])
            address = (await self.database.read(found)).get(message["user_id"])
            if address is None:
                await self._settle(message, state=SKIPPED, reason="no_address", done_at=_micros(now))
                return SKIPPED
        message = {**message, "content": orjson.loads(message["content"])}
        if message["arm"] == CONTROL:
            await self._report(message, "campaign_holdout", now)
            await self._settle(message, state=HELD_OUT, reason=None, done_at=_micros(now))
            return HELD_OUT
        return await self._deliver(message, way, address, now)

    async def _deliver(self, message: Message, way: Outbound, address: str | None, now: datetime) -> str:
        claim = partial(store.claim, message_id=message["message_id"], until=_micros(now + CLAIMED_FOR))
        if not await self.database.write(claim):
            return "taken"
        attempts = message["attempts"] + 1
        try:
            await asyncio.to_thread(way.send, message, address)
        except (DeliveryError, Undeliverable) as error:
            final = isinstance(error, Undeliverable) or attempts >= MOST_ATTEMPTS
            again = now + FIRST_WAIT * LONGER ** (attempts - 1)
            change = (
                {"state": FAILED, "done_at": _micros(now)}
                if final
                else {"state": QUEUED, "due_at": _micros(again)}
            )
            await self._settle(message, reason=str(error)[:300], **change)
            return FAILED if final else "retried"
        await self._report(message, SENT_TYPES[message["channel"]], now)
        await self._settle(message, state=SENT, reason=None, done_at=_micros(now))
        return SENT

    async def _report(self, message: Message, event_type: str, now: datetime) -> None:
        """The event by which the campaign is measured; who is not tracked is of no arm of it."""
        content = message["content"]
        context = {"message_id": message["message_id"], "segment": content.get("segment")}
        if content:
            context["subject_kind"] = content["subject"]["kind"]
        event = {
            "event_id": f"{EVENT_PREFIX}{message['message_id']}",
            "event_type": event_type,
            "user_id": message["user_id"],
            "event_at": now.isoformat(),
            "channel": message["channel"],
            "campaign_id": message["campaign"],
            "recommendation_id": content.get("recommendation_id"),
            "context": {name: value for name, value in context.items() if value is not None},
        }
        [outcome] = await self.tracker.track([event], NO_SIGNALS, "campaigns")
        if outcome.status == "refused":
            raise StoreUnavailable(f"the log refused what was sent ({outcome.detail})")

    async def _settle(self, message: Message, **values: Any) -> None:
        await self.database.write(partial(store.settle, message_id=message["message_id"], **values))


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def _instant(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1e6, UTC)
