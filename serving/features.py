"""The reader of online features: one batch in flight, a deadline, a circuit breaker, never an exception.

Requests ask from the event loop; one thread reads. Ids that are asked for while a batch is in flight wait and
go together in the next one, so sixteen concurrent requests cost the store one or two reads. Whoever is not
answered within the deadline gets a `Reading` with a failure, which the caller answers by its fallback:

- the first batch that misses its deadline opens the circuit: from then on nobody waits;
- while it is open a probe reads once a second, on a fresh thread if the old one hangs; an answer closes it;
- a batch that fails outright (a refused connection) opens the circuit after a few in a row.
"""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from serving.metrics import Metrics

logger = logging.getLogger(__name__)

TIMEOUT = "online_store_timeout"
ERROR = "online_store_error"
UNAVAILABLE = "online_store_unavailable"

PROBE_SECONDS = 1.0
MAX_PATIENCE_DOUBLINGS = 6
FAILURES_TO_OPEN = 3
MAX_BATCH = 128

Row = dict[str, Any]
PROBE_VIEW, PROBE_USER, PROBE_FIELDS = "user_candidates", "attune:probe", ("release_id",)


class UserStore(Protocol):
    """What the reader needs of the online store; `feature_repo.store.OnlineReader` is one."""

    def read_users(self, view: str, user_ids: Sequence[str], fields: Sequence[str]) -> list[Row | None]:
        """One row (field -> value) or None for each id, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a read gave: a row or None for each id asked for, or why there is nothing."""

    rows: list[Row | None]
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Whether the store answers, for /health."""

    is_reachable: bool
    circuit: str
    last_failure: str | None
    hung_threads: int


@dataclass(slots=True, eq=False)
class _Ask:
    view: str
    user_ids: tuple[str, ...]
    fields: tuple[str, ...]
    future: asyncio.Future[Reading]
    timer: asyncio.TimerHandle | None = None
    flight: "_Flight | None" = None

    def answer(self, reading: Reading) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.flight = None  # which refers to its asks: whatever was read would wait for a collection
        if not self.future.done():
            self.future.set_result(reading)

    def fail(self, reason: str) -> None:
        self.answer(Reading([None] * len(self.user_ids), reason))


@dataclass(slots=True, eq=False)
class _Flight:
    """One batch on its way. No asks: a probe.

    `has_returned` is set on the worker's thread. A loop that was kept from running (a busy machine) finds its
    timers due before the answer that waits behind them: such a batch is not late.
    """

    asks: list[_Ask]
    launched_at: float
    has_returned: bool = False
    timer: asyncio.TimerHandle | None = None
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = field(default_factory=dict)


class _Worker(threading.Thread):
    """Opens the store and reads batches, one after the other, until told to stop. A daemon: it may hang."""

    def __init__(self, open_store: Callable[[], UserStore], report: Callable[..., None]) -> None:
        super().__init__(name="online-reader", daemon=True)
        self._open_store = open_store
        self._report = report
        self._jobs: queue.SimpleQueue[_Flight | None] = queue.SimpleQueue()

    def submit(self, flight: _Flight) -> None:
        self._jobs.put(flight)

    def stop(self) -> None:
        self._jobs.put(None)

    def run(self) -> None:
        store: UserStore | None = None
        while (flight := self._jobs.get()) is not None:
            started = time.perf_counter()
            try:
                store = self._open_store() if store is None else store
                found = {
                    (view, fields): dict(zip(ids, store.read_users(view, ids, fields), strict=True))
                    for (view, fields), ids in flight.groups.items()
                }
            except Exception as error:  # noqa: BLE001 - the boundary of a thread: the event loop gets whatever it is
                flight.has_returned = True
                self._report(self, flight, None, error, time.perf_counter() - started)
            else:
                flight.has_returned = True
                self._report(self, flight, found, None, time.perf_counter() - started)
        close = getattr(store, "close", None)
        if close is not None:
            close()


class FeatureReader:
    """Reads online features for the requests of one event loop. Every method runs on that loop."""

    def __init__(
        self,
        open_store: Callable[[], UserStore],
        metrics: Metrics,
        deadline_seconds: float = 0.1,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._open_store = open_store
        self._metrics = metrics
        self._deadline = deadline_seconds
        self._probe_seconds = probe_seconds
        self._pending: deque[_Ask] = deque()
        self._flight: _Flight | None = None
        self._worker: _Worker | None = None
        self._hung: set[_Worker] = set()
        self._is_open = False
        self._failures = 0
        self._last_failure: str | None = None
        self._prober: asyncio.Task[None] | None = None

    async def start(self, patience_seconds: float = 10.0) -> None:
        """Open the store and read once, waiting at most this long; a store that fails is probed from then."""
        self._loop = asyncio.get_running_loop()
        ask = self._ask(PROBE_VIEW, (PROBE_USER,), PROBE_FIELDS, patience_seconds)
        self._launch(patience_seconds)
        await ask.future
        self._prober = asyncio.create_task(self._probe_while_open(), name="online-store-probe")

    async def close(self) -> None:
        """Stop probing and let the thread end after what it does now."""
        if self._prober is not None:
            self._prober.cancel()
        for ask in self._pending:
            ask.fail(UNAVAILABLE)
        self._pending.clear()
        for worker in (self._worker, *self._hung):
            if worker is not None:
                worker.stop()

    async def read(
        self, view: str, user_ids: Sequence[str], fields: Sequence[str], within_seconds: float | None = None
    ) -> Reading:
        """Rows of these users, or a failure; never later than the deadline (or `within_seconds` if sooner).

        More ids than fit in one batch are read one batch after the other, each with a deadline of its own, so
        that single requests get their turn in between.
        """
        budget = self._deadline if within_seconds is None else min(within_seconds, self._deadline)
        rows: list[Row | None] = []
        for start in range(0, len(user_ids), MAX_BATCH):
            if self._is_open:
                return Reading([None] * len(user_ids), UNAVAILABLE)
            ask = self._ask(view, tuple(user_ids[start : start + MAX_BATCH]), tuple(fields), budget)
            self._launch()
            reading = await ask.future
            if reading.failure is not None:
                return Reading([None] * len(user_ids), reading.failure)
            rows += reading.rows
        return Reading(rows)

    async def status(self) -> StoreStatus:
        """Ask the store now, within the deadline."""
        reading = await self.read(PROBE_VIEW, (PROBE_USER,), PROBE_FIELDS)
        return StoreStatus(
            is_reachable=reading.failure is None,
            circuit="open" if self._is_open else "closed",
            last_failure=self._last_failure,
            hung_threads=len(self._hung),
        )

    # batches

    def _ask(self, view: str, user_ids: tuple[str, ...], fields: tuple[str, ...], budget: float) -> _Ask:
        ask = _Ask(view, user_ids, fields, self._loop.create_future())
        ask.timer = self._loop.call_later(budget, self._expired, ask)
        self._pending.append(ask)
        return ask

    def _launch(self, deadline: float | None = None) -> None:
        """Send what waits as one batch, unless one is in flight."""
        if self._flight is not None or self._is_open:
            return
        asks: list[_Ask] = []
        size = 0
        while self._pending and (not asks or size + len(self._pending[0].user_ids) <= MAX_BATCH):
            ask = self._pending.popleft()
            if not ask.future.done():
                asks.append(ask)
                size += len(ask.user_ids)
        if asks:
            self._metrics.store_batch_size.observe(size)
            flight = _Flight(asks, self._loop.time(), groups=_grouped(asks))
            for ask in asks:
                ask.flight = flight
            self._send(flight, deadline)

    def _send(self, flight: _Flight, deadline: float | None = None) -> None:
        self._flight = flight
        flight.timer = self._loop.call_later(deadline or self._deadline, self._overdue, flight)
        if self._worker is None:
            self._worker = _Worker(self._open_store, self._report)
            self._worker.start()
        self._worker.submit(flight)

    def _report(self, *outcome: Any) -> None:
        """Called on the worker's thread: hand the outcome to the loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(self._landed, *outcome)

    def _landed(
        self,
        worker: _Worker,
        flight: _Flight,
        found: dict[tuple[str, tuple[str, ...]], dict[str, Row | None]] | None,
        error: Exception | None,
        seconds: float,
    ) -> None:
        if worker is not self._worker:  # it hung, was replaced, and came back: nobody waits for it any more
            self._hung.discard(worker)
            worker.stop()
            return
        self._flight = None
        if flight.timer is not None:
            flight.timer.cancel()
        self._metrics.store_read_seconds.observe(seconds)
        if found is None:
            self._failed(flight, ERROR, f"{type(error).__name__}: {error}")
            if self._worker is worker and flight.asks == []:
                self._replace_worker()
        else:
            self._succeeded()
            for ask in flight.asks:
                rows = found[ask.view, ask.fields]
                ask.answer(Reading([rows[user_id] for user_id in ask.user_ids]))
        self._launch()

    def _expired(self, ask: _Ask) -> None:
        if ask.flight is None or not ask.flight.has_returned:
            ask.fail(TIMEOUT)

    def _overdue(self, flight: _Flight) -> None:
        if self._flight is flight and not flight.has_returned:
            self._failed(flight, TIMEOUT, f"no answer within {self._deadline * 1000:.0f} ms", opens=True)

    # the circuit

    def _failed(self, flight: _Flight, reason: str, detail: str, opens: bool = False) -> None:
        self._metrics.store_failures.labels(reason).inc()
        self._last_failure = detail
        self._failures += 1
        for ask in flight.asks:
            ask.fail(reason)
        if (opens or self._failures >= FAILURES_TO_OPEN) and not self._is_open:
            logger.warning("online store left alone", extra={"reason": reason, "detail": detail})
            self._set_open(True)
        if self._is_open:
            while self._pending:
                self._pending.popleft().fail(UNAVAILABLE)

    def _succeeded(self) -> None:
        self._failures = 0
        if self._is_open:
            logger.info("online store answers again")
            self._set_open(False)

    def _set_open(self, is_open: bool) -> None:
        self._is_open = is_open
        self._metrics.store_open.set(int(is_open))

    async def _probe_while_open(self) -> None:
        while True:
            await asyncio.sleep(self._probe_seconds)
            if self._is_open:
                self._probe()

    def _probe(self) -> None:
        """Ask once while the circuit is open; a thread that still hangs is given up and replaced.

        The more threads hang already, the longer the next one is waited for, so that they stay few.
        """
        now = self._loop.time()
        if self._flight is not None and self._worker is not None:
            patience = self._probe_seconds * 2 ** min(len(self._hung), MAX_PATIENCE_DOUBLINGS)
            if now - self._flight.launched_at < patience:
                return
            self._hung.add(self._worker)
            self._worker = None
        self._send(_Flight([], now, groups={(PROBE_VIEW, PROBE_FIELDS): [PROBE_USER]}))

    def _replace_worker(self) -> None:
        """After a failed probe the next one opens the store anew: its connection may be what is broken."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


def _grouped(asks: Sequence[_Ask]) -> dict[tuple[str, tuple[str, ...]], list[str]]:
    """Distinct ids of each view and field list."""
    groups: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
    for ask in asks:
        groups.setdefault((ask.view, ask.fields), {}).update(dict.fromkeys(ask.user_ids))
    return {key: list(ids) for key, ids in groups.items()}
