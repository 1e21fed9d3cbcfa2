"""How many events a second one worker takes durably, and what `kill -9` costs: nothing that was acknowledged.

    python -m benchmarks.tracking --home .attune [--seconds 10] [--connections 32] [--json FILE]
    python -m benchmarks.tracking --home .attune --kills 50

The service as it is served, one worker, on a copy of the home's release with an event log of its own (or in
the PostgreSQL of --database-url). Every answer comes after the commit, and every commit is synced to disk.
Driven by wrk on the same machine; all events of a run are counted in the log afterwards.

With --kills the service is killed at random instants under load and started again; clients send again, with
the same ids, what was not acknowledged. Then the log must hold every acknowledged event, and each event once.

Bars: 1,000 events/s in requests of one, 20,000 in batches of 100; 0 lost, 0 doubled.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from benchmarks.serving import QUIET, ROOT, Load, Target, drive, free_port, ours, wait_ready
from feature_repo.event_log import events, open_engine, operational_url
from feature_repo.layout import Home

SINGLE, BATCH = "/api/v1/behavior/track", "/api/v1/behavior/track/batch"
BODIES = 200
USERS = 5_000
BARS = {1: 1_000, 100: 20_000}
KILL_CLIENTS = 8
MAX_RUN_SECONDS = 1.5
TYPES = ("product_view", "view", "click", "add_to_cart", "page_view", "PRODUCT_VIEW", "wishlist_add")


@dataclass(frozen=True)
class Tracked:
    """One load: `size` events a request."""

    size: int
    events_per_second: float
    events_per_cpu_second: float
    p50_ms: float
    p99_ms: float
    failures: int
    acknowledged: int
    in_the_log: int


@dataclass(frozen=True)
class Killed:
    """What the log holds after the kills.

    `recognized`: events that had been stored before a kill though nobody was told, and were sent again.
    """

    kills: int
    acknowledged: int
    recognized: int
    lost: int
    doubled: int


def main() -> None:
    """Run, print the table, write JSON, and exit with 1 if a bar is missed."""
    options = parse()
    loads: list[Tracked] = []
    killed: Killed | None = None
    with scratch_home(options.home) as home:
        if options.kills:
            killed = kill_often(home, options)
        else:
            loads = [measure(home, size, options) for size in options.sizes]
    checks = show(loads, killed)
    if options.json:
        figures = {"loads": [asdict(each) for each in loads], "killed": killed and asdict(killed)}
        options.json.write_text(json.dumps(figures, indent=1))
    sys.exit(0 if all(checks) else 1)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".attune"), help="a home with a release")
    parser.add_argument("--seconds", type=int, default=10, help="how long each load lasts")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 100], help="events a request")
    parser.add_argument("--kills", type=int, default=0, help="kill the service so often instead")
    parser.add_argument("--seed", type=int, default=0, help="of the instants of the kills")
    parser.add_argument("--database-url", default="", help="an empty PostgreSQL database instead of SQLite")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


@contextmanager
def scratch_home(source: Path) -> Iterator[Home]:
    """A copy of what the service reads, so that no event reaches the home itself."""
    if not (source / "releases").is_dir():
        sys.exit(f"error: {source} has no release; make one with `attune demo`")
    with tempfile.TemporaryDirectory(prefix="attune-tracking-") as folder:
        for name in ("releases", "features"):
            shutil.copytree(source / name, Path(folder) / name)
        yield Home(Path(folder))


# throughput


def measure(home: Home, size: int, options: argparse.Namespace) -> Tracked:
    """Drive requests of this many events, then count what is in the log."""
    before = count(home, options.database_url)
    with ours(home.root, environment(options)) as address:
        target = Target(*address, "POST", (SINGLE if size == 1 else BATCH,), bodies(size))
        warm = drive("warm", target, argparse.Namespace(connections=options.connections, seconds=1))
        load = drive(f"{size} a request", target, options)
    counted = count(home, options.database_url) - before
    # Warming up is driven too, before and within `drive`: the log must hold at least what was measured.
    acknowledged = round(load.requests_per_second * options.seconds) * size
    assert warm.failures == 0, "requests fail before anything is measured"
    return tracked(load, size, acknowledged, counted)


def tracked(load: Load, size: int, acknowledged: int, counted: int) -> Tracked:
    """The figures by event."""
    return Tracked(
        size=size,
        events_per_second=load.requests_per_second * size,
        events_per_cpu_second=load.requests_per_cpu_second * size,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        failures=load.failures,
        acknowledged=acknowledged,
        in_the_log=counted,
    )


def bodies(size: int) -> tuple[str, ...]:
    """Bodies of this many events, of many customers; without ids, so that each counts."""
    numbers = itertools.count()
    if size == 1:
        return tuple(json.dumps(event(next(numbers))) for _ in range(BODIES * 10))
    return tuple(json.dumps({"events": [event(next(numbers)) for _ in range(size)]}) for _ in range(BODIES))


def event(number: int, event_id: str | None = None) -> dict[str, Any]:
    """One act, with the fields that a web shop sends."""
    given = {} if event_id is None else {"event_id": event_id}
    return given | {
        "user_id": f"user_{number * 7919 % USERS}",
        "event_type": TYPES[number % len(TYPES)],
        "product_id": f"prod_{number % 997}",
        "timestamp": "2026-01-31T10:30:00Z",
        "session_id": f"s_{number % 9973}",
        "channel": "web",
        "context": {"device_type": "mobile", "page": f"/products/{number % 997}", "scroll_depth": 0.8},
    }


def environment(options: argparse.Namespace) -> dict[str, str]:
    """Settings of the service: its own log, and enough patience for a busy machine."""
    own = {"ATTUNE_DATABASE_DEADLINE_MS": "5000"}
    return own | ({"DATABASE_URL": options.database_url} if options.database_url else {})


def count(home: Home, database_url: str) -> int:
    """Events in the log; 0 if there is none yet."""
    rows = ask(home, database_url, sa.select(sa.func.count()).select_from(events))
    return int(rows[0][0]) if rows else 0


def ask(home: Home, database_url: str, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
    """What the log answers; nothing if there is none yet."""
    engine = open_engine(operational_url(home, database_url))
    try:
        with engine.begin() as connection:
            return connection.execute(query).all() if sa.inspect(connection).has_table(events.name) else []
    finally:
        engine.dispose()


# kill -9


def kill_often(home: Home, options: argparse.Namespace) -> Killed:
    """Kill and restart the service under load; then compare the log with what clients were told."""
    return asyncio.run(_kill_often(home, options))


async def _kill_often(home: Home, options: argparse.Namespace) -> Killed:
    rng = random.Random(options.seed)
    port = free_port()
    told: dict[str, str] = {}
    is_over = asyncio.Event()
    clients = [asyncio.create_task(client(number, port, told, is_over)) for number in range(KILL_CLIENTS)]
    for kill in range(options.kills):
        process = await asyncio.to_thread(start, home, port, options)
        await asyncio.sleep(rng.uniform(0.05, MAX_RUN_SECONDS))
        kill_all(process)
        print(f"kill {kill + 1}: {len(told)} events acknowledged", flush=True)
    process = await asyncio.to_thread(start, home, port, options)
    is_over.set()
    await asyncio.gather(*clients)
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait)
    rows = ask(home, options.database_url, sa.select(events.c.event_id, events.c.body))
    numbers = [json.loads(body)["context"]["number"] for _, body in rows]
    lost = told.keys() - {event_id for event_id, _ in rows}
    recognized = sum(status == "duplicate" for status in told.values())
    return Killed(options.kills, len(told), recognized, len(lost), len(numbers) - len(set(numbers)))


def start(home: Home, port: int, options: argparse.Namespace) -> "subprocess.Popen[bytes]":
    """The service, ready."""
    env = {"ATTUNE_HOME": str(home.root), "PORT": str(port), **environment(options)}
    process = subprocess.Popen(
        [sys.executable, "-m", "serving"],
        cwd=ROOT,
        env=os.environ | QUIET | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    if not wait_ready(process, port, "/health/ready", seconds=300):
        sys.exit("error: the service did not start again")
    return process


def kill_all(process: "subprocess.Popen[bytes]") -> None:
    """`kill -9` for the server and its workers, which would go on without it."""
    root = psutil.Process(process.pid)
    everybody = [*root.children(recursive=True), root]
    for each in everybody:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
    psutil.wait_procs(everybody, timeout=10)


async def client(number: int, port: int, told: dict[str, str], is_over: asyncio.Event) -> None:
    """Send batch after batch; what was not acknowledged is sent again as it was, until it is."""
    for turn in itertools.count():
        batch = []
        for index in range(1 + turn % 20):
            act = event(turn, f"c{number}-{turn}-{index}")
            act["context"]["number"] = act["event_id"]
            batch.append(act)
        body = json.dumps({"events": batch}).encode()
        while (results := await deliver(port, body)) is None:
            await asyncio.sleep(0.02)
        told |= {line["event_id"]: line["status"] for line in results}
        if is_over.is_set():
            return


async def deliver(port: int, body: bytes) -> list[dict[str, Any]] | None:
    """What became of a batch; None if no answer came, or one that says to come again."""
    head = f"POST {BATCH} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
    with suppress(OSError, ValueError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + body)
            answer = await reader.read()
        finally:
            writer.close()
        top, _, content = answer.partition(b"\r\n\r\n")
        if top.startswith(b"HTTP/1.1 200"):
            results: list[dict[str, Any]] = json.loads(content)["results"]
            assert {line["status"] for line in results} <= {"accepted", "duplicate"}, results
            return results
    return None


# the table


def show(loads: Sequence[Tracked], killed: Killed | None) -> list[bool]:
    """Print what was measured; whether each bar is met."""
    checks: list[bool] = []
    if loads:
        print(
            f"{'events a request':<18}{'events/s':>10}{'per CPU s':>11}{'p50 ms':>9}{'p99 ms':>9}"
            f"{'failed':>8}{'acknowledged':>14}{'in the log':>12}   bar"
        )
    for load in loads:
        bar = BARS.get(load.size)
        met = load.failures == 0 and load.in_the_log >= load.acknowledged
        met = met and (bar is None or load.events_per_second >= bar)
        checks.append(met)
        print(
            f"{load.size:<18}{load.events_per_second:>10.0f}{load.events_per_cpu_second:>11.0f}"
            f"{load.p50_ms:>9.1f}{load.p99_ms:>9.1f}{load.failures:>8}{load.acknowledged:>14}"
            f"{load.in_the_log:>12}   {f'>= {bar}' if bar else ''} {'met' if met else 'MISSED'}"
        )
    if killed is not None:
        met = killed.lost == 0 and killed.doubled == 0
        checks.append(met)
        print(
            f"{killed.kills} kills: {killed.acknowledged} events acknowledged,"
            f" {killed.recognized} of them recognized when they came again,"
            f" {killed.lost} lost, {killed.doubled} doubled"
            f"   {'met' if met else 'MISSED'}"
        )
    return checks


if __name__ == "__main__":
    main()
