"""Who was erased, as salted hashes in memory: asked before anything is tracked or decided.

Whoever keeps something about people in memory registers a listener and drops what the given test names; so
the other workers forget within a second of an erasure, without ever learning an id.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from feature_repo.erasure import ensure_salt, subject_hash
from feature_repo.event_log import tombstones
from serving.errors import StoreUnavailable
from serving.store.database import Database

logger = logging.getLogger(__name__)

SALT = "tombstones"
FOLLOW_SECONDS = 0.5
UNREAD = (-1, -1)

Forget = Callable[[Callable[[str], bool]], None]


class Tombstones:
    """The erased of this installation. One instance a process, on its event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._salt = b""
        self._hashes: frozenset[str] = frozenset()
        self._seen: tuple[int, int] = (0, 0)
        self._listeners: list[Forget] = []
        self._turn = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None

    def add_listener(self, forget: Forget) -> None:
        """Call this with a test for ids whenever somebody was erased, here or by another process."""
        self._listeners.append(forget)

    async def start(self) -> None:
        """Load the list and follow it from now on."""
        with contextlib.suppress(StoreUnavailable):
            await self.follow()
        self._follower = asyncio.create_task(self._follow_on(), name="tombstone-follow")

    async def close(self) -> None:
        """Stop following."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower

    def is_erased(self, subject_id: str) -> bool:
        """Whether this customer or visitor was erased and has not been admitted again since."""
        return bool(self._hashes) and subject_hash(self._salt, subject_id) in self._hashes

    async def add(self, subject_ids: Sequence[str]) -> None:
        """Act on an erasure of this process now: its tombstones are committed."""
        async with self._turn:
            salt = await self._known_salt()
            self._hashes |= {subject_hash(salt, subject_id) for subject_id in subject_ids}
            self._seen = UNREAD
            for forget in self._listeners:
                forget(frozenset(subject_ids).__contains__)

    async def _known_salt(self) -> bytes:
        if not self._salt:
            self._salt = await self._database.write(lambda connection: ensure_salt(connection, SALT))
        return self._salt

    async def follow(self) -> None:
        """Read the list if it changed since the last time; raises `StoreUnavailable`."""
        async with self._turn:
            await self._known_salt()
            seen = await self._database.read(_state)
            if seen == self._seen:
                return
            found = await self._database.read(_hashes)
            has_more = bool(found - self._hashes)
            self._hashes, self._seen = found, seen
            if has_more:
                for forget in self._listeners:
                    forget(self.is_erased)

    async def _follow_on(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                await self.follow()


def _state(connection: sa.Connection) -> tuple[int, int]:
    """Changes whenever a tombstone is set or taken away."""
    query = sa.select(sa.func.count(), sa.func.max(tombstones.c.erased_at))
    count, latest = connection.execute(query).one()
    return count, latest or 0


def _hashes(connection: sa.Connection) -> frozenset[str]:
    return frozenset(connection.execute(sa.select(tombstones.c.subject_hash)).scalars())
