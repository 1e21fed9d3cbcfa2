"""Erasure at the service: what it holds of a person is gone when the call returns; a receipt tells the rest.

At once: the operational store, the online features, the memory of every worker. A tombstone, a salted hash,
is all that stays; it keeps the batch from landing or computing anything of them again. What the batch's files
hold is removed by the next run (`attune run`, or `attune erase USER` for one person now).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from feature_repo.erasure import STORES, add_tombstones, delete_subjects, subjects_of
from feature_repo.event_log import empty_log, operational_url
from feature_repo.layout import Home
from serving.people.tombstones import FOLLOW_SECONDS, Tombstones
from serving.settings import Settings
from serving.store.database import Database

logger = logging.getLogger(__name__)

ERASE_SECONDS = 30.0
# Requests that were being answered, here and at other workers, have written what they write by then.
IN_FLIGHT_SECONDS = 0.3
AT_ONCE = frozenset({"operational", "online", "nothing"})
EraseOnline = Callable[[Sequence[str]], int]


class Privacy:
    """Erases people. One instance a process."""

    def __init__(
        self,
        database: Database,
        tombstones: Tombstones,
        settings: Settings,
        erase_online: EraseOnline | None = None,
    ) -> None:
        self._database = database
        self._tombstones = tombstones
        self._url = operational_url(settings.home, settings.database_url)
        self._erase_online = erase_online or online_eraser(settings.home, settings.redis_url)
        self._erasure_hours = settings.erasure_hours
        self._shares_store = settings.workers > 1

    async def erase(self, user_id: str) -> dict[str, Any]:
        """Forget a person, whether or not anything is known of them; the receipt.

        Raises `StoreUnavailable` if the operational store is away: nothing is erased then, so call again.
        """
        erased_at = time.time_ns() // 1000

        def change(connection: sa.Connection) -> tuple[list[str], dict[str, int]]:
            subjects = subjects_of(connection, user_id)
            counts = delete_subjects(connection, subjects)
            add_tombstones(connection, subjects, erased_at)
            return subjects, counts

        subjects, counts = await self._database.write(change, ERASE_SECONDS)
        await self._tombstones.add(subjects)
        await asyncio.sleep(IN_FLIGHT_SECONDS + (FOLLOW_SECONDS if self._shares_store else 0))
        late = await self._database.write(partial(delete_subjects, subject_ids=subjects), ERASE_SECONDS)
        counts = {name: counts.get(name, 0) + late.get(name, 0) for name in sorted(counts | late)}
        online, problem = await self._forget_online(subjects)
        is_log_empty = await asyncio.to_thread(empty_log, self._url)
        logger.info("erased", extra={"ids": len(subjects), "rows": sum(counts.values()), "online": online})
        return self._receipt(user_id, len(subjects), erased_at, counts, online, problem, is_log_empty)

    async def _forget_online(self, subjects: Sequence[str]) -> tuple[int, str | None]:
        try:
            return await asyncio.to_thread(self._erase_online, subjects), None
        except Exception as error:  # noqa: BLE001 - whatever the store raises: the receipt tells, the next run repeats
            logger.warning("online features were not erased", extra={"problem": type(error).__name__})
            return 0, f"the online store did not answer ({type(error).__name__})"

    def _receipt(
        self,
        user_id: str,
        ids: int,
        erased_at: int,
        counts: dict[str, int],
        online: int,
        problem: str | None,
        is_log_empty: bool,
    ) -> dict[str, Any]:
        at = datetime.fromtimestamp(erased_at / 1e6, UTC)
        until = (at + timedelta(hours=self._erasure_hours)).isoformat(timespec="seconds")
        later = {"until": until, "how": "removed by the next run, at the latest then"}
        remains = [
            {"store": store.pattern, "holds": store.holds, **later}
            for store in STORES
            if store.by not in AT_ONCE
        ]
        if problem is not None:
            how = f"{problem}: removed by the next run, or by this call again"
            remains.append({"store": "online features", "holds": "features", "until": until, "how": how})
        if not is_log_empty:
            how = "readers held the write-ahead log: emptied by the next checkpoint, or by this call again"
            remains.append({"store": "operational/**", "holds": "deleted pages", "until": until, "how": how})
        elif self._url.get_backend_name() != "sqlite":
            how = "dead rows that no query sees: removed by the server's next VACUUM"
            remains.append({"store": "PostgreSQL", "holds": "deleted rows", "until": until, "how": how})
        return {
            "user_id": user_id,
            "erased_at": at.isoformat(),
            "ids": ids,
            "removed": {
                "operational": counts,
                "online_features": online,
                "memory": "every worker of this service",
            },
            "remains": remains,
            "kept": "a salted hash of each id, so that nothing of them is landed or computed again",
        }


def online_eraser(home: Home, redis_url: str | None) -> EraseOnline:
    """Deletes the rows of these ids in every view of the online store; for a thread, opened when called."""

    def erase(subjects: Sequence[str]) -> int:
        from feature_repo.store import delete_user, open_store

        if redis_url is None and not home.online_db.exists():
            return 0
        store = open_store(home, redis_url)
        return sum(delete_user(store, subject) for subject in subjects)

    return erase
