"""Anonymous visitors who turned out to be customers.

An anonymous id joins one customer, once; everything it did, before and after, is that customer's. The first
link stands. On a shared device a second customer cannot take over the first one's visits: naming another
customer for a joined anonymous id is refused (409), and an event that carries both counts for the customer it
names without moving the link. So an application gives a browser a new anonymous id when somebody signs out.

Every process knows the latest links in memory; with several workers the others follow within
`FOLLOW_SECONDS`.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from serving.errors import IdentityTaken, StoreUnavailable
from serving.store.database import Database
from serving.store.identities import anonymous_ids_of, insert_link, links_after

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 0.15
PAGE_ROWS = 10_000
MAX_LINKS = 500_000
# PostgreSQL hands out sequences before it commits: the last ones are read again.
REREAD_ROWS = 256
FORGET_AT_ONCE = 1_000

Joined = Callable[[str, str], None]


class Identified(Protocol):
    """An event as far as it says who acted; `serving.tracking.LoggedEvent` is one."""

    @property
    def user_id(self) -> str | None: ...
    @property
    def anonymous_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Link:
    """An anonymous id and the customer it belongs to; `is_new` if this call joined them."""

    anonymous_id: str
    user_id: str
    is_new: bool


class Identities:
    """The links of this installation. One instance a process, on its event loop."""

    def __init__(self, database: Database, shares_store: bool = False) -> None:
        """`shares_store`: other workers link too, and are followed."""
        self._database = database
        self._shares_store = shares_store
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._sequence = 0
        self._listeners: list[Joined] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the links; a store that is away is read later."""
        with contextlib.suppress(StoreUnavailable):
            await self._follow()
        if self._shares_store or not self._sequence:
            self._follower = asyncio.create_task(self._follow_on(), name="identities-follow")

    async def close(self) -> None:
        """Finish the links that are being written."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add_listener(self, joined: Joined) -> None:
        """Call this with (anonymous id, customer) for each new link."""
        self._listeners.append(joined)

    def owner(self, visitor_id: str) -> str:
        """The customer that an anonymous id belongs to; any other id as it is."""
        return self._owners.get(visitor_id, visitor_id)

    async def link(self, anonymous_id: str, user_id: str) -> Link:
        """Join them; the same again changes nothing. Raises `IdentityTaken` and `StoreUnavailable`."""
        owner, is_new = self._owners.get(anonymous_id, ""), False
        if not owner:
            now = time.time_ns() // 1000
            change = partial(insert_link, anonymous_id=anonymous_id, user_id=user_id, linked_at=now)
            owner, is_new = await self._database.write(change)
            self._remember(anonymous_id, owner)
        if owner != user_id:
            raise IdentityTaken(anonymous_id)
        return Link(anonymous_id, user_id, is_new)

    async def anonymous_ids(self, user_id: str) -> list[str]:
        """The anonymous ids that joined a customer; raises `StoreUnavailable`."""
        return await self._database.read(partial(anonymous_ids_of, user_id=user_id))

    def observe(self, events: Sequence[Identified]) -> None:
        """Listener of the tracker: an event that carries both ids joins them, now in memory, then durably."""
        for event in events:
            anonymous_id, user_id = event.anonymous_id, event.user_id
            if anonymous_id and user_id and anonymous_id != user_id and anonymous_id not in self._owners:
                self._remember(anonymous_id, user_id)
                self._spawn(self._write(anonymous_id, user_id))

    def forget(self, is_erased: Callable[[str], bool]) -> None:
        """Listener of the tombstones: drop the links of whoever was erased, soon: each test costs a hash.

        Until then nothing may be done with them anyway.
        """
        self._spawn(self._forget(is_erased))

    async def _forget(self, is_erased: Callable[[str], bool]) -> None:
        links = list(self._owners.items())
        for start in range(0, len(links), FORGET_AT_ONCE):
            for anonymous_id, owner in links[start : start + FORGET_AT_ONCE]:
                if is_erased(anonymous_id) or is_erased(owner):
                    self._owners.pop(anonymous_id, None)
            await asyncio.sleep(0)

    async def _write(self, anonymous_id: str, user_id: str) -> None:
        now = time.time_ns() // 1000
        change = partial(insert_link, anonymous_id=anonymous_id, user_id=user_id, linked_at=now)
        try:
            owner, _ = await self._database.write(change)
        except StoreUnavailable:
            # The event is in the log and carries both ids: the next one, or the next start, links them.
            self._owners.pop(anonymous_id, None)
            logger.warning("an identity could not be written; the next event of the visitor will")
            return
        self._owners[anonymous_id] = owner
        for joined in self._listeners:  # again, for whoever reads the link from the database
            joined(anonymous_id, owner)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _remember(self, anonymous_id: str, user_id: str) -> None:
        if self._owners.get(anonymous_id) == user_id:
            return
        self._owners[anonymous_id] = user_id
        if len(self._owners) > MAX_LINKS:
            self._owners.popitem(last=False)
        for joined in self._listeners:
            joined(anonymous_id, user_id)

    async def _follow(self) -> None:
        after = max(0, self._sequence - REREAD_ROWS)
        while True:
            page = await self._database.read(partial(links_after, sequence=after, limit=PAGE_ROWS))
            for after, anonymous_id, user_id in page:  # noqa: B007 - the last one is where to go on
                self._remember(anonymous_id, user_id)
            self._sequence = max(self._sequence, after)
            if len(page) < PAGE_ROWS:
                return

    async def _follow_on(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_SECONDS if self._shares_store else 1.0)
            with contextlib.suppress(StoreUnavailable):
                await self._follow()
                if not self._shares_store:
                    return
