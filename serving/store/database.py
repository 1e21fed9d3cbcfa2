"""Connections to the operational store: group commit, a deadline, a circuit breaker; SQLite or PostgreSQL.

Routes ask from the event loop; threads talk to the database. One thread writes: it takes all changes that
wait, runs them in one transaction, commits once, and only then answers them, so that a hundred requests share
one fsync. A change that raises fails alone. A few threads read, each with a connection of its own.

Whoever is not answered within the deadline gets `StoreUnavailable` (503). Three failures in a row open the
circuit: from then on nobody waits, and a probe asks once a second, also for a store that was away at the
start. A write that timed out may still be committed: whoever repeats it must be able to tell (an event by its
id).
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

import sqlalchemy as sa

from feature_repo.event_log import open_engine
from serving.errors import StoreUnavailable, UnusableStore
from serving.metrics import Metrics
from serving.store.schema import upgrade

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sa.Connection], Any]

READERS = 3
MAX_GROUP = 512
MAX_UNAWAITED = 20_000
FAILURES_TO_OPEN = 3
PROBE_SECONDS = 1.0
WRITE_PATIENCE = 4
"""A write waits this many deadlines: another process may hold SQLite's only write lock for a while."""
CLOSE_SECONDS = 10.0

POSTGRES_ARGUMENTS = {
    "connect_timeout": 3,
    # A server that vanished without a word is noticed after about ten seconds.
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "attune",
}


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """Whether the operational store answers, for /health."""

    is_reachable: bool
    kind: str
    circuit: str
    last_failure: str | None


class _Job:
    """One piece of work, and who waits for it: nobody if there is no future."""

    __slots__ = ("error", "future", "has_returned", "is_given_up", "loop", "result", "work")

    def __init__(
        self,
        work: Work,
        loop: asyncio.AbstractEventLoop | None = None,
        future: asyncio.Future[Any] | None = None,
    ) -> None:
        self.work = work
        self.loop = loop
        self.future = future
        self.is_given_up = False
        self.has_returned = False
        self.result: Any = None
        self.error: Exception | None = None


class Database:
    """The operational store for the event loops of one process."""

    def __init__(
        self,
        url: sa.URL,
        metrics: Metrics,
        deadline_seconds: float = 0.5,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self.kind = url.get_backend_name()
        options: dict[str, Any] = {}
        if self.kind == "postgresql":
            options["connect_args"] = POSTGRES_ARGUMENTS
        self._write_engine = open_engine(url, writes=True, **options)
        self._read_engine = open_engine(url, pool_size=READERS + 1, **options)
        self._metrics = metrics
        self._deadline = deadline_seconds
        self._probe_seconds = probe_seconds
        self._changes: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._queries: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._unawaited = 0
        self._lock = threading.Lock()
        self._is_prepared = False
        self._is_open = False
        self._failures = 0
        self._last_failure: str | None = None
        self._is_closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._write_groups, name="store-writer", daemon=True),
            *(
                threading.Thread(target=self._answer_queries, name=f"store-reader-{n}", daemon=True)
                for n in range(READERS)
            ),
        ]
        self._prober = threading.Thread(target=self._probe_while_open, name="store-probe", daemon=True)

    @classmethod
    def open(
        cls,
        url: sa.URL,
        metrics: Metrics,
        deadline_seconds: float = 0.5,
        probe_seconds: float = PROBE_SECONDS,
    ) -> Self:
        """Connect, bring the tables up to date and start the threads.

        A store that is away is no error: the circuit starts open, and the probe goes on trying.
        """
        database = cls(url, metrics, deadline_seconds, probe_seconds)
        database._probe()
        for thread in (*database._threads, database._prober):
            thread.start()
        return database

    async def read(self, query: Callable[[sa.Connection], T], within_seconds: float | None = None) -> T:
        """What the query answers, from one snapshot; `StoreUnavailable` after the deadline."""
        return cast(T, await self._ask(self._queries, query, within_seconds or self._deadline))

    async def write(self, change: Callable[[sa.Connection], T], within_seconds: float | None = None) -> T:
        """What the change answers, once it is committed together with its neighbours.

        It may run twice, so it must have no effect but on the connection. What it raises reaches the caller
        and undoes this change only.
        """
        patience = within_seconds or self._deadline * WRITE_PATIENCE
        return cast(T, await self._ask(self._changes, change, patience))

    def write_soon(self, change: Callable[[sa.Connection], None]) -> bool:
        """Have it committed with one of the next groups; False if the store is away or too much waits."""
        if self._is_open or self._unawaited >= MAX_UNAWAITED or self._is_closing.is_set():
            self._metrics.database_dropped.inc()
            return False
        with self._lock:
            self._unawaited += 1
        self._changes.put(_Job(change))
        return True

    async def status(self) -> DatabaseStatus:
        """Ask the store now, within the deadline."""
        try:
            await self.read(_ping)
        except StoreUnavailable:
            is_reachable = False
        else:
            is_reachable = True
        circuit = "open" if self._is_open else "closed"
        return DatabaseStatus(is_reachable, self.kind, circuit, self._last_failure)

    async def close(self) -> None:
        """Commit what waits, then end the threads and the connections."""
        self._is_closing.set()
        self._changes.put(None)
        for _ in range(READERS):
            self._queries.put(None)
        end = time.monotonic() + CLOSE_SECONDS
        for thread in (*self._threads, self._prober):
            if thread.ident is not None:
                await asyncio.to_thread(thread.join, max(0.0, end - time.monotonic()))
        self._write_engine.dispose()
        self._read_engine.dispose()

    # asking

    async def _ask(self, jobs: "queue.SimpleQueue[_Job | None]", work: Work, seconds: float) -> Any:
        if self._is_open or self._is_closing.is_set():
            raise StoreUnavailable(self._last_failure or "it is being closed")
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        assert job.future is not None
        timer = loop.call_later(seconds, self._expired, job, seconds)
        jobs.put(job)
        try:
            return await job.future
        finally:
            job.is_given_up = True  # whoever asked has left, with or without an answer
            timer.cancel()

    def _expired(self, job: _Job, seconds: float) -> None:
        """A loop that was kept from running finds timers due before answers: such a job is not late."""
        if job.has_returned or job.future is None or job.future.done():
            return
        problem = f"no answer within {seconds * 1000:.0f} ms"
        self._failed("timeout", problem)
        job.future.set_exception(StoreUnavailable(problem))

    # reading

    def _answer_queries(self) -> None:
        connection: sa.Connection | None = None
        while (job := self._queries.get()) is not None:
            if job.is_given_up:
                continue
            started = time.perf_counter()
            try:
                connection = connection or self._read_engine.connect()
                with connection.begin():
                    job.result = job.work(connection)
            except Exception as error:  # noqa: BLE001 - the boundary of a thread: whoever asked gets it
                job.error = error
                connection = self._after_failure(connection, error)
            self._metrics.database_read_seconds.observe(time.perf_counter() - started)
            self._report([job])
        _quietly_close(connection)

    # writing

    def _write_groups(self) -> None:
        connection: sa.Connection | None = None
        is_ending = False
        while not is_ending:
            jobs, is_ending = self._next_group()
            if not jobs:
                continue
            started = time.perf_counter()
            try:
                connection = connection or self._write_engine.connect()
                self._commit(connection, jobs)
            except Exception as error:  # noqa: BLE001 - the boundary of a thread: whoever asked gets it
                for job in jobs:
                    job.error = error
                connection = self._after_failure(connection, error)
            self._metrics.database_group_size.observe(len(jobs))
            self._metrics.database_commit_seconds.observe(time.perf_counter() - started)
            self._report(jobs)
        _quietly_close(connection)

    def _next_group(self) -> tuple[list[_Job], bool]:
        """What waits, at most `MAX_GROUP` and at least one; and whether this is the end."""
        jobs: list[_Job] = []
        unawaited = 0
        is_ending = False
        with contextlib.suppress(queue.Empty):
            job = self._changes.get()
            while True:
                if job is None:
                    is_ending = True
                    break
                if job.future is None:
                    unawaited += 1
                if not job.is_given_up:
                    jobs.append(job)
                if len(jobs) == MAX_GROUP:
                    break
                job = self._changes.get_nowait()
        with self._lock:
            self._unawaited -= unawaited
        return jobs, is_ending

    def _commit(self, connection: sa.Connection, jobs: list[_Job]) -> None:
        """All changes in one transaction. If one raises, all again, each behind a savepoint of its own."""
        try:
            with connection.begin():
                for job in jobs:
                    job.result = job.work(connection)
        except Exception as error:
            if is_outage(error):
                raise
            with connection.begin():
                for job in jobs:
                    self._run_behind_savepoint(connection, job)

    def _run_behind_savepoint(self, connection: sa.Connection, job: _Job) -> None:
        try:
            with connection.begin_nested():
                job.result = job.work(connection)
        except Exception as error:
            if is_outage(error):
                raise
            job.error = error

    # what comes back

    def _report(self, jobs: Iterable[_Job]) -> None:
        """Hand the outcomes to the loops of those who wait; called on a thread of ours."""
        by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        outage: Exception | None = None
        for job in jobs:
            job.has_returned = True
            if job.error is not None and is_outage(job.error):
                outage = job.error
            elif job.error is not None and job.future is None:
                self._metrics.database_failures.labels("change").inc()
                # Its name and statement only: databases quote values.
                problem, statement = type(job.error).__name__, getattr(job.error, "statement", None)
                extra = {"problem": problem, "statement": statement}
                logger.error("a change failed that nobody waits for", extra=extra)
            if job.loop is not None:
                by_loop.setdefault(job.loop, []).append(job)
        if outage is None:
            self._succeeded()
        else:
            self._failed("error", outage_name(outage), outage_text(outage))
        for loop, waiting in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
                loop.call_soon_threadsafe(self._resolve, waiting)

    def _resolve(self, jobs: list[_Job]) -> None:
        for job in jobs:
            # An error's traceback knows the frame that knows the job: forgotten here, both go at once.
            error, job.error = job.error, None
            if job.future is None or job.future.done():
                continue
            if error is None:
                job.future.set_result(job.result)
            elif is_outage(error):
                job.future.set_exception(StoreUnavailable(outage_name(error)))
            else:
                job.future.set_exception(error)

    def _after_failure(self, connection: sa.Connection | None, error: Exception) -> sa.Connection | None:
        """The connection to go on with: a new one after an outage."""
        if connection is None or not is_outage(error):
            return connection
        _quietly_close(connection)
        return None

    # the circuit

    def _failed(self, reason: str, problem: str, detail: str | None = None) -> None:
        self._metrics.database_failures.labels(reason).inc()
        with self._lock:
            self._last_failure = problem
            self._failures += 1
            opens = self._failures >= FAILURES_TO_OPEN and not self._is_open
            self._is_open = self._is_open or opens
        if opens:
            self._metrics.database_circuit_open.set(1)
            logger.warning(
                "operational store left alone", extra={"reason": reason, "detail": detail or problem}
            )

    def _succeeded(self) -> None:
        self._failures = 0

    def _probe_while_open(self) -> None:
        while not self._is_closing.wait(self._probe_seconds):
            if self._is_open:
                self._probe()

    def _probe(self) -> None:
        """Ask as a writer, and close the circuit if it answers; the first time also prepare the tables."""
        try:
            if not self._is_prepared:
                upgrade(self._write_engine)
                self._is_prepared = True
            with self._write_engine.begin() as connection:
                _ping(connection)
        except (sa.exc.DBAPIError, UnusableStore) as error:
            if isinstance(error, UnusableStore) and not self._prober.is_alive():
                raise
            self._last_failure = outage_name(error)
            self._metrics.database_failures.labels("probe").inc()
            self._metrics.database_circuit_open.set(1)
            if not self._is_open:
                logger.warning("operational store is away", extra={"detail": outage_text(error)})
            self._is_open = True
        else:
            if self._is_open:
                logger.info("operational store answers again")
            self._failures = 0
            self._is_open = False
            self._metrics.database_circuit_open.set(0)


def is_outage(error: BaseException) -> bool:
    """Whether the store is at fault, not the statement or its values."""
    if not isinstance(error, sa.exc.DBAPIError):
        return isinstance(error, sa.exc.TimeoutError)
    if isinstance(error.orig, sqlite3.OperationalError):
        # SQLITE_ERROR is what it says of a statement that it cannot run.
        return (getattr(error.orig, "sqlite_errorcode", 0) & 0xFF) != sqlite3.SQLITE_ERROR
    return error.connection_invalidated or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)


def outage_name(error: Exception) -> str:
    """What failed, for clients: drivers name addresses and users in their messages."""
    return type(getattr(error, "orig", None) or error).__name__


def outage_text(error: Exception) -> str:
    """One line for logs, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return " ".join(f"{type(cause).__name__}: {cause}".split())


def _ping(connection: sa.Connection) -> None:
    connection.exec_driver_sql("SELECT 1")


def _quietly_close(connection: sa.Connection | None) -> None:
    """Close without a word about a connection that is broken already."""
    if connection is not None:
        with contextlib.suppress(sa.exc.DBAPIError, sa.exc.InvalidRequestError):
            connection.invalidate()
            connection.close()
