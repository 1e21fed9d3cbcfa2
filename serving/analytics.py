"""Analytics answers: dashboards over the published tables, and what this service served since.

The tables are read by one thread of our own, and an answer is kept for as long as the publication stays; a
newer one is made ready beside it before it takes its place. What was served since comes from the operational
store and is read again after some seconds. A period is in data time: it ends with the last day of the tables,
however long ago that is.
"""

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from feature_repo.layout import Home
from serving.bundle_results import DEFINITIONS as BUNDLE_DEFINITIONS
from serving.dashboards import DASHBOARDS
from serving.data_health import health_tables, model_tables
from serving.errors import InvalidField, NoTables, StoreUnavailable
from serving.experiments.results import Results
from serving.figures import Period, Segment
from serving.metrics import Metrics
from serving.published import Publication, Version, version_of
from serving.releases import ReleaseHolder
from serving.served_since import DEFINITIONS, bundle_figures, served_figures
from serving.sheets import Answer, Ask, Sheet
from serving.store import analytics as store
from serving.store.database import Database
from serving.turns import give_way

DEFAULT_DAYS = 30
SIMULATED = "false_positives"
"""Beside the results of experiments: how often A/A tests call a difference."""
MOST_DAYS = 3650
EARLIEST, LATEST = date(1970, 1, 1), date(2200, 1, 1)
KEPT_ANSWERS = 256
LIVE_SECONDS = 10.0
HEALTH_SECONDS = 2.0
MOST_TIMES_OLDER = 3.0
"""An answer older than so many times its seconds stands in for nobody."""
WARM_SECONDS = 5.0
MICROS = 1_000_000
DAY_MICROS = 86_400 * MICROS
STORE_AWAY = "the operational store does not answer now"
NEEDS_EXPERIMENT = (
    "lift needs an experiment with a control group: see GET /dashboard/experiments; of everything that is"
    " personalized, the permanent holdout that ATTUNE_HOLDOUT_SHARE sets"
)
COMPARISONS = ("previous_period", "previous_year", "none")


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks of a dashboard; equal questions have one answer."""

    first: date | None = None
    last: date | None = None
    days: int | None = None
    compare: str = COMPARISONS[0]
    segment: Segment | None = None

    def asked(self, publication: Publication) -> Ask:
        """The period and segment in this publication; raises InvalidField for what it does not have."""
        period = chosen_period(publication.data_until, self.first, self.last, self.days)
        compared = {"previous_period": period.before, "previous_year": period.year_before}.get(self.compare)
        if self.segment is not None:
            known = sorted(
                {each for one in publication.book.figures.values() for each in one.dimensions} - {"all"}
            )
            if self.segment.dimension not in known:
                remedy = f"write dimension:member with one of {', '.join(known)}"
                raise InvalidField("segment", self.segment.dimension, remedy)
        return Ask(period, compared, self.segment)


USUAL = (Question(), Question(days=7), Question(days=90), Question(compare="previous_year"))


@dataclass(slots=True)
class _Open:
    """A publication, and the answers that were made of it."""

    version: Version
    publication: Publication
    kept: OrderedDict[tuple[str, Question], Answer]

    def answer(self, key: tuple[str, Question]) -> Answer:
        """Made once; one thread at a time may ask."""
        if key not in self.kept:
            name, question = key
            ask = question.asked(self.publication)
            first = min(ask.period.first, (ask.compared or ask.period).first)
            self.publication.read_items(first, ask.period.last)
            sheet = Sheet(self.publication.book, ask, self.publication.currency)
            DASHBOARDS[name](sheet)
            self.kept[key] = sheet.content()
            if len(self.kept) > KEPT_ANSWERS:
                self.kept.popitem(last=False)
        return self.kept[key]


def _opened(home: Home, version: Version) -> _Open:
    """The publication with what the dashboard's page offers ready."""
    opened = _Open(version, Publication(home), OrderedDict())
    for question in USUAL:
        for name in DASHBOARDS:
            opened.answer((name, question))
    return opened


@dataclass(frozen=True, slots=True)
class _Reading:
    """A reading begun at an instant (monotonic seconds); the answer before stands in until it is done."""

    at: float
    task: asyncio.Task[Answer]
    before: Answer | None

    @property
    def known(self) -> Answer | None:
        """What was read, if it has been."""
        is_read = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if is_read else None

    async def answer(self) -> Answer:
        if not self.task.done():
            if self.before is not None:
                return self.before
            give_way()
        return await asyncio.shield(self.task)


class Analytics:
    """The analytics of one process."""

    def __init__(self, home: Home, releases: ReleaseHolder, database: Database, metrics: Metrics) -> None:
        self._home = home
        self._releases = releases
        self._database = database
        self._metrics = metrics
        self._results = Results(home)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analytics")
        self._open: _Open | None = None
        self._opening = asyncio.Lock()
        self._shared: dict[tuple[str, ...], _Reading] = {}
        self._warmer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Have the usual dashboards ready before somebody asks, now and after each publication."""
        self._warmer = asyncio.create_task(self._keep_warm(), name="analytics-warm")

    async def close(self) -> None:
        """Stop, and end the thread."""
        if self._warmer is not None:
            self._warmer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._warmer
        await asyncio.to_thread(self._thread.shutdown)

    async def dashboard(self, name: str, question: Question | None = None) -> Answer:
        """One dashboard of the published tables; raises NoTables, or InvalidField for what none has."""
        if self._open is None:
            give_way()
            await self.refresh()
        opened = self._open
        assert opened is not None
        key = (name, question or Question())
        if key in opened.kept:
            opened.kept.move_to_end(key)
            return dict(opened.kept[key])
        give_way()
        loop = asyncio.get_running_loop()
        return dict(await loop.run_in_executor(self._thread, opened.answer, key))

    async def refresh(self) -> None:
        """Reads a newer publication, if there is one; until it is ready the older one answers."""
        async with self._opening:
            version = version_of(self._home)
            if self._open is None or self._open.version != version:
                self._open = await asyncio.to_thread(_opened, self._home, version)

    async def overview(self, question: Question) -> Answer:
        """Key figures of the tables, and what happened since in the service."""
        return await self._with_live("overview", question, ())

    async def recommendations(self, question: Question) -> Answer:
        """What recommendations did, what they did since, and the released models."""
        answer = await self._with_live("recommendations", question, ("served",))
        return answer | {"release": self._releases.current.release_id}

    async def bundles(self, question: Question) -> Answer:
        """What became of bundles; of the latest, beside what was expected of them."""
        return await self._with_live("bundles", question, ("bundles",))

    async def personalization(self, question: Question) -> Answer:
        """What is personalized, and how it does; its lift is that of the published holdout."""
        answer = await self.recommendations(question)
        lift = (await self._results.lift())["result"]
        unavailable = {"lift": NEEDS_EXPERIMENT} if lift is None else {}
        return answer | {"lift": lift, "unavailable": unavailable}

    async def experiments(self) -> Answer:
        """The published result of each experiment, as its analysis wrote it."""
        results = await asyncio.to_thread(_published_results, self._home.root / "experiments")
        note = {} if results else {"experiments": "no run has analysed an experiment yet"}
        return {"experiments": results, "source_asset": "analysis/experiments", "unavailable": note}

    async def models(self) -> Answer:
        """The released models with their figures on the test fold, and what the release holds."""
        return model_tables(self._releases.current.release.manifest)

    async def data_health(self) -> Answer:
        """How fresh and how clean the data is, what is unusual in it, and how quick the service is."""

        def read() -> Coroutine[Any, Any, Answer]:
            return asyncio.to_thread(health_tables, self._home, self._metrics)

        return await self._once_in(HEALTH_SECONDS, ("data_health",), read)

    # the tables

    async def _keep_warm(self) -> None:
        while True:
            with contextlib.suppress(NoTables):
                await self.refresh()
            await asyncio.sleep(WARM_SECONDS)

    # what was served since

    async def _with_live(self, name: str, question: Question, parts: tuple[str, ...]) -> Answer:
        answer = await self.dashboard(name, question)
        since = datetime.fromisoformat(answer["as_of"]).replace(tzinfo=UTC) + timedelta(days=1)
        micros = int(since.timestamp()) * MICROS
        live = await self._once_in(LIVE_SECONDS, ("live", *parts), lambda: self._read_live(micros, parts))
        return answer | {"live": live}

    async def _once_in(
        self, seconds: float, name: tuple[str, ...], read: Callable[[], Coroutine[Any, Any, Answer]]
    ) -> Answer:
        """What `read` gave within the last so many seconds: one reading, whoever else asks meanwhile.

        While it is read again the answer before stands in, unless nobody has asked for long.
        """
        now = time.monotonic()
        last = self._shared.get(name)
        if last is None or now - last.at >= seconds:
            before = None
            if last is not None and now - last.at < MOST_TIMES_OLDER * seconds:
                before = last.known
            last = self._shared[name] = _Reading(now, asyncio.create_task(read()), before)
        return await last.answer()

    async def _read_live(self, since: int, parts: tuple[str, ...]) -> Answer:
        now = time.time_ns() // 1000
        at = datetime.fromtimestamp(since / MICROS, UTC).isoformat()
        answer: Answer = {"since": at, "definitions": DEFINITIONS}
        try:
            day = await self._database.read(lambda c: store.event_counts(c, now - DAY_MICROS))
            hour = await self._database.read(lambda c: store.event_counts(c, now - 3600 * MICROS))
            answer |= {
                "activities_last_hour": sum(hour.values()),
                "activities_last_day": sum(day.values()),
                "by_type_last_day": dict(day.most_common()),
            }
            if "served" in parts:
                answer |= await self._database.read(lambda c: served_figures(c, since))
            if "bundles" in parts:
                answer["by_bundle_type"] = await self._database.read(lambda c: bundle_figures(c, since))
                answer["definitions"] = DEFINITIONS | BUNDLE_DEFINITIONS
        except StoreUnavailable:
            answer["unavailable"] = STORE_AWAY
        return answer


def read_segment(text: str | None) -> Segment | None:
    """`channel:web` as a segment; raises InvalidField for text that is none."""
    if text is None:
        return None
    dimension, separator, member = text.partition(":")
    if not (separator and dimension and member):
        raise InvalidField("segment", text, "write dimension:member, such as channel:web")
    return Segment(dimension, member)


def chosen_period(until: date, first: date | None, last: date | None, days: int | None) -> Period:
    """The period that was asked for; raises `InvalidField` for one that is none."""
    for name, given in (("from", first), ("to", last)):
        if given is not None and not EARLIEST <= given <= LATEST:
            raise InvalidField(name, given.isoformat(), f"give a day from {EARLIEST} to {LATEST}")
    end = last or until
    if first is not None and days is not None and last is not None:
        raise InvalidField("days", days, "give from and to, or one of them with days")
    if first is not None and days is not None:
        end = first + timedelta(days=days - 1)
    start = first or end - timedelta(days=(days or DEFAULT_DAYS) - 1)
    if start > end:
        raise InvalidField("from", start.isoformat(), f"it is after the end of the period, {end.isoformat()}")
    if (end - start).days >= MOST_DAYS:
        raise InvalidField("from", start.isoformat(), f"ask for at most {MOST_DAYS} days")
    return Period(start, end, until)


def _published_results(folder: Path) -> list[Answer]:
    return [
        {"experiment_id": path.stem, **json.loads(path.read_bytes())}
        for path in sorted(folder.glob("*.json"))
        if path.stem != SIMULATED
    ]
