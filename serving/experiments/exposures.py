"""First exposures on their way to the log: once per visitor and experiment, and nobody waits for it.

The id of an exposure's event follows from the visitor and the experiment, so that two workers, or one that
was killed between the log and the table, still make one event. The table of exposures says which are logged.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

from serving.errors import StoreUnavailable
from serving.metrics import Metrics
from serving.people.permissions import NO_SIGNALS, Signals
from serving.store import experiments as store
from serving.store.database import Database

FLUSH_SECONDS = 0.2
FLUSH_ROWS = 200
RETRY_SECONDS = 1.0
MAX_WAITING = 20_000
REMEMBERED = 200_000
EXPOSURE = "experiment_exposure"


class Outcome(Protocol):
    """What became of one event; `serving.tracking.Outcome` is one."""

    @property
    def event_id(self) -> str | None: ...

    @property
    def status(self) -> str: ...

    @property
    def detail(self) -> str | None: ...

    @property
    def reason(self) -> str | None: ...


class EventLog(Protocol):
    """Where exposures and conversions go; `serving.tracking.Tracker` is one."""

    async def track(
        self, rows: Sequence[Mapping[str, Any]], signals: Signals, source: str
    ) -> Sequence[Outcome]: ...


class Exposures:
    """Who met what. One instance a process, on its event loop."""

    def __init__(self, database: Database, tracker: EventLog, metrics: Metrics) -> None:
        self._database = database
        self._tracker = tracker
        self._metrics = metrics
        # Who met what, so that the second answer asks nobody; and what is not written yet.
        self._met: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._waiting: deque[tuple[str, str, str, float | None, int]] = deque()
        self._has_waiting = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write from now on."""
        self._task = asyncio.create_task(self._log_exposures(), name="experiments-exposures")

    async def close(self) -> None:
        """Write what waits, if the store answers, and end."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(StoreUnavailable):
            while self._waiting:
                await self.flush()

    def add(
        self,
        visitor_id: str,
        arms: Mapping[str, str],
        propensity: Callable[[str, str], float | None] = lambda _experiment_id, _variant: None,
    ) -> None:
        """Have first meetings of this visitor with these arms logged; nobody waits for it.

        `propensity`: with which probability the experiment deals the variant now.
        """
        for experiment_id, variant in arms.items():
            key = (experiment_id, visitor_id)
            if key in self._met:
                continue
            if len(self._waiting) >= MAX_WAITING:
                self._metrics.exposures.labels("dropped").inc()
                continue
            self._met[key] = None
            if len(self._met) > REMEMBERED:
                self._met.popitem(last=False)
            share = propensity(experiment_id, variant)
            self._waiting.append((experiment_id, visitor_id, variant, share, time.time_ns() // 1000))
            self._has_waiting.set()

    def forget(self, is_erased: Callable[[str], bool]) -> None:
        """Drop what is remembered of erased visitors."""
        for key in [key for key in self._met if is_erased(key[1])]:
            del self._met[key]
        self._waiting = deque(each for each in self._waiting if not is_erased(each[1]))

    def waiting_arms(self, visitor_id: str) -> dict[str, str]:
        """Experiment -> variant of exposures that are not written yet."""
        return {each[0]: each[2] for each in self._waiting if each[1] == visitor_id}

    async def _log_exposures(self) -> None:
        while True:
            await self._has_waiting.wait()
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Log the oldest that wait. What cannot be logged now stays in the queue."""
        taken = [self._waiting[place] for place in range(min(FLUSH_ROWS, len(self._waiting)))]
        pairs = [(experiment_id, visitor_id) for experiment_id, visitor_id, *_ in taken]
        known = await self._database.read(lambda connection: store.known_exposures(connection, pairs))
        new = [each for each in taken if (each[0], each[1]) not in known]
        outcomes = await self._tracker.track(
            [_exposure_event(*each[:4]) for each in new], NO_SIGNALS, "experiments"
        )
        logged = []
        for (experiment_id, visitor_id, variant, _, at), outcome in zip(new, outcomes, strict=True):
            # One that was logged before is here too; with another variant, by a definition of before.
            is_logged = outcome.status in ("accepted", "duplicate") or outcome.reason == "event_id_taken"
            self._metrics.exposures.labels("logged" if is_logged else "refused").inc()
            if is_logged:
                logged.append(
                    {
                        "experiment_id": experiment_id,
                        "visitor_id": visitor_id,
                        "variant": variant,
                        "exposed_at": at,
                    }
                )
        if logged:
            await self._database.write(lambda connection: store.add_exposures(connection, logged))
        done = set(pairs)
        while self._waiting and (self._waiting[0][0], self._waiting[0][1]) in done:
            self._waiting.popleft()
        if not self._waiting:
            self._has_waiting.clear()


def exposure_id(experiment_id: str, visitor_id: str) -> str:
    """The event id of an exposure: the same on every worker."""
    return "exposure-" + blake2b(f"{experiment_id}:{visitor_id}".encode(), digest_size=16).hexdigest()


def _exposure_event(
    experiment_id: str, visitor_id: str, variant: str, propensity: float | None
) -> dict[str, Any]:
    return {
        "event_id": exposure_id(experiment_id, visitor_id),
        "event_type": EXPOSURE,
        "user_id": visitor_id,
        "experiment_id": experiment_id,
        "context": {"variant": variant}
        if propensity is None
        else {"variant": variant, "propensity": propensity},
    }
