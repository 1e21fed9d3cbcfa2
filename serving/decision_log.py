"""Receipts of decisions: recorded off the hot path, read back, and recomputed.

`record` keeps a decision in memory and hands it to the operational store in groups, ten a second; nobody
waits for that. A decision of the last moments is found in memory, an older one in the store. Every kind of
decision registers in `DECIDERS` the pure function that made it: inputs and release in, output out.
"""

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import orjson
import sqlalchemy as sa

from serving.errors import UnknownDecision
from serving.metrics import Metrics
from serving.releases import ReleaseHolder, ServedRelease
from serving.store.decisions import (
    DecisionRow,
    OutcomeRow,
    append_decisions,
    append_outcomes,
    find_decision,
    has_acted_since,
    latest_decision,
    outcomes_of,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
Decider = Callable[[Mapping[str, Any], ServedRelease], Mapping[str, Any]]

DECIDERS: dict[str, Decider] = {}
"""Kind -> the pure function that decides it; each owner registers its own when its module is imported."""

RANDOM_DIGITS, RANDOM_IDS = 20, 512
FLUSH_SECONDS = 0.1
FLUSH_ROWS = 512
REMEMBERED = 1_000
CLICKED, CONVERTED, SERVED = "clicked", "converted", "served"
STATUS_OF_EVENT = {
    "recommendation_click": CLICKED,
    "bundle_click": CLICKED,
    "offer_click": CLICKED,
    "content_click": CLICKED,
    "banner_click": CLICKED,
    "email_click": CLICKED,
    "purchase": CONVERTED,
    "offer_redeem": CONVERTED,
    "bundle_add": CLICKED,
    "experiment_conversion": CONVERTED,
    "experience_interaction": CLICKED,
    "conversion_achieved": CONVERTED,
}


class Store(Protocol):
    """What the log needs of the operational store; `serving.store.database.Database` is one."""

    async def read(self, query: Callable[[sa.Connection], T]) -> T: ...

    def write_soon(self, change: Callable[[sa.Connection], None]) -> bool: ...


class TrackedEvent(Protocol):
    """What the log looks at in an event; `serving.tracking.LoggedEvent` has it."""

    @property
    def event_id(self) -> str: ...

    @property
    def event_type(self) -> str: ...

    @property
    def user_id(self) -> str | None: ...

    @property
    def anonymous_id(self) -> str | None: ...

    @property
    def item_id(self) -> str | None: ...

    @property
    def event_at(self) -> int: ...

    @property
    def fields(self) -> Mapping[str, Any]: ...


_random_ids: list[str] = []


def new_decision_id() -> str:
    """32 hex digits: 12 of the millisecond, so that the store's index grows at one end, 20 at random."""
    if not _random_ids:
        # Many at once: each call lets go of Python's lock, and the threads that read and write take it.
        digits = os.urandom(RANDOM_DIGITS // 2 * RANDOM_IDS).hex()
        _random_ids.extend(digits[at : at + RANDOM_DIGITS] for at in range(0, len(digits), RANDOM_DIGITS))
    return f"{time.time_ns() // 1_000_000:012x}{_random_ids.pop()}"


class DecisionLog:
    """Records decisions and explains them. One instance a process, on its event loop."""

    def __init__(self, store: Store | None, releases: ReleaseHolder, metrics: Metrics) -> None:
        self._store = store
        self._releases = releases
        self._metrics = metrics
        self._waiting: list[DecisionRow] = []
        self._recent: OrderedDict[str, DecisionRow] = OrderedDict()
        self._flush_timer: asyncio.TimerHandle | None = None

    def record(
        self,
        kind: str,
        visitor_id: str | None,
        inputs: Mapping[str, Any],
        output: Mapping[str, Any],
        release: str,
        decision_id: str | None = None,
    ) -> str:
        """Note a decision and return its id; it is stored soon, and nobody waits for it.

        `inputs` and `output` are of JSON values, and are written down now: later changes do not reach them.
        """
        decision_id = decision_id or new_decision_id()
        row = DecisionRow(
            decision_id,
            kind,
            visitor_id,
            time.time_ns() // 1_000,
            release,
            orjson.dumps(inputs).decode(),
            orjson.dumps(output).decode(),
        )
        recent = self._recent
        recent[decision_id] = row
        if len(recent) > REMEMBERED:
            recent.popitem(last=False)
        waiting = self._waiting
        waiting.append(row)
        if len(waiting) >= FLUSH_ROWS:
            self.flush()
        elif self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        return decision_id

    def flush(self) -> None:
        """Hand what waits to the store now."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        rows, self._waiting = self._waiting, []
        if rows and self._store is not None:
            is_taken = self._store.write_soon(lambda connection: append_decisions(connection, rows))
            self._metrics.decisions_recorded.labels("stored" if is_taken else "lost").inc(len(rows))

    def observe(self, events: Sequence[TrackedEvent]) -> None:
        """A listener of the tracker: events that carry a decision's id become its outcomes."""
        found = [
            OutcomeRow(
                str(event.fields["recommendation_id"]),
                event.user_id or event.anonymous_id,
                event.item_id,
                STATUS_OF_EVENT[event.event_type],
                event.event_id,
                event.event_at,
            )
            for event in events
            if event.event_type in STATUS_OF_EVENT and event.fields.get("recommendation_id")
        ]
        if found and self._store is not None:
            self._store.write_soon(lambda connection: append_outcomes(connection, found))

    def forget(self, is_erased: Callable[[str], bool]) -> None:
        """Drop from memory what concerns erased visitors."""
        for key, row in list(self._recent.items()):
            if row.visitor_id is not None and is_erased(row.visitor_id):
                del self._recent[key]
        self._waiting = [
            row for row in self._waiting if row.visitor_id is None or not is_erased(row.visitor_id)
        ]

    async def latest_untouched(self, visitor_id: str, kind: str, since: int) -> DecisionRow | None:
        """The visitor's latest stored decision of a kind at or after an instant (microseconds).

        None if the visitor did anything since that decision.
        """

        def query(connection: sa.Connection) -> DecisionRow | None:
            row = latest_decision(connection, visitor_id, kind, since)
            return None if row is None or has_acted_since(connection, visitor_id, row.at) else row

        return None if self._store is None else await self._store.read(query)

    async def explain(self, decision_id: str, visitor_id: str | None = None) -> dict[str, Any]:
        """What a decision saw and gave, what became of it, and whether it comes out the same again.

        Raises `UnknownDecision` for an id that is not known, or not of this visitor if one is named.
        """
        row, outcomes = await self._find(decision_id)
        if row is None or (visitor_id is not None and row.visitor_id != visitor_id):
            raise UnknownDecision(decision_id)
        inputs, output = orjson.loads(row.inputs), orjson.loads(row.output)
        again, why_not = await self._recompute(row.kind, inputs, row.release)
        statuses = {outcome.status for outcome in outcomes}
        return {
            "decision_id": row.decision_id,
            "kind": row.kind,
            "customer_id": row.visitor_id,
            "at": datetime.fromtimestamp(row.at / 1e6, UTC).isoformat(),
            "release": row.release,
            "status": next((each for each in (CONVERTED, CLICKED) if each in statuses), SERVED),
            "outcomes": [
                {
                    "status": outcome.status,
                    "item_id": outcome.item_id,
                    "event_id": outcome.event_id,
                    "at": datetime.fromtimestamp(outcome.at / 1e6, UTC).isoformat(),
                }
                for outcome in outcomes
            ],
            "inputs": inputs,
            "output": output,
            "recomputed": again is not None,
            "identical": None if again is None else again == output,
            "not_recomputed_because": why_not,
        }

    async def _find(self, decision_id: str) -> tuple[DecisionRow | None, list[OutcomeRow]]:
        recent = self._recent.get(decision_id)
        if self._store is None:
            return recent, []

        def query(connection: sa.Connection) -> tuple[DecisionRow | None, list[OutcomeRow]]:
            row = recent or find_decision(connection, decision_id)
            return row, [] if row is None else outcomes_of(connection, decision_id)

        return await self._store.read(query)

    async def _recompute(
        self, kind: str, inputs: Mapping[str, Any], release_id: str
    ) -> tuple[Any, str | None]:
        decider = DECIDERS.get(kind)
        if decider is None:
            return None, f"decisions of kind {kind!r} are not recomputed"
        release = await self._releases.find(release_id)
        if release is None:
            return None, f"release {release_id} is not kept any more"
        output = await asyncio.to_thread(decider, inputs, release)
        return orjson.loads(orjson.dumps(output)), None
