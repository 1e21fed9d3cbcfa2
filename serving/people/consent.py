"""Who allowed what: the consent ledger in memory, asked by every decision and by tracking.

The ledger is append-only; the last entry of a purpose counts. Every process holds the present state of all
who ever said something and follows the ledger, so that a decision waits for no database. Own changes count at
once, those of other workers within `FOLLOW_SECONDS`, which the one who records them waits for.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from serving.errors import OptOutRefused, StoreUnavailable
from serving.people.permissions import NO_SIGNALS, Permissions, Signals
from serving.people.tombstones import Tombstones
from serving.settings import Settings
from serving.store.consent import append_entries, entries_after, ledger_page
from serving.store.database import Database

logger = logging.getLogger(__name__)

TRACKING, PERSONALIZATION, DATA_SHARING = "tracking", "personalization", "data_sharing"
EMAIL = "email"
CHANNELS = (EMAIL, "sms", "push")
PURPOSES = (TRACKING, PERSONALIZATION, *CHANNELS, DATA_SHARING)

OPTED_OUT = "opted_out"
NO_CONSENT = "no_consent"
DO_NOT_TRACK = "do_not_track"
GLOBAL_PRIVACY_CONTROL = "global_privacy_control"
ERASED = "erased"
CONSENT_UNKNOWN = "consent_unknown"

UNSUBSCRIBE, CONSENT_UPDATE = "email_unsubscribe", "consent_update"
CONSENT_EVENTS = frozenset({UNSUBSCRIBE, CONSENT_UPDATE})

FOLLOW_SECONDS = 0.15
# With one worker only commands such as `attune erase` write beside us.
FOLLOW_ALONE_SECONDS = 1.0
PAGE_ROWS = 5000
# PostgreSQL hands out sequences before it commits: the last ones are read again.
REREAD_ROWS = 256

NOTHING_ALLOWED = Permissions(False, False, False, frozenset(), ERASED)
UNTIL_LOADED = Permissions(False, False, False, frozenset(), CONSENT_UNKNOWN)

_BITS = {purpose: 1 << index for index, purpose in enumerate(PURPOSES)}
_REVOKED_SHIFT = len(PURPOSES)


@dataclass(frozen=True)
class ConsentPolicy:
    """What holds for somebody who never said anything, and what their browser may ask for.

    `asks_first`: tracking and personalization wait for a grant (opt-in); else they end with a revocation.
    `gdpr`: communication and data sharing wait for a grant; without it they end with a revocation (opt-out).
    `respects_signals`: `DNT: 1` and `Sec-GPC: 1` are honoured. `allows_opt_out`: opt-out calls are accepted.
    """

    asks_first: bool = False
    gdpr: bool = True
    respects_signals: bool = True
    allows_opt_out: bool = True

    @classmethod
    def of(cls, settings: Settings) -> "ConsentPolicy":
        """As the settings say."""
        return cls(
            asks_first=settings.consent == "opt_in",
            gdpr=settings.gdpr_compliant,
            respects_signals=settings.respect_do_not_track,
            allows_opt_out=settings.allow_opt_out,
        )

    def default(self, purpose: str) -> bool:
        """Whether a purpose is allowed without any record."""
        return not (self.asks_first if purpose in (TRACKING, PERSONALIZATION) else self.gdpr)


@dataclass(frozen=True, slots=True)
class Change:
    """One grant or revocation to record."""

    purpose: str
    is_granted: bool
    source: str
    text_version: str | None = None


class SaidEvent(Protocol):
    """An event as far as it may say something of consent; `feature_repo.single_event.SingleEvent` is one."""

    @property
    def event_type(self) -> str: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def anonymous_id(self) -> str | None: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...


class ConsentBook:
    """The present consent of everybody. One instance a process, on its event loop."""

    def __init__(
        self,
        database: Database,
        tombstones: Tombstones,
        policy: ConsentPolicy | None = None,
        shares_store: bool = False,
    ) -> None:
        """`shares_store`: other workers serve the same store, and must know of a change before its answer."""
        self._database = database
        self._tombstones = tombstones
        self.policy = policy or ConsentPolicy()
        self._shares_store = shares_store
        # Who said something -> what, as bits: granted purposes, and above them the revoked ones.
        self._said: dict[str, int] = {}
        self._meaning: dict[int, Permissions] = {}
        self._default = UNTIL_LOADED
        self._sequence = 0
        self._turn = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        tombstones.add_listener(self._forget)

    async def start(self) -> None:
        """Load the ledger and follow it from now on. Until a silent store answers, nothing is allowed."""
        with contextlib.suppress(StoreUnavailable):
            await self.follow()
        self._follower = asyncio.create_task(self._follow_on(), name="consent-follow")

    async def close(self) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def permissions(self, visitor_id: str | None, signals: Signals = NO_SIGNALS) -> Permissions:
        """What is allowed for this visitor in this request. Of an unknown one only the signals are known."""
        allowed = self._default
        if visitor_id is not None and allowed is not UNTIL_LOADED:
            if self._tombstones.is_erased(visitor_id):
                return NOTHING_ALLOWED
            said = self._said.get(visitor_id)
            if said is not None:
                allowed = self._meant_by(said)
        if (signals.do_not_track or signals.global_privacy_control) and self.policy.respects_signals:
            return _limited(allowed, signals)
        return allowed

    def state(self, user_id: str) -> dict[str, bool]:
        """Whether each purpose is allowed now, request headers aside."""
        said = self._said.get(user_id, 0)
        return {purpose: self._is_allowed(said, purpose) for purpose in PURPOSES}

    async def ledger(self, user_id: str, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        """A page of what one user granted and revoked, newest first."""
        return await self._database.read(partial(ledger_page, user_id=user_id, limit=limit, before=before))

    async def record(self, user_id: str, changes: Iterable[Change]) -> None:
        """Append to the ledger; when this returns every worker acts on it.

        Raises `OptOutRefused` for a revocation of what ALLOW_OPT_OUT=false keeps.
        """
        changes = list(changes)
        self.check(changes)
        await self._enter(ledger_rows(user_id, changes))

    async def heed(self, events: Iterable[SaidEvent]) -> None:
        """Record what events revoke (`revoked_by`), as `record` does, where opting out is accepted."""
        if not self.policy.allows_opt_out:
            return
        rows: list[Mapping[str, Any]] = []
        for event in events:
            visitor_id = event.user_id or event.anonymous_id
            if visitor_id is not None and not self._tombstones.is_erased(visitor_id):
                purposes = revoked_by(event.event_type, event.fields.get("context") or {})
                rows += ledger_rows(visitor_id, opt_out_changes(purposes, event.event_type))
        await self._enter(rows)

    async def _enter(self, rows: list[Mapping[str, Any]]) -> None:
        """Append to the ledger; when this returns every worker acts on it."""
        if rows:
            await self._database.write(lambda connection: append_entries(connection, rows))
            await self.caught_up()

    def inherit(self, anonymous_id: str, user_id: str) -> None:
        """Listener of the identities: what a visitor said holds for the customer they turned out to be, in
        every purpose of which the customer said nothing. At once in memory, then in the ledger.
        """
        said, before = self._said.get(anonymous_id, 0), self._said.get(user_id, 0)
        # A start tells of every link, and most visitors said nothing; asking for a tombstone costs a hash.
        if not said or self._tombstones.is_erased(user_id):
            return
        changes = [
            Change(purpose, bool(said & bit), "identification")
            for purpose, bit in _BITS.items()
            if _speaks(said, bit) and not _speaks(before, bit)
        ]
        for change in changes:
            before = _after(before, change.purpose, change.is_granted)
        if changes:
            self._said[user_id] = before
            task = asyncio.create_task(self._append(ledger_rows(user_id, changes)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _append(self, rows: list[Mapping[str, Any]]) -> None:
        try:
            await self._database.write(lambda connection: append_entries(connection, rows))
        except StoreUnavailable:
            # Every start hears of the links again, and then writes what is missing.
            logger.warning("the consent of an identified visitor could not be written; the next start will")

    def check(self, changes: Iterable[Change]) -> None:
        """Raise `OptOutRefused` if one of them is a revocation and none is accepted here."""
        if not self.policy.allows_opt_out and any(not change.is_granted for change in changes):
            raise OptOutRefused

    async def caught_up(self) -> None:
        """Wait until this process and the others know what was committed before."""
        await self.follow()
        if self._shares_store:
            await asyncio.sleep(FOLLOW_SECONDS + 0.05)

    async def follow(self) -> None:
        """Read what was appended since the last time; raises `StoreUnavailable`."""
        async with self._turn:
            after = max(0, self._sequence - REREAD_ROWS)
            while True:
                rows = await self._database.read(partial(entries_after, sequence=after, limit=PAGE_ROWS))
                for sequence, user_id, purpose, is_granted in rows:
                    self._said[user_id] = _after(self._said.get(user_id, 0), purpose, is_granted)
                    after = sequence
                self._sequence = max(self._sequence, after)
                if len(rows) < PAGE_ROWS:
                    break
            if self._default is UNTIL_LOADED:
                self._default = self._meant_by(0)

    async def _follow_on(self) -> None:
        seconds = FOLLOW_SECONDS if self._shares_store else FOLLOW_ALONE_SECONDS
        while True:
            await asyncio.sleep(seconds)
            with contextlib.suppress(StoreUnavailable):
                await self.follow()

    def _forget(self, is_erased: Callable[[str], bool]) -> None:
        for user_id in [user_id for user_id in self._said if is_erased(user_id)]:
            del self._said[user_id]

    def _meant_by(self, said: int) -> Permissions:
        found = self._meaning.get(said)
        if found is None:
            found = self._meaning[said] = self._interpret(said)
        return found

    def _interpret(self, said: int) -> Permissions:
        tracking = self._is_allowed(said, TRACKING)
        personalization = self._is_allowed(said, PERSONALIZATION)
        return Permissions(
            tracking=tracking,
            personalization=personalization,
            data_sharing=self._is_allowed(said, DATA_SHARING),
            channels=frozenset(each for each in CHANNELS if self._is_allowed(said, each)),
            reason=None if tracking and personalization else _reason(said),
        )

    def _is_allowed(self, said: int, purpose: str) -> bool:
        bit = _BITS[purpose]
        if said & bit:
            return True
        return not said & (bit << _REVOKED_SHIFT) and self.policy.default(purpose)


def opt_out_changes(purposes: Iterable[str] = PURPOSES, source: str = "opt_out") -> list[Change]:
    """The revocation of these purposes; of all by default."""
    return [Change(purpose, False, source) for purpose in purposes]


def revoked_by(event_type: str, context: Mapping[str, Any]) -> list[str]:
    """What an event takes back: e-mail, or each purpose that `context.consent` sets to false.

    To give consent takes the consent endpoint, which records the text that was agreed to.
    """
    if event_type == UNSUBSCRIBE:
        return [EMAIL]
    said = context.get("consent") if event_type == CONSENT_UPDATE else None
    return [purpose for purpose in PURPOSES if said.get(purpose) is False] if isinstance(said, dict) else []


def ledger_rows(user_id: str, changes: Iterable[Change]) -> list[Mapping[str, Any]]:
    """Rows of the ledger for these changes, at this instant."""
    now = time.time_ns() // 1000
    return [
        {
            "user_id": user_id,
            "purpose": change.purpose,
            "is_granted": change.is_granted,
            "at": now,
            "source": change.source,
            "text_version": change.text_version,
        }
        for change in changes
    ]


def _after(said: int, purpose: str, is_granted: bool) -> int:
    bit = _BITS.get(purpose, 0)
    granted, revoked = (bit, 0) if is_granted else (0, bit)
    said &= ~(bit | bit << _REVOKED_SHIFT)
    return said | granted | revoked << _REVOKED_SHIFT


def _speaks(said: int, bit: int) -> bool:
    """Whether this purpose was ever granted or revoked."""
    return bool(said & (bit | bit << _REVOKED_SHIFT))


def _reason(said: int) -> str:
    revoked = said >> _REVOKED_SHIFT
    if revoked & (_BITS[TRACKING] | _BITS[PERSONALIZATION]):
        return OPTED_OUT
    return NO_CONSENT


def _limited(allowed: Permissions, signals: Signals) -> Permissions:
    """What the headers of a request leave: neither tracking nor personalization; GPC forbids sharing too."""
    asked = GLOBAL_PRIVACY_CONTROL if signals.global_privacy_control else DO_NOT_TRACK
    sharing = allowed.data_sharing and not signals.global_privacy_control
    return Permissions(False, False, sharing, allowed.channels, allowed.reason or asked)
