"""The live state: what every active visitor did since the last batch, in memory and in Feast.

The event log is the truth. `observe` hears of every event after its commit and before its answer, so the next
request of the visitor knows it; the rows are pushed to Feast's view `user_live` in batches, for other
processes and for tools. A push that fails is counted and repeated; a restart replays the log.

**One worker.** Memory mirrors the log: `known` is exact at once. Visitors that it had to drop are read from
Feast, or from the log where Feast does not answer.

**Several workers.** None of them sees all events, so a row is derived from a snapshot of the log and carries
its instant: the newest wins, and holds every event committed before. Memory only bridges the time until the
push; `pushed` waits for that, and everybody else reads Feast.

When a new release is served, the counters restart at the end of its data.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from feature_repo.live import (
    DAY,
    CategoryOf,
    LiveHistory,
    LiveUser,
    Logged,
    Window,
    act_of,
)
from serving.errors import StoreUnavailable
from serving.features import FeatureReader
from serving.metrics import Metrics
from serving.people.identities import Identities
from serving.releases import ReleaseHolder, ServedRelease
from serving.store.database import Database
from serving.store.live import Snapshot, acts_of_visitors, replay_page

logger = logging.getLogger(__name__)

T = TypeVar("T")

LIVE = "user_live"
LiveRow = tuple[str, int, LiveUser]

PUSH_SECONDS = 0.2
# With several workers an answer waits for its push, so nothing is gained by collecting.
PUSH_SHARED_SECONDS = 0.01
RETRY_SECONDS = 0.5
ROWS_A_PUSH = 1_000
# After a push its thread rests for this multiple of the CPU that it took, divided by the part of the time in
# which the event loop had nothing to do, at least the floor: tracking goes first.
REST_SHARE = 2
IDLE_FLOOR = 0.2
LOG_VISITORS = 128
MAX_VISITORS = 50_000
REPLAY_EVENTS = 200_000
REPLAY_SECONDS = 10.0
REPLAY_PAGE = 10_000
CLOSE_SECONDS = 2.0
PREPARE_SECONDS = 3.0
UNPUSHED_SECONDS = 600


class LoggedEvent(Logged, Protocol):
    """An event of the log and whose it is; `serving.tracking.LoggedEvent` is one."""

    @property
    def user_id(self) -> str | None: ...
    @property
    def anonymous_id(self) -> str | None: ...


class LiveWriter(Protocol):
    """What pushes rows; `feature_repo.live_store.LiveWriter` is one. Used on one thread."""

    def write(self, rows: Sequence[LiveRow]) -> None:
        """Write rows; newer ones that are stored stay."""
        ...

    def forget(self, visitor_ids: Sequence[str]) -> None:
        """Delete rows."""
        ...


@dataclass(frozen=True)
class LiveView:
    """How live rows are stored: the fields to read, how they become a row, and what opens the writer."""

    fields: tuple[str, ...]
    decode: Callable[[dict[str, object]], LiveUser]
    open_writer: Callable[[], LiveWriter]


@dataclass(slots=True, eq=False)
class _Visitor:
    """One visitor in memory. `is_whole`: the history holds all that the log has of the window."""

    is_whole: bool
    history: LiveHistory = field(default_factory=LiveHistory)
    row: LiveUser | None = None


class LiveState:
    """The live rows of one process, on its event loop."""

    def __init__(
        self,
        database: Database,
        reader: FeatureReader,
        releases: ReleaseHolder,
        identities: Identities,
        view: LiveView,
        metrics: Metrics,
        shares_store: bool = False,
        max_visitors: int = MAX_VISITORS,
        replay_events: int = REPLAY_EVENTS,
    ) -> None:
        """`shares_store`: other workers write the same log, so that memory alone does not know all of it."""
        self._database = database
        self._reader = reader
        self._releases = releases
        self._identities = identities
        self._view = view
        self._metrics = metrics
        self._shares_store = shares_store
        self._max_visitors = max_visitors
        self._replay_events = replay_events
        self._release: ServedRelease = releases.current
        self._window = window_of(releases.current)
        self._category_of = catalogue_of(releases.current)
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()
        self._dirty: dict[str, None] = {}
        self._aged: dict[str, None] = {}
        self._flying: frozenset[str] = frozenset()
        self._erased: set[str] = set()
        self._is_complete = False
        self._instant = 0
        self._spent = 0.0
        self._significant: list[Callable[[str], None]] = []
        self._writer: LiveWriter | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="live-push")
        self._wake = asyncio.Event()
        self._landed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pusher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Replay what the log has since the batch, and push from now on. The links are loaded already."""
        self._identities.add_listener(self._joined)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._prepare(), PREPARE_SECONDS)
        try:
            await self._replay()
        except StoreUnavailable:
            logger.warning("the log cannot be replayed now; it is tried again")
            self._spawn(self._replay_later())
        self._pusher = asyncio.create_task(self._push_on(), name="live-push")

    async def close(self) -> None:
        """Push what waits, for a moment; the rest is replayed by the next start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._push()
        for task in [*self._tasks, *([self._pusher] if self._pusher else [])]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._thread.shutdown(wait=False, cancel_futures=True)

    # what happened

    def add_significant_listener(self, listener: Callable[[str], None]) -> None:
        """Call this with the visitor's id for every act whose significance is above 0.8."""
        self._significant.append(listener)

    def observe(self, events: Iterable[LoggedEvent]) -> Awaitable[None] | None:
        """Listener of the tracker: events that were committed, before their answer.

        With several workers it is worth waiting for what this returns: then all of them know.
        """
        self._follow_release()
        seen: set[str] = set()
        for event in events:
            named = event.user_id or event.anonymous_id
            if named is None:
                continue
            visitor_id = self._identities.owner(named) if event.user_id is None else named
            visitor, act = self._visitor(visitor_id), act_of(event)
            if not visitor.history.add(act, self._window):
                continue
            visitor.row = None
            self._dirty[visitor_id] = None
            seen.add(visitor_id)
            if self._significant and visitor.history.is_significant(act, self._category_of):
                for listener in self._significant:
                    listener(visitor_id)
                    if named != visitor_id:
                        listener(named)
        self._drop_some()
        return self._pushed(seen) if self._shares_store and seen else None

    async def _pushed(self, visitor_ids: Set[str]) -> None:
        """Until no row of these visitors waits to be pushed."""
        self._wake.set()
        while not (visitor_ids.isdisjoint(self._dirty) and visitor_ids.isdisjoint(self._flying)):
            self._landed.clear()
            await self._landed.wait()

    # what is known

    def known(self, visitor_id: str) -> LiveUser | None:
        """The row of a visitor who is in memory; None for anybody else."""
        self._follow_release()
        owner = self._identities.owner(visitor_id)
        visitor = self._visitors.get(owner)
        if visitor is None:
            return None
        self._visitors.move_to_end(owner)
        return self._row(visitor)

    async def read(self, visitor_ids: Sequence[str]) -> list[LiveUser | None]:
        """The rows of these visitors: from memory, else from Feast, else from the log; never raises."""
        self._follow_release()
        owners = [self._identities.owner(each) for each in visitor_ids]
        found: dict[str, LiveUser | None] = {}
        in_part: list[str] = []
        unknown: list[str] = []
        for owner in dict.fromkeys(owners):
            visitor = self._visitors.get(owner)
            if visitor is not None and visitor.is_whole:
                self._visitors.move_to_end(owner)
                found[owner] = self._row(visitor)
            elif visitor is not None:
                in_part.append(owner)
            elif not self._is_complete:
                unknown.append(owner)
        if unknown:
            reading = await self._reader.read(LIVE, unknown, self._view.fields)
            for owner, row in zip(unknown, reading.rows, strict=True):
                stored = None if row is None else self._view.decode(row)
                if reading.failure is not None or (stored and stored.counts_since != self._window.since):
                    in_part.append(owner)
                else:
                    found[owner] = stored
        if in_part:
            found |= await self._from_log(in_part[:LOG_VISITORS])
        return [found.get(owner) for owner in owners]

    # erasure

    def forget(self, is_erased: Callable[[str], bool]) -> None:
        """Listener of the tombstones: drop whoever was erased, and what of them is being pushed right now."""
        self._drop([each for each in self._visitors if is_erased(each)])
        self._erased |= {each for each in self._flying if is_erased(each)}

    # memory

    def _visitor(self, visitor_id: str) -> _Visitor:
        visitor = self._visitors.get(visitor_id)
        if visitor is None:
            visitor = self._visitors[visitor_id] = _Visitor(is_whole=self._is_complete)
            if not self._is_complete and not self._shares_store:
                self._spawn(self._complete(visitor_id))
        else:
            self._visitors.move_to_end(visitor_id)
        return visitor

    def _row(self, visitor: _Visitor) -> LiveUser | None:
        if visitor.row is None:
            visitor.row = visitor.history.derive(self._window, self._category_of)
        return visitor.row

    def _joined(self, anonymous_id: str, user_id: str) -> None:
        """Listener of the identities: what the anonymous visitor did is the customer's now."""
        before = self._visitors.get(anonymous_id)
        self._drop([anonymous_id])
        if before is None and self._is_complete:
            return
        visitor = self._visitor(user_id)
        visitor.row = None
        self._dirty[user_id] = None
        if before is not None:
            visitor.history.merge(before.history, self._window)
        if before is None or not before.is_whole:
            visitor.is_whole = False
        if self._shares_store:
            self._wake.set()

    def _drop(self, visitor_ids: Iterable[str]) -> None:
        for visitor_id in visitor_ids:
            self._visitors.pop(visitor_id, None)
            self._dirty.pop(visitor_id, None)
            self._aged.pop(visitor_id, None)

    def _drop_some(self) -> None:
        """Forget the visitors who were away longest, once their rows are in Feast."""
        excess = len(self._visitors) - self._max_visitors
        if excess <= 0:
            return
        oldest = [each for each, _ in zip(self._visitors, range(4 * excess), strict=False)]
        gone = [each for each in oldest if each not in self._dirty and each not in self._flying][:excess]
        if gone:
            self._drop(gone)
            self._is_complete = False

    def _follow_release(self) -> None:
        """If another release is served: its categories, and counters from the end of its data."""
        current = self._releases.current
        if current is self._release:
            return
        before, self._release, self._window = self._window, current, window_of(current)
        self._category_of = catalogue_of(current)
        if self._window.since < before.since or self._window.landed_at < before.landed_at:
            self._is_complete = False  # an earlier release came back: the log knows more than memory
            self._spawn(self._replay_later())
        for visitor_id, visitor in self._visitors.items():
            visitor.row = None
            self._aged[visitor_id] = None
            if visitor.history.older or not self._is_complete:
                visitor.is_whole = False

    # the log

    async def _replay(self) -> None:
        """Take in the events since the batch, the latest first, as many as are allowed."""
        window, before, count = self._window, None, 0
        if self._shares_store:
            # The others' rows are in Feast; only what a crash kept from being pushed is pushed again.
            now = time.time_ns() // 1000
            window = Window(now - UNPUSHED_SECONDS * 1_000_000 + DAY, now - UNPUSHED_SECONDS * 1_000_000)
        deadline = time.monotonic() + REPLAY_SECONDS
        while True:
            page = await self._database.read(
                partial(replay_page, window=window, before=before, limit=REPLAY_PAGE), REPLAY_SECONDS
            )
            for user_id, anonymous_id, act in page.acts:
                owner = user_id or (self._identities.owner(anonymous_id) if anonymous_id else None)
                if owner is not None:
                    visitor = self._visitors.setdefault(owner, _Visitor(is_whole=False))
                    if visitor.history.add(act, window):
                        visitor.row = None
                        self._dirty[owner] = None
            count += len(page.acts)
            before = page.next_sequence
            if before is None or count >= self._replay_events or time.monotonic() > deadline:
                break
            await asyncio.sleep(0)
        if before is None and not self._shares_store:
            self._is_complete = True
            for visitor in self._visitors.values():
                visitor.is_whole = True
        self._drop_some()
        self._wake.set()
        logger.info("log replayed", extra={"events": count, "complete": before is None})

    async def _replay_later(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                await self._replay()
                return

    async def _complete(self, visitor_id: str) -> None:
        """Fill in what the log has of a visitor of whom memory knows a part."""
        with contextlib.suppress(StoreUnavailable):
            await self._take_in([visitor_id])

    async def _take_in(self, visitor_ids: Sequence[str]) -> Snapshot:
        """Replace what memory knows of these visitors by the log, and what came in meanwhile."""
        window = self._window
        snapshot = await self._database.read(
            partial(acts_of_visitors, visitor_ids=visitor_ids, window=window)
        )
        for visitor_id, acts in snapshot.acts.items():
            visitor = self._visitors.get(visitor_id)
            if visitor is None or window is not self._window:
                continue
            logged = {act.event_id for act in acts}
            meanwhile = [act for each, act in visitor.history.acts.items() if each not in logged]
            visitor.history = LiveHistory()
            for act in [*acts, *meanwhile]:
                visitor.history.add(act, window)
            visitor.row = None
            visitor.is_whole = not self._shares_store
        return snapshot

    async def _from_log(self, visitor_ids: Sequence[str]) -> dict[str, LiveUser | None]:
        if not self._shares_store:
            for visitor_id in visitor_ids:
                self._visitors.setdefault(visitor_id, _Visitor(is_whole=False))
        try:
            snapshot = await self._take_in(visitor_ids)
        except StoreUnavailable:
            return {each: self.known(each) for each in visitor_ids}
        found: dict[str, LiveUser | None] = {}
        for visitor_id in visitor_ids:
            visitor = self._visitors.get(visitor_id)
            if visitor is None:
                history = LiveHistory({act.event_id: act for act in snapshot.acts[visitor_id]})
                found[visitor_id] = history.derive(self._window, self._category_of)
            else:
                found[visitor_id] = self._row(visitor)
        self._drop_some()
        return found

    # the push

    async def _prepare(self) -> None:
        """Open the store, so that a reader finds the view before anything was pushed."""
        try:
            await self._on_thread(self._write, [])
        except Exception as error:  # noqa: BLE001 - whatever the store says: the first push does it then
            logger.warning("live rows cannot be pushed now", extra={"error": type(error).__name__})

    async def _push_on(self) -> None:
        ended, loop_cpu = time.monotonic(), time.thread_time()
        while True:
            if self._shares_store:
                await self._wake.wait()
                self._wake.clear()
            await asyncio.sleep(PUSH_SHARED_SECONDS if self._shares_store else PUSH_SECONDS)
            while self._dirty or self._aged or self._erased:
                started, spent = time.monotonic(), self._spent
                if not await self._push():
                    await asyncio.sleep(RETRY_SECONDS)
                elif not self._shares_store:
                    before, ended = ended, time.monotonic()
                    cpu_before, loop_cpu = loop_cpu, time.thread_time()
                    idle = 1.0 - (loop_cpu - cpu_before) / (ended - before)
                    rest = REST_SHARE * (self._spent - spent) / max(idle, IDLE_FLOOR)
                    await asyncio.sleep(max(PUSH_SECONDS - (ended - started), rest, 0.0))

    async def _push(self) -> bool:
        """Push one batch: who acted first, then whose counters restarted. False if it failed."""
        self._follow_release()
        wanted = [each for each, _ in zip((*self._dirty, *self._aged), range(ROWS_A_PUSH), strict=False)]
        if not wanted and not self._erased:
            return True
        for visitor_id in wanted:
            self._dirty.pop(visitor_id, None)
            self._aged.pop(visitor_id, None)
        self._flying = frozenset(wanted)
        started = time.perf_counter()
        try:
            rows = await self._on_thread(self._write, await self._jobs(wanted))
            if gone := list(self._erased):
                await self._on_thread(self._forget, gone)
                self._erased.difference_update(gone)
        except Exception as error:  # noqa: BLE001 - whatever the store says: it is counted and done again
            self._metrics.live_push_failures.inc()
            if self._writer is not None or not isinstance(error, StoreUnavailable):
                logger.warning(
                    "live rows cannot be pushed; again soon", extra={"error": type(error).__name__}
                )
            self._dirty = dict.fromkeys(each for each in wanted if each in self._visitors) | self._dirty
            return False
        finally:
            self._flying = frozenset()
            self._landed.set()
        for visitor_id, row in rows.items():
            visitor = self._visitors.get(visitor_id)
            if visitor is None or visitor_id in self._dirty:
                continue
            if row is None or self._shares_store:
                self._drop([visitor_id])
            elif visitor.row is None:
                visitor.row = row
        self._metrics.live_pushed_rows.inc(len(rows))
        self._metrics.live_push_seconds.observe(time.perf_counter() - started)
        self._metrics.live_visitors.set(len(self._visitors))
        return True

    async def _jobs(self, visitor_ids: Sequence[str]) -> "list[_Job]":
        """What the thread needs to derive each row: a copy, for memory goes on changing."""
        if self._shares_store:
            instant = (await self._take_in(visitor_ids)).instant
        else:
            in_part = [each for each in visitor_ids if not self._is_whole(each)]
            if in_part:
                await self._take_in(in_part)
            instant = max(self._instant + 1, time.time_ns() // 1000)
        self._instant = instant
        jobs = []
        for visitor_id in visitor_ids:
            visitor = self._visitors.get(visitor_id)
            if visitor is not None:
                history = LiveHistory(dict(visitor.history.acts), visitor.history.older.copy())
                jobs.append(_Job(visitor_id, instant, history, visitor.row, self._window, self._category_of))
        return jobs

    def _is_whole(self, visitor_id: str) -> bool:
        visitor = self._visitors.get(visitor_id)
        return visitor is None or visitor.is_whole

    def _write(self, jobs: "Sequence[_Job]") -> dict[str, LiveUser | None]:
        """On the thread: derive and write."""
        started = time.thread_time()
        derived = {job.visitor_id: job.row or job.history.derive(job.window, job.category_of) for job in jobs}
        rows = [(job.visitor_id, job.instant, row) for job in jobs if (row := derived[job.visitor_id])]
        self._writer = self._writer or self._view.open_writer()
        self._writer.write(rows)
        self._spent += time.thread_time() - started
        return derived

    def _forget(self, visitor_ids: Sequence[str]) -> None:
        """On the thread: delete what a push wrote of somebody who was erased meanwhile."""
        self._writer = self._writer or self._view.open_writer()
        self._writer.forget(visitor_ids)

    async def _on_thread(self, work: Callable[[Any], T], given: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, given)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass(frozen=True, slots=True)
class _Job:
    visitor_id: str
    instant: int
    history: LiveHistory
    row: LiveUser | None
    window: Window
    category_of: CategoryOf


def window_of(release: ServedRelease) -> Window:
    """What the release's batch knows: events until the end of its data, landed before it was made."""
    since = int(release.as_of.timestamp()) * 1_000_000
    made = release.release.manifest.created_at
    return Window(since, int(made.timestamp() * 1_000_000))


def catalogue_of(release: ServedRelease) -> CategoryOf:
    """The category of an item in the release's catalogue."""
    items = release.release.items
    categories: dict[str | None, str | None] = dict(zip(items.item_ids, items.category, strict=True))
    return categories.get
