"""Tracking: acts of visitors into the event log, acknowledged once they are durable.

Every spelling of "track" comes here: names are translated, the contract is checked, consent is asked, and
what many requests bring meanwhile is appended together by one statement and one commit. An event that the
client gave an id counts once, however often it is sent.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from feature_repo.events import EVENT_TYPES
from feature_repo.single_event import (
    FIELDS,
    UNKNOWN_TYPE,
    EventRefused,
    SingleEvent,
    body_of,
    read_event,
    with_nearest_types,
    with_order,
)
from serving.errors import StoreUnavailable
from serving.metrics import LabelCache, Metrics
from serving.people.consent import CONSENT_EVENTS, CONSENT_UNKNOWN
from serving.people.permissions import Permissions, Signals
from serving.store.database import Database
from serving.store.event_log import NewEvent, StoredEvent, append_events, find_events

logger = logging.getLogger(__name__)

ACCEPTED, DUPLICATE, REFUSED, NOT_TRACKED = "accepted", "duplicate", "refused", "not_tracked"
CONFLICT = "event_id_taken"
DETECTED = "behavior_detected"
TRACKING_OFF = "behavioral_tracking_disabled"
HISTORY_OFF = "browsing_history_disabled"
MAX_HINTS = 5
"""Unknown types of one request for which the nearest are named: to find them takes milliseconds each."""
LISTENER_SECONDS = 0.15
MAX_WAITING = 50_000
MAX_AT_ONCE = 5_000

OTHER_NAMES: Mapping[str, str] = {
    "customer_id": "user_id",
    "product_id": "item_id",
    "timestamp": "event_at",
    "activity_type": "event_type",
    "behavior_type": "event_type",
    "interaction_type": "event_type",
}
"""What the documents call a field -> its name in the contract."""
NAMES: Mapping[str, str] = {name: name for name in FIELDS} | dict(OTHER_NAMES)
FROM_CONTEXT = {"device_type": "device_type", "device": "device_type", "session_id": "session_id"}

PermissionsOf = Callable[[str | None, Signals], Permissions]
Heed = Callable[[Sequence[SingleEvent]], Awaitable[None]]
Listener = Callable[[Sequence["LoggedEvent"]], Awaitable[None] | None]


class LoggedEvent(NamedTuple):
    """An event of the log. Instants in microseconds; `fields`: the others that are not null."""

    sequence: int
    event_id: str
    event_type: str
    user_id: str | None
    anonymous_id: str | None
    item_id: str | None
    event_at: int
    received_at: int
    fields: dict[str, Any]


class Outcome(NamedTuple):
    """What became of one event: accepted, duplicate, refused or not_tracked.

    `detail` says in words why it was refused; `reason` is the rule or what forbids tracking.
    """

    event_id: str | None
    status: str
    detail: str | None = None
    reason: str | None = None
    field: str | None = None
    value: str | None = None
    remedy: str | None = None

    @classmethod
    def refusal(cls, refused: EventRefused) -> Self:
        """Of an event that breaks the contract."""
        return cls(None, REFUSED, str(refused), refused.reason, refused.field, refused.value, refused.remedy)


@dataclass(slots=True, eq=False)
class _Entry:
    """An event on its way into the log."""

    event: SingleEvent
    row: NewEvent
    has_own_id: bool


@dataclass(slots=True, eq=False)
class _Waiting:
    """The events of one request, and what became of them once they are committed."""

    entries: list[_Entry]
    done: asyncio.Future[list[Outcome]]


@dataclass(slots=True)
class _Appended:
    """What one commit brought: events in the log's order, and an outcome for each entry."""

    events: list[LoggedEvent] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


class Tracker:
    """Takes the events of the requests of one event loop."""

    def __init__(
        self,
        database: Database,
        permissions: PermissionsOf,
        metrics: Metrics,
        is_enabled: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], int] = time.time_ns,
        heed: Heed | None = None,
    ) -> None:
        """`heed` is told of events that concern consent, tracked or not, before they are answered."""
        self._database = database
        self._heed = heed
        self._permissions = permissions
        self._is_enabled = is_enabled
        self._clock = clock
        self._counts = LabelCache(metrics.tracked_events)
        self._ids = EventIds(clock)
        self._listeners: list[Listener] = []
        self._waiting: list[_Waiting] = []
        self._waiting_count = 0
        self._appending: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def add_listener(self, listener: Listener) -> None:
        """Have this called with what each commit brought, in the log's order, before it is acknowledged.

        An awaitable that it returns is waited for, but no longer than `LISTENER_SECONDS`.
        """
        self._listeners.append(listener)

    async def track(self, rows: Sequence[Mapping[str, Any]], signals: Signals, source: str) -> list[Outcome]:
        """What became of each event, in order; returns when those accepted are durable and known here.

        Rows hold fields of the contract (see `row_of`). `source` is the route, for the metrics.
        """
        now = self._clock() // 1000
        outcomes: list[Outcome | None] = []
        entries: list[_Entry] = []
        allowed: dict[tuple[str | None, str | None], str | None] = {}
        hints = MAX_HINTS
        said: list[SingleEvent] = []
        for row in rows:
            try:
                event = read_event(row, now)
            except EventRefused as refused:
                if refused.reason == UNKNOWN_TYPE and hints > 0:
                    hints -= 1
                    refused = with_nearest_types(refused)
                outcomes.append(Outcome.refusal(refused))
                continue
            if event.event_type in CONSENT_EVENTS:
                said.append(event)
            visitor = (event.user_id, event.anonymous_id)
            if visitor not in allowed:
                allowed[visitor] = self._forbidden_by(visitor, signals)
            reason = allowed[visitor] or self._switched_off(event)
            if reason is not None:
                outcomes.append(Outcome(None, NOT_TRACKED, reason=reason))
                continue
            outcomes.append(None)
            entries.append(self._entry(event))
        if said and self._heed is not None:
            await self._heed(said)
        appended = iter(await self._append(entries) if entries else ())
        complete = [outcome or next(appended) for outcome in outcomes]
        for status, count in Counter([outcome.status for outcome in complete]).items():
            self._counts[source, status].inc(count)
        return complete

    # what may be tracked

    def _forbidden_by(self, visitor: tuple[str | None, str | None], signals: Signals) -> str | None:
        for visitor_id in visitor:
            if visitor_id is not None:
                permissions = self._permissions(visitor_id, signals)
                if permissions.reason == CONSENT_UNKNOWN:  # not a no: the store that knows is away
                    raise StoreUnavailable("what visitors allowed is not read yet")
                if not permissions.tracking:
                    return permissions.reason or "not_allowed"
        return None

    def _switched_off(self, event: SingleEvent) -> str | None:
        if not self._is_enabled("behavioral_tracking"):
            return TRACKING_OFF
        if EVENT_TYPES[event.event_type].group == "browse" and not self._is_enabled("browsing_history"):
            return HISTORY_OFF
        return None

    # into the log

    def _entry(self, event: SingleEvent) -> _Entry:
        has_own_id = event.event_id is not None
        event_id = event.event_id or self._ids.next()
        with_order(event, event_id)
        row = NewEvent(
            event_id, event.event_type, event.user_id, event.anonymous_id, event.event_at, body_of(event)
        )
        return _Entry(event, row, has_own_id)

    async def _append(self, entries: list[_Entry]) -> list[Outcome]:
        """Wait until these are committed, together with what others bring meanwhile."""
        if self._waiting_count + len(entries) > MAX_WAITING:
            raise StoreUnavailable(f"{self._waiting_count} events wait already")
        waiting = _Waiting(entries, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_count += len(entries)
        if self._appending is None or self._appending.done():
            self._appending = asyncio.create_task(self._append_waiting(), name="append-events")
        return await waiting.done

    async def _append_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = self._take()
            entries = [entry for waiting in group for entry in waiting.entries]
            try:
                appended = await self._database.write(partial(self._log, entries))
            except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
                _fail(group, error)
            else:
                # Soon, not now: the writer's thread has the next group before this one is told.
                loop.call_soon(self._committed, group, appended)

    def _committed(self, group: Sequence[_Waiting], appended: _Appended) -> None:
        pending = self._tell(appended.events)
        if pending:
            answering = asyncio.create_task(_answer_after(pending, group, appended.outcomes))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)
        else:
            _answer(group, appended.outcomes)

    def _take(self) -> list[_Waiting]:
        """The requests whose turn it is: at most `MAX_AT_ONCE` events, and at least one request."""
        count = taken = 0
        while taken < len(self._waiting) and (not taken or count < MAX_AT_ONCE):
            count += len(self._waiting[taken].entries)
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._waiting_count -= count
        return group

    def _log(self, entries: Sequence[_Entry], connection: sa.Connection) -> _Appended:
        """Append what is new; runs on the writer's thread, in its transaction."""
        known = find_events(connection, {entry.row.event_id for entry in entries if entry.has_own_id})
        fresh: dict[str, NewEvent] = {}
        for entry in entries:
            if entry.row.event_id not in known:
                fresh.setdefault(entry.row.event_id, entry.row)
        received_at = self._clock() // 1000
        sequences = append_events(connection, list(fresh.values()), received_at)
        if len(sequences) < len(fresh):  # another process was faster with these ids
            known |= find_events(connection, fresh.keys() - sequences.keys())
        appended = _Appended()
        for entry in entries:
            event_id = entry.row.event_id
            stored = known.get(event_id) if entry.has_own_id else None
            if stored is None:
                sequence = sequences[event_id]
                if entry.has_own_id:
                    known[event_id] = StoredEvent(*entry.row[1:])
                appended.events.append(_logged(entry.event, sequence, received_at))
                appended.outcomes.append(Outcome(event_id, ACCEPTED))
            elif _is_same(entry, stored):
                appended.outcomes.append(Outcome(event_id, DUPLICATE))
            else:
                appended.outcomes.append(_conflict(event_id))
        return appended

    def _tell(self, events: Sequence[LoggedEvent]) -> list[Awaitable[None]]:
        """Tell the listeners; what they want waited for."""
        pending: list[Awaitable[None]] = []
        for listener in self._listeners if events else ():
            try:
                answer = listener(events)
            except Exception:  # the events are durable: what is made of them must not undo that
                logger.exception("a listener to tracking failed")
            else:
                if answer is not None:
                    pending.append(answer)
        return pending


class EventIds:
    """Ids for events that come without: UUIDs of version 7 without hyphens, which grow: the index appends."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._last = 0
        # Asking the system for each id would hand the interpreter over to other threads each time.
        self._bits = Random(os.urandom(32)).getrandbits

    def next(self) -> str:
        """The next id: milliseconds, a count within them (12 bits), 62 random bits."""
        tick = max(self._clock() // 1_000_000 << 12, self._last + 1)
        self._last = tick
        return f"{(tick >> 12) << 16 | 0x7000 | tick & 0xFFF:016x}{self._bits(62) | 1 << 63:016x}"


def row_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the contract in a request of any spelling; raises `EventRefused`.

    `customer_id` is `user_id`, `product_id` is `item_id`, `timestamp` is `event_at`, and so on; one field
    under two names must have one value. `data` may hold any of them. What the contract has no field for goes
    into `context`; a device or a session that stands there is lifted out of it. The `behavior_type` of a
    `behavior_detected` event is what was detected, and no other name of the event's type.
    """
    row: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if (body.get("event_type") or body.get("behavior_type")) == DETECTED:
        body = _without_detection(body, extra)
    _sort_fields(body, row, extra)
    data = extra.pop("data", None)
    if type(data) is dict:
        _sort_fields(data, row, extra)
    elif data is not None:
        raise EventRefused("bad_context", "data", data, "use a JSON object")
    if extra:
        context = row.get("context")
        if context is None:
            row["context"] = extra
        elif type(context) is dict:
            row["context"] = extra | context
        else:
            raise EventRefused("bad_context", "context", context)
    context = row.get("context")
    if type(context) is dict:
        for given, name in FROM_CONTEXT.items():
            if row.get(name) is None and type(context.get(given)) is str:
                row[name] = context[given]
    return row


def _without_detection(body: Mapping[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """A `behavior_detected` event without the `behavior_type` that was detected, which `extra` gets."""
    kept = {name: value for name, value in body.items() if name != "behavior_type"}
    kept["event_type"] = DETECTED
    detected = body.get("behavior_type") if body.get("event_type") == DETECTED else None
    data = body.get("data")
    if type(data) is dict:
        kept["data"] = {name: value for name, value in data.items() if name != "behavior_type"}
        detected = detected or data.get("behavior_type")
    if detected is not None:
        extra["behavior_type"] = detected
    return kept


def _sort_fields(body: Mapping[str, Any], row: dict[str, Any], extra: dict[str, Any]) -> None:
    for given, value in body.items():
        name = NAMES.get(given)
        if name is None:
            extra.setdefault(given, value)
        elif name not in row or row[name] is None:
            row[name] = value
        elif value is not None and str(value) != str(row[name]):
            remedy = f"it is the same field as {name}={row[name]!r}; give one"
            raise EventRefused("two_values", given, value, remedy)


def _logged(event: SingleEvent, sequence: int, received_at: int) -> LoggedEvent:
    assert event.event_id is not None
    return LoggedEvent(
        sequence,
        event.event_id,
        event.event_type,
        event.user_id,
        event.anonymous_id,
        event.fields.get("item_id"),
        event.event_at,
        received_at,
        event.fields,
    )


def _is_same(entry: _Entry, stored: StoredEvent) -> bool:
    """Whether what came again is what is stored; an instant that was left out is whatever it was then."""
    given = StoredEvent(*entry.row[1:])
    if not entry.event.has_own_instant:
        given = given._replace(event_at=stored.event_at)
    return given == stored


def _conflict(event_id: str) -> Outcome:
    remedy = "another event has this id; give each event an id of its own, and repeat one unchanged"
    refused = EventRefused(CONFLICT, "event_id", event_id, remedy)
    return Outcome(event_id, REFUSED, str(refused), CONFLICT, "event_id", refused.value, remedy)


def _answer(group: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
    start = 0
    for waiting in group:
        end = start + len(waiting.entries)
        if not waiting.done.done():
            waiting.done.set_result(list(outcomes[start:end]))
        start = end


async def _answer_after(
    pending: Sequence[Awaitable[None]], group: Sequence[_Waiting], outcomes: Sequence[Outcome]
) -> None:
    """Answer once the listeners are ready, or after `LISTENER_SECONDS`."""
    tasks = [asyncio.ensure_future(each) for each in pending]
    for task in tasks:
        task.add_done_callback(_note_failure)
    await asyncio.wait(tasks, timeout=LISTENER_SECONDS)
    _answer(group, outcomes)


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)


def _note_failure(task: "asyncio.Future[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("a listener to tracking failed", exc_info=task.exception())
