"""What the service says about itself: what is loaded, and whether the stores answer."""

import asyncio
import time
from typing import Any

from feature_repo.layout import Home
from serving.features import FeatureReader
from serving.releases import ReleaseHolder
from serving.store.database import Database


class Operations:
    """Answers for the process. One instance a process."""

    def __init__(
        self,
        reader: FeatureReader,
        releases: ReleaseHolder,
        store_kind: str,
        database: Database,
        home: Home,
        asks_for_keys: bool = False,
    ) -> None:
        self._database = database
        # Longest first: the home may be a link.
        roots = {f"{root}/" for root in (home.root, home.root.resolve())}
        self._roots = sorted(roots, key=len, reverse=True)
        self._access = "keys" if asks_for_keys else "this machine only"
        self._reader = reader
        self._releases = releases
        self._store_kind = store_kind
        self._started = time.monotonic()

    async def health(self) -> dict[str, Any]:
        """What is loaded and whether the stores answer now; `degraded` still recommends."""
        store, database = await asyncio.gather(self._reader.status(), self._database.status())
        release, failure = self._releases.current, self._releases.failure
        manifest = release.release.manifest
        is_well = store.is_reachable and database.is_reachable and failure is None
        return {
            "status": "ok" if is_well else "degraded",
            "release": {
                "release": release.release_id,
                "data_until": release.data_until.isoformat(),
                "created_at": manifest.created_at.isoformat(),
                "loaded_at": release.loaded_at.isoformat(),
                "code_version": manifest.code_version,
                "failed_release": failure.release_id if failure else None,
                "failed_because": self._told(failure.problem) if failure else None,
            },
            "model_versions": release.model_versions,
            "access": self._access,
            "online_store": {
                "reachable": store.is_reachable,
                "kind": self._store_kind,
                "circuit": store.circuit,
                "last_failure": self._told(store.last_failure),
                "hung_threads": store.hung_threads,
            },
            "database": {
                "reachable": database.is_reachable,
                "kind": database.kind,
                "circuit": database.circuit,
                "last_failure": database.last_failure,
            },
            "uptime_seconds": round(time.monotonic() - self._started, 3),
        }

    def _told(self, problem: str | None) -> str | None:
        """A problem for clients: which file of the home, not where on this machine; the logs say that."""
        for root in self._roots:
            problem = problem and problem.replace(root, "")
        return problem
