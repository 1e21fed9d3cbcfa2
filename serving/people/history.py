"""What a customer did, event by event, latest first: from the log, and before that from what was landed.

Events of the log that a run has landed are the same events, told apart by their ids. A page is stable: its
cursor is the instant and id of the last event shown, so events that arrive meanwhile move nothing.
"""

import asyncio
import base64
import binascii
import json
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb

from feature_repo.landed import Landed, LandedReader, Span
from feature_repo.layout import Home
from feature_repo.online_store import instant_of
from serving.errors import InvalidField
from serving.store.database import Database
from serving.store.history import first_received_at, is_in_log, logged_events

logger = logging.getLogger(__name__)

EVENT_LOG, BATCH = "event_log", "batch"
# Within which older days are looked through for one page; what is beyond comes with the next one.
BATCH_SECONDS = 0.08
END_OF_TIME = 253_402_214_400_000_000


@dataclass(frozen=True, slots=True)
class Past:
    """Events latest first (dicts of the contract's fields, `event_at` in microseconds).

    `since`: from this instant on none is missing; None if nothing is known about that. `sources`: what was
    read. `is_cut`: there is more before the last one.
    """

    events: list[dict[str, Any]]
    since: int | None
    sources: tuple[str, ...]
    is_cut: bool


class History:
    """Reads the past of customers. One instance a process, on its event loop."""

    def __init__(self, database: Database, home: Home, is_erased: Callable[[str], bool]) -> None:
        self._database = database
        self._is_erased = is_erased
        self._landed = LandedReader(home)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="landed-reader")

    def close(self) -> None:
        """Let the reading thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def page(
        self,
        user_id: str,
        limit: int = 100,
        cursor: str | None = None,
        types: Sequence[str] = (),
        start: int | None = None,
        end: int | None = None,
    ) -> dict[str, Any]:
        """A page of a customer's events, as the API answers it; `end` is not included.

        Raises `InvalidField` for a cursor that is none of ours, and `StoreUnavailable`.
        """
        before, before_id = _position(cursor) if cursor else (END_OF_TIME if end is None else end, "")
        span = Span(start or 0, before, before_id, tuple(types))
        past = await self.past(user_id, span, limit)
        following: str | None = None
        if past.is_cut:
            last = past.events[-1] if past.events else {"event_at": past.since or 0, "event_id": ""}
            following = _cursor(last["event_at"], last["event_id"])
        return {
            "user_id": user_id,
            "events": [described(event) for event in past.events],
            "next_cursor": following,
            "since": None if past.since is None else instant_of(past.since).isoformat(),
            "sources": list(past.sources),
        }

    async def past(self, user_id: str, span: Span, limit: int, batch_seconds: float = BATCH_SECONDS) -> Past:
        """The latest `limit` events of a span, fewer if that takes too long; raises `StoreUnavailable`."""
        if self._is_erased(user_id):
            return Past([], None, (), is_cut=False)
        logged, landed = await asyncio.gather(
            self._database.read(partial(logged_events, visitor_id=user_id, span=span, limit=limit + 1)),
            self._of_batch(user_id, span, limit + 1, batch_seconds),
        )
        if landed is None:
            first = await self._database.read(first_received_at)
            return Past(logged[:limit], first, (EVENT_LOG,), len(logged) > limit)
        known = {event["event_id"] for event in logged}
        merged = logged + [event for event in landed.rows if event["event_id"] not in known]
        merged.sort(key=lambda event: (event["event_at"], event["event_id"]), reverse=True)
        is_cut = len(merged) > limit
        if not landed.is_whole and len(landed.rows) <= limit:
            # Days before were not looked at: what the log has of them waits for its neighbours.
            merged = [event for event in merged if event["event_at"] >= landed.since]
            is_cut = True
        return Past(merged[:limit], max(landed.since, span.start), (EVENT_LOG, BATCH), is_cut)

    async def customer(self, user_id: str) -> dict[str, Any] | None:
        """What the source of the batch says of a customer; None if it does not know them."""
        if self._is_erased(user_id):
            return None
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._landed.customer, user_id)
        except duckdb.Error as error:
            logger.warning("customers cannot be read now", extra={"error": type(error).__name__})
            return None

    async def has_acted(self, user_id: str) -> bool:
        """Whether the log has any event of this visitor; raises `StoreUnavailable`."""
        return await self._database.read(partial(is_in_log, visitor_id=user_id))

    async def _of_batch(self, user_id: str, span: Span, limit: int, seconds: float) -> Landed | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, user_id, span, limit, seconds)

    def _read(self, user_id: str, span: Span, limit: int, seconds: float) -> Landed | None:
        """On the thread. A day that a run replaces while it is read is read again, once."""
        for is_last in (False, True):
            try:
                return self._landed.events(user_id, span, limit, seconds)
            except (duckdb.Error, OSError) as error:
                self._landed.close()
                if is_last:
                    logger.warning("landed events cannot be read", extra={"error": type(error).__name__})
        return None


def described(event: dict[str, Any]) -> dict[str, Any]:
    """An event as answers show it: instants as text, `context` as an object, no nulls."""
    shown = {name: value for name, value in event.items() if value is not None and name != "event_at"}
    context = shown.get("context")
    if isinstance(context, str):
        shown["context"] = json.loads(context)
    return shown | {"timestamp": instant_of(event["event_at"]).isoformat()}


def now_us() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1000


def _cursor(at: int, event_id: str) -> str:
    return base64.urlsafe_b64encode(f"{at}.{event_id}".encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[int, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, _, event_id = text.partition(".")
        position = int(at)
    except (binascii.Error, ValueError):
        position, event_id = -1, ""
    if not 0 <= position <= END_OF_TIME or "\x00" in event_id:
        raise InvalidField("cursor", cursor[:80], "use the next_cursor of a page, unchanged")
    return position, event_id
