"""Analytics answers: figures of the published tables, and of what this service served since.

The tables are Parquet, read by DuckDB on one thread of our own; an answer is kept for as long as the version
of the tables stays. What was served comes from the operational store and is read again after some seconds.
The period of the tables is in data time: it ends with their last day, however long ago that is.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb

from feature_repo.layout import Home
from serving.bundle_results import BUNDLE_EVENTS, DEFINITIONS, BundleAct, results_by_type
from serving.errors import InvalidField, NoTables, StoreUnavailable
from serving.releases import ReleaseHolder
from serving.reports import REPORTS, TABLES, Figures, Period
from serving.store import analytics as store
from serving.store.database import Database

DEFAULT_DAYS = 30
MOST_DAYS = 3650
EARLIEST, LATEST = date(1970, 1, 1), date(2200, 1, 1)
KEPT_ANSWERS = 64
SERVED_SECONDS = 5.0
WARM_SECONDS = 5.0
MICROS = 1_000_000
# One thread, and no copies of the files beside the system's own: as quick here, and memory stays what it is.
ENGINE: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "256MB",
    "enable_external_file_cache": False,
}
STORE_AWAY = "the operational store does not answer now"
NEEDS_EXPERIMENT = "lift needs an experiment with a control group: see GET /api/v1/experiments"

SERVED_DEFINITIONS = {
    "answers": f"the latest answers, at most {store.MOST_DECISIONS}; `is_complete` says whether all",
    "items_shown": "places in those answers",
    "click_through_rate": "share of places whose item was clicked with the answer's recommendation_id",
    "conversion_rate": "share of places whose item was bought with the answer's recommendation_id",
    "revenue": "quantity times price of those purchases",
    "personalized_share": "share of the answers that used what is known of the visitor, of those that say",
}


class Analytics:
    """The analytics of one process."""

    def __init__(self, home: Home, releases: ReleaseHolder, database: Database) -> None:
        self._home = home
        self._releases = releases
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="analytics")
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._version: tuple[str, int, str] | None = None
        self._data_until: date | None = None
        self._currency: str | None = None
        self._kept: OrderedDict[tuple[Any, ...], Figures] = OrderedDict()
        self._served: dict[tuple[int, str | None], tuple[float, list[store.Served]]] = {}
        self._warmer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Have the usual reports ready before somebody asks, now and after each publication."""
        self._warmer = asyncio.create_task(self._keep_warm(), name="analytics-warm")

    async def close(self) -> None:
        """Stop, and end the thread."""
        if self._warmer is not None:
            self._warmer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._warmer
        await asyncio.to_thread(self._thread.shutdown)

    async def report(
        self, name: str, first: date | None = None, last: date | None = None, days: int | None = None
    ) -> Figures:
        """One report over a period: `last` days of the data by default."""
        loop = asyncio.get_running_loop()
        return dict(await loop.run_in_executor(self._thread, self._report, name, first, last, days))

    async def overview(self, *period: Any) -> Figures:
        """Key figures of the tables, and what happened since in the service."""
        return {**await self.report("overview", *period), "live": await self._live()}

    async def recommendation_performance(self, days: int = DEFAULT_DAYS) -> Figures:
        """How recommendations do: shown, clicked, bought, by algorithm and by kind of answer."""
        served, unavailable = await self._latest(days)
        answer: Figures = {
            "window": _window(days),
            **await self._figures(served),
            "by_kind": [{"kind": kind, **_counted(each)} for kind, each in _groups(served).items()],
            "by_algorithm": _by_algorithm(served),
            "models": self._models(),
            "release": self._releases.current.release_id,
            "unavailable": unavailable,
            "definitions": SERVED_DEFINITIONS
            | {"models": "metrics of the released models on their test fold, when they were released"},
        }
        if not served and not unavailable:
            answer["unavailable"] = {"click_through_rate": "nothing was served in these days"}
        return answer

    async def bundle_performance(self, *period: Any) -> Figures:
        """How bundles do: shown, clicked, added; and what is bought together without them."""
        tables = await self.report("baskets", *period)
        served, unavailable = await self._latest(DEFAULT_DAYS, "bundles")
        acts: Mapping[str, int] = {}
        named: list[BundleAct] = []
        if not unavailable:
            since = _since(DEFAULT_DAYS)
            acts = await self._database.read(lambda c: store.event_counts(c, since, BUNDLE_EVENTS))
            found = await self._database.read(lambda c: store.named_bundles(c, since, BUNDLE_EVENTS))
            named = [BundleAct(*each) for each in found]
        views, adds = acts.get("bundle_view", 0), acts.get("bundle_add", 0)
        bundles = [bundle for each in served for bundle in each.output.get("bundles", ())]
        if not views:
            unavailable = {"conversion_rate": "no bundle_view event came in these days", **unavailable}
        if not bundles:
            unavailable = {"by_type": "no bundle was served in these days", **unavailable}
        return {
            **tables,
            "window": _window(DEFAULT_DAYS),
            "bundles_served": len(bundles),
            "bundle_views": views,
            "bundle_clicks": acts.get("bundle_click", 0),
            "bundle_adds": adds,
            "conversion_rate": adds / views if views else None,
            "by_type": results_by_type(served, named),
            "unavailable": unavailable,
            "definitions": {
                "conversion_rate": "bundle_add over bundle_view events of the window",
                **DEFINITIONS,
                "baskets": "orders of the period: how many hold several lines, what is bought together most",
            },
        }

    async def personalization(self, days: int = DEFAULT_DAYS) -> Figures:
        """What is personalized, and how it does."""
        served, unavailable = await self._latest(days)
        rungs = Counter(str(each.output.get("rung")) for each in served if each.output.get("rung"))
        told = [each for each in served if each.output.keys() & {"personalized", "rung"}]
        personal = [each for each in told if _is_personal(each)]
        return {
            "window": _window(days),
            **await self._figures(served),
            "personalized_share": len(personal) / len(told) if told else None,
            "rungs": dict(rungs),
            "by_kind": [{"kind": kind, **_counted(each)} for kind, each in _groups(served).items()],
            "lift": None,
            "live": await self._live(),
            "release": self._releases.current.release_id,
            "unavailable": {"lift": NEEDS_EXPERIMENT, **unavailable},
            "definitions": SERVED_DEFINITIONS
            | {"rungs": "live, batch, segment or popular: what the answers could rest on"},
        }

    async def recommendations_dashboard(self, days: int = DEFAULT_DAYS) -> Figures:
        """Performance and personalization beside each other."""
        performance = await self.recommendation_performance(days)
        personal = await self.personalization(days)
        shared = ("personalized_share", "rungs", "live", "lift")
        return {
            **performance,
            **{name: personal[name] for name in shared},
            "unavailable": {**performance["unavailable"], **personal["unavailable"]},
            "definitions": {**performance["definitions"], **personal["definitions"]},
        }

    # the tables

    async def _keep_warm(self) -> None:
        while True:
            await asyncio.sleep(WARM_SECONDS)
            with contextlib.suppress(NoTables):
                for name in REPORTS:
                    await self.report(name)

    def _report(self, name: str, first: date | None, last: date | None, days: int | None) -> Figures:
        connection = self._open()
        assert self._data_until is not None
        period = chosen_period(self._data_until, first, last, days)
        key = (self._version, name, period)
        if key not in self._kept:
            figures = _rounded(REPORTS[name](connection, period))
            self._kept[key] = {
                "period": {
                    "from": period.first.isoformat(),
                    "to": period.last.isoformat(),
                    "days": period.days,
                    "data_until": period.data_until.isoformat(),
                },
                "currency": self._currency,
                **figures,
            }
            if len(self._kept) > KEPT_ANSWERS:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _open(self) -> duckdb.DuckDBPyConnection:
        """The tables of now, as views; opened again when a newer version is published."""
        folder = self._home.current_marts.resolve()
        predictions = sorted(self._home.prediction("user_predictions").glob("*.parquet"))
        try:
            version = (str(folder), folder.stat().st_mtime_ns, str(predictions[-1:]))
        except FileNotFoundError:
            raise NoTables(str(self._home.marts)) from None
        if self._connection is not None and version == self._version:
            return self._connection
        connection = duckdb.connect(config=ENGINE)
        for table in TABLES:
            if not any((folder / table).glob("*.parquet")):
                raise NoTables(str(self._home.marts))
            # Names come from our own list and the home's path: nothing of a request stands here.
            connection.execute(
                f"create view {table} as select * from read_parquet('{_quoted(folder / table)}/*.parquet')"
            )
        connection.execute(f"create view predictions as {_predictions_sql(predictions)}")
        [until] = connection.execute("select max(event_date) from daily_kpis").fetchone() or (None,)
        if until is None:
            raise NoTables(str(self._home.marts))
        [currency] = connection.execute("select mode(currency) from orders").fetchone() or (None,)
        self._kept.clear()
        self._connection, self._version, self._data_until, self._currency = (
            connection,
            version,
            until,
            currency,
        )
        return connection

    # what was served

    async def _latest(self, days: int, kind: str | None = None) -> tuple[list[store.Served], dict[str, str]]:
        """The latest answers of some days, and why there are none if the store is away."""
        now = time.monotonic()
        kept = self._served.get((days, kind))
        if kept is not None and now - kept[0] < SERVED_SECONDS:
            return kept[1], {}
        since = _since(days)
        try:
            served = await self._database.read(lambda c: store.latest_served(c, since, kind))
        except StoreUnavailable:
            return [], {"answers": STORE_AWAY}
        self._served = {key: each for key, each in self._served.items() if now - each[0] < SERVED_SECONDS}
        self._served[days, kind] = (now, served)
        return served, {}

    async def _figures(self, served: list[store.Served]) -> Figures:
        bought = [
            event_id for each in served for _, status, event_id in each.outcomes if status == "converted"
        ]
        revenue: float | None = 0.0
        if bought:
            try:
                revenue = await self._database.read(lambda c: store.amounts(c, bought))
            except StoreUnavailable:
                revenue = None
        counted = _counted(served)
        return {**counted, "revenue": revenue, "is_complete": len(served) < store.MOST_DECISIONS}

    async def _live(self) -> Figures:
        """Events of the last hour and day, by the clock."""
        now = time.time_ns() // 1000
        try:
            hour = await self._database.read(lambda c: store.event_counts(c, now - 3600 * MICROS))
            day = await self._database.read(lambda c: store.event_counts(c, now - 86_400 * MICROS))
        except StoreUnavailable:
            return {"activities_last_hour": None, "activities_last_day": None, "unavailable": STORE_AWAY}
        return {
            "activities_last_hour": sum(hour.values()),
            "activities_last_day": sum(day.values()),
            "by_type_last_day": dict(sorted(day.items(), key=lambda each: -each[1])),
        }

    def _models(self) -> list[Figures]:
        models = self._releases.current.release.manifest.models
        return [
            {"model": name, "version": each.get("version"), "metrics": each.get("metrics")}
            for name, each in sorted(models.items())
        ]


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


def _predictions_sql(files: list[Any]) -> str:
    if files:
        return f"select * from read_parquet('{_quoted(files[-1])}')"
    return (
        "select null::varchar as user_id, null::double as clv_90d, null::double as churn_probability,"
        " null::varchar as value_segment where false"
    )


def _quoted(path: object) -> str:
    return str(path).replace("'", "''")


def _since(days: int) -> int:
    return time.time_ns() // 1000 - days * 86_400 * MICROS


def _window(days: int) -> Figures:
    now = datetime.now(UTC)
    return {"from": (now - timedelta(days=days)).isoformat(), "to": now.isoformat(), "days": days}


def _is_personal(each: store.Served) -> bool:
    """Whether an answer rested on what is known of the visitor; older kinds say so by their rung alone."""
    return bool(each.output.get("personalized", each.output.get("rung") in ("live", "batch")))


def _items(each: store.Served) -> list[Mapping[str, Any]]:
    items = each.output.get("items")
    return items if isinstance(items, list) else []


def _groups(served: Iterable[store.Served]) -> dict[str, list[store.Served]]:
    found: dict[str, list[store.Served]] = {}
    for each in served:
        found.setdefault(each.kind, []).append(each)
    return dict(sorted(found.items()))


def _counted(served: list[store.Served]) -> Figures:
    """Answers, places, and the shares of them that were clicked and bought."""
    shown = sum(len(_items(each)) for each in served)
    clicked = {
        (each.decision_id, item)
        for each in served
        for item, status, _ in each.outcomes
        if status == "clicked"
    }
    bought = {
        (each.decision_id, item)
        for each in served
        for item, status, _ in each.outcomes
        if status == "converted"
    }
    return {
        "answers": len(served),
        "items_shown": shown,
        "clicks": len(clicked),
        "conversions": len(bought),
        "click_through_rate": len(clicked) / shown if shown else None,
        "conversion_rate": len(bought) / shown if shown else None,
    }


def _by_algorithm(served: Iterable[store.Served]) -> list[Figures]:
    counts: dict[str, Counter[str]] = {}
    for each in served:
        came = {(item, status) for item, status, _ in each.outcomes}
        for item in _items(each):
            count = counts.setdefault(str(item.get("algorithm")), Counter())
            count["shown"] += 1
            count["clicked"] += (item.get("item_id"), "clicked") in came
            count["bought"] += (item.get("item_id"), "converted") in came
    return [
        {
            "algorithm": name,
            "items_shown": count["shown"],
            "clicks": count["clicked"],
            "conversions": count["bought"],
            "click_through_rate": count["clicked"] / count["shown"],
            "conversion_rate": count["bought"] / count["shown"],
        }
        for name, count in sorted(counts.items(), key=lambda each: -each[1]["shown"])
    ]


def _rounded(value: Any) -> Any:
    """Figures without the noise of sums of floats; what is no number is null."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
