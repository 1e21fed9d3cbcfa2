"""The live state over a real event log (SQLite) and a fake online store, in one process or several."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from feature_repo.live import LiveUser
from serving.features import FeatureReader
from serving.live import LiveState, LiveView
from serving.metrics import Metrics
from serving.people.identities import Identities
from serving.people.permissions import Permissions, Signals
from serving.releases import ReleaseHolder, serve_form
from serving.settings import Settings
from serving.store.database import Database
from serving.tracking import Outcome, Tracker
from tests.fakes import FakeUserStore, tiny_release


@dataclass
class Worker:
    """One serving process, as far as tracking and the live state go."""

    database: Database
    tracker: Tracker
    identities: Identities
    live: LiveState
    reader: FeatureReader
    releases: ReleaseHolder
    metrics: Metrics

    async def track(self, *rows: dict[str, Any]) -> list[Outcome]:
        """Track these events; each must be accepted."""
        outcomes = await self.tracker.track(rows, Signals(), "test")
        assert [each.status for each in outcomes] == ["accepted"] * len(rows), outcomes
        return outcomes

    async def act(self, visitor: str, kind: str, item: str | None = None, **fields: Any) -> None:
        """One act of a customer, or of an anonymous visitor whose id begins with `anon`."""
        who = "anonymous_id" if visitor.startswith("anon") else "user_id"
        row = {"event_type": kind, who: visitor, "item_id": item, **fields}
        await self.track({name: value for name, value in row.items() if value is not None})

    async def row(self, visitor: str) -> LiveUser | None:
        """The live row as a request reads it."""
        [row] = await self.live.read([visitor])
        return row


@asynccontextmanager
async def worker(
    home: Path,
    store: FakeUserStore,
    shares_store: bool = False,
    url: sa.URL | None = None,
    **options: Any,
) -> AsyncIterator[Worker]:
    """A process on this home, or on the event log of this address."""
    metrics = Metrics()
    database = Database.open(url or operational_url(Home(home)), metrics, deadline_seconds=5.0)
    reader = FeatureReader(lambda: store, metrics, probe_seconds=0.05)
    releases = ReleaseHolder(serve_form(tiny_release()), Settings(Home(home)), metrics)
    identities = Identities(database, shares_store)
    await reader.start()
    await identities.start()
    view = LiveView(("row",), _decoded, lambda: store)
    live = LiveState(database, reader, releases, identities, view, metrics, shares_store, **options)
    await live.start()
    tracker = Tracker(database, lambda _, __: Permissions(), metrics)
    tracker.add_listener(identities.observe)
    tracker.add_listener(live.observe)
    try:
        yield Worker(database, tracker, identities, live, reader, releases, metrics)
    finally:
        await live.close()
        await identities.close()
        await reader.close()
        await database.close()


def _decoded(row: dict[str, Any]) -> LiveUser:
    stored = row["row"]
    assert isinstance(stored, LiveUser)
    return stored


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> float:
    """Wait until this holds; how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not come true in time"
        await asyncio.sleep(0.005)
    return time.monotonic() - started


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario to its end."""

    async def whole() -> None:
        await scenario()

    asyncio.run(whole())
