"""How soon an act changes what is known and what is shown.

    python -m benchmarks.freshness --home .attune [--rate 200] [--seconds 60] [--workers 1] [--json FILE]

The service as it is served, on a copy of the home. Customers with stored candidates act at a steady rate,
whether or not earlier answers came (an open loop); every act carries an instant of its own, by which it is
recognized. From the acknowledgement of each act it measures

- until the customer's row in Feast's online store (`user_live`) holds it, polled beside the service;
- until the customer's recommendations differ from those before it, by requests of the customer;
- whether the customer's very next request already knows it.

Bars: p99 at most 1 s for both, and every next request knows.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import numpy as np
import pyarrow.parquet as pq

from benchmarks.serving import cpu_seconds, known_customers, ours
from feature_repo.errors import OnlineStoreUnavailable
from feature_repo.layout import Home
from feature_repo.live_store import LIVE
from feature_repo.store import OnlineReader, open_store

BAR_SECONDS = 1.0
GIVE_UP_SECONDS = 5.0
POLL_SECONDS = 0.01
WATCH_SECONDS = 0.02
READ_AT_ONCE = 200
# What customers do, most often look.
TYPES = ("product_view",) * 8 + ("click", "add_to_cart")
SHOWN = 10


@dataclass(frozen=True)
class Waits:
    """Seconds from the acknowledgement, of `count` acts; `late` gave up waiting."""

    measure: str
    count: int
    late: int
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(eq=False)
class Shopper:
    """One customer, one act at a time."""

    user_id: str
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    touched: set[str] = field(default_factory=set)
    shown: list[Any] | None = None


class FeastWatch(threading.Thread):
    """Reads the live rows of customers who acted until they hold the act."""

    def __init__(self, home: Home, redis_url: str | None) -> None:
        super().__init__(name="feast-watch", daemon=True)
        self._home = home
        self._redis_url = redis_url
        self._waiting: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self.seconds: list[float] = []
        self.late = 0

    def expect(self, user_id: str, event_us: int, acknowledged: float) -> None:
        """An act that was acknowledged at this moment."""
        with self._lock:
            self._waiting[user_id, event_us] = acknowledged

    def finish(self) -> None:
        """Wait for what is expected, for as long as it may take, then end."""
        self._is_over.set()
        self.join(GIVE_UP_SECONDS + 5)

    def run(self) -> None:
        reader = OnlineReader(open_store(self._home, self._redis_url))
        while not (self._is_over.is_set() and not self._waiting):
            with self._lock:
                users = list(dict.fromkeys(user for user, _ in self._waiting))[:READ_AT_ONCE]
            try:
                rows = dict(zip(users, reader.read_users(LIVE, users, ("recent_us",)), strict=True))
            except OnlineStoreUnavailable:  # it is busy, or has no live row yet
                rows = {}
            now = time.perf_counter()
            with self._lock:
                for (user, event_us), acknowledged in list(self._waiting.items()):
                    row = rows.get(user)
                    if row is not None and event_us in (row["recent_us"] or ()):
                        self.seconds.append(max(0.0, now - acknowledged))
                        del self._waiting[user, event_us]
                    elif now - acknowledged > GIVE_UP_SECONDS:
                        self.late += 1
                        del self._waiting[user, event_us]
            time.sleep(WATCH_SECONDS)


class Shop:
    """Customers who act and look again."""

    def __init__(self, session: aiohttp.ClientSession, address: str, watch: FeastWatch) -> None:
        self._session = session
        self._address = address
        self._watch = watch
        self.changed: list[float] = []
        self.late = 0
        self.next_requests = 0
        self.knowing = 0
        self.failures = 0
        self.acknowledge: list[float] = []

    async def look(self, shopper: Shopper) -> tuple[list[Any], float | None]:
        """What is shown, and how old the live row behind it is."""
        path = f"{self._address}/api/v1/recommendations/{quote(shopper.user_id, safe='')}?limit={SHOWN}"
        async with self._session.get(path) as response:
            answer = await response.json()
        shown = [(item["item_id"], item["score"]) for item in answer["recommendations"]]
        return shown, answer["feature_ages"].get("live")

    async def act(self, shopper: Shopper, item_id: str, kind: str) -> None:
        """One act, and looks until it shows."""
        async with shopper.turn:
            if shopper.shown is None:
                shopper.shown, _ = await self.look(shopper)
            at = time.time_ns() // 1000
            body = {
                "user_id": shopper.user_id,
                "event_type": kind,
                "item_id": item_id,
                "timestamp": datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="microseconds"),
            }
            at = int(datetime.fromisoformat(str(body["timestamp"])).timestamp() * 1e6 + 0.5)
            started = time.perf_counter()
            async with self._session.post(f"{self._address}/api/v1/behavior/track", json=body) as response:
                if response.status >= 300:
                    self.failures += 1
                    return
                await response.read()
            acknowledged = time.perf_counter()
            self.acknowledge.append(acknowledged - started)
            self._watch.expect(shopper.user_id, at, acknowledged)
            await self._see(shopper, at, acknowledged)

    async def _see(self, shopper: Shopper, at: int, acknowledged: float) -> None:
        is_next = True
        while True:
            shown, age = await self.look(shopper)
            now = time.perf_counter()
            if is_next:
                self.next_requests += 1
                # The live row behind the answer is no older than the act.
                self.knowing += age is not None and age <= time.time() - at / 1e6 + 0.002
                is_next = False
            if shown != shopper.shown:
                self.changed.append(now - acknowledged)
                shopper.shown = shown
                return
            if now - acknowledged > GIVE_UP_SECONDS:
                self.late += 1
                return
            await asyncio.sleep(POLL_SECONDS)


def main() -> None:
    """Run, print the table, write JSON, and exit with 1 if a bar is missed."""
    options = parse()
    home = options.home.absolute()
    with tempfile.TemporaryDirectory(prefix="freshness-") as folder:
        copy = Home(Path(folder))
        for source in (Home(home).releases, Home(home).features):
            shutil.copytree(source, copy.root / source.name, ignore=shutil.ignore_patterns("predictions"))
        users = known_customers(Home(home), options.customers)
        items = pq.read_table(catalogue(Home(home)), columns=["item_id"])["item_id"].to_pylist()
        env = {"ATTUNE_WORKERS": str(options.workers), "ATTUNE_RATE_LIMIT": "0"}
        if options.redis_url:
            env["REDIS_URL"] = options.redis_url
        with ours(copy.root, env) as (pid, port):
            before = cpu_seconds(pid)
            summary = asyncio.run(drive(f"http://127.0.0.1:{port}", copy, users, items, options))
            summary["cpu_ms_per_act"] = round(1000 * (cpu_seconds(pid) - before) / summary["acts"], 2)
    show(summary)
    if options.json:
        options.json.write_text(json.dumps(summary, indent=1))
    sys.exit(0 if all(check["met"] for check in summary["checks"]) else 1)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".attune"), help="a home with a release")
    parser.add_argument("--rate", type=int, default=200, help="acts a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--customers", type=int, default=1000, help="how many different ones act")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    parser.add_argument("--redis-url", default=os.environ.get("REDIS_URL"), help="an online store to use")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def catalogue(home: Home) -> Path:
    """The items of the current release."""
    return home.release(home.current_release.read_text().strip()) / "items.parquet"


async def drive(
    address: str, home: Home, users: Sequence[str], items: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Acts at the rate asked for, after a short warm-up; the figures."""
    chance = random.Random(1)
    watch = FeastWatch(home, options.redis_url)
    watch.start()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        shop = Shop(session, address, watch)
        shoppers = [Shopper(user) for user in users]
        for start in range(0, len(shoppers), 50):
            for shopper, (shown, _) in zip(
                shoppers[start : start + 50],
                await asyncio.gather(*(shop.look(each) for each in shoppers[start : start + 50])),
                strict=True,
            ):
                shopper.shown = shown
        tasks: list[asyncio.Task[None]] = []
        began = time.perf_counter()
        for number in range(options.rate * options.seconds):
            await asyncio.sleep(max(0.0, began + number / options.rate - time.perf_counter()))
            shopper = shoppers[number % len(shoppers)]
            item = chance.choice(items)
            while item in shopper.touched:
                item = chance.choice(items)
            shopper.touched.add(item)
            tasks.append(asyncio.create_task(shop.act(shopper, item, chance.choice(TYPES))))
        lasted = time.perf_counter() - began
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        shop.failures += sum(isinstance(each, BaseException) for each in outcomes)
    await asyncio.to_thread(watch.finish)
    return summarize(shop, watch, options, lasted)


def summarize(shop: Shop, watch: FeastWatch, options: argparse.Namespace, lasted: float) -> dict[str, Any]:
    """Figures and whether the bars are met."""
    stored = waits("act -> row in Feast", watch.seconds, watch.late)
    changed = waits("act -> changed recommendation", shop.changed, shop.late)
    tracked = waits("request -> acknowledged", shop.acknowledge, shop.failures)
    acts = options.rate * options.seconds
    share = shop.knowing / shop.next_requests if shop.next_requests else 0.0
    checks = [
        {
            "check": f"{each.measure}: p99 <= {BAR_SECONDS:g} s",
            "met": each.p99 <= BAR_SECONDS and not each.late,
        }
        for each in (stored, changed)
    ]
    checks.append({"check": "own next request knows the act: 100 %", "met": share == 1.0})
    checks.append({"check": "no request failed", "met": shop.failures == 0})
    return {
        "acts": acts,
        "acts_per_second": round(acts / lasted, 1),
        "workers": options.workers,
        "online_store": "redis" if options.redis_url else "sqlite",
        "waits": [asdict(each) for each in (tracked, stored, changed)],
        "next_request_knows": share,
        "checks": checks,
    }


def waits(measure: str, seconds: Sequence[float], late: int) -> Waits:
    """Percentiles of what was waited."""
    p50, p95, p99, most = np.quantile(seconds or [float("nan")], [0.5, 0.95, 0.99, 1.0])
    return Waits(measure, len(seconds), late, *(round(float(each), 4) for each in (p50, p95, p99, most)))


def show(summary: dict[str, Any]) -> None:
    """The table."""
    print(f"{summary['acts']} acts, {summary['acts_per_second']}/s, {summary['workers']} worker(s)")
    print(f"{'seconds':32}{'count':>8}{'late':>6}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}")
    for each in summary["waits"]:
        figures = "".join(f"{each[name]:9.4f}" for name in ("p50", "p95", "p99", "max"))
        print(f"{each['measure']:32}{each['count']:8}{each['late']:6}{figures}")
    print(f"CPU of the service: {summary['cpu_ms_per_act']} ms for an act and its looks")
    print(f"own next request knows the act: {100 * summary['next_request_knows']:.2f} %")
    for check in summary["checks"]:
        print(f"{'met   ' if check['met'] else 'MISSED'} {check['check']}")


if __name__ == "__main__":
    main()
