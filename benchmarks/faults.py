"""What customers notice when a store of the service hangs, dies or is slow.

    python -m benchmarks.faults --home .attune [--seconds 5] [--connections 8] [--json FILE]

The service runs on a copy of the home, its online features in a Redis of the benchmark's own, its operational
store in SQLite and then, if it is installed, in a PostgreSQL of the benchmark's own. While clients ask for
recommendations and another one tracks events without a pause,

- Redis is stopped (SIGSTOP), killed and started again, and slowed down by 500 ms an answer (a proxy);
- SQLite's write lock is taken by another process; PostgreSQL is stopped, and killed and started again.

Bars while the fault lasts: every recommendation is answered (200), p99 at most 150 ms. After it is over:
answers are whole again, and events accepted, within 5 s. Every acknowledged event is in the log once; one
that was refused (503) is sent again until it is accepted.
"""

import argparse
import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from benchmarks.serving import free_port, known_customers, ours
from feature_repo.layout import Home

P99_BAR_MS = 150.0
RECOVERY_BAR_SECONDS = 5.0
SLOW_SECONDS = 0.5
RETRY_SECONDS = 0.05
HIDDEN = ("world", "bentoml", "mlflow", "dbt", "warehouse", "landing")


@dataclass
class Answers:
    """What clients saw: start, seconds, status, and whether it fell back; ids of acknowledged events."""

    recommendations: list[tuple[float, float, int, bool]] = field(default_factory=list)
    tracked: list[tuple[float, float, int]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """When one fault began and ended, and until when its end was watched."""

    fault: str
    began: float
    ended: float
    watched_until: float
    heals_fallback: bool


@dataclass(frozen=True)
class Outcome:
    """One fault, in figures."""

    fault: str
    answers: int
    answered_share: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    fallback_share: float
    events_refused: int
    recovered_seconds: float | None
    events_lost: int | None
    is_met: bool


# clients


class Clients:
    """Threads with an event loop of their own that ask and track until they are stopped."""

    def __init__(self, port: int, customers: Sequence[str], connections: int) -> None:
        self.answers = Answers()
        self._port = port
        self._customers = customers
        self._connections = connections
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "Clients":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)

    async def _run(self) -> None:
        asking = [self._ask(number) for number in range(self._connections)]
        await asyncio.gather(self._track(), *asking)

    async def _ask(self, number: int) -> None:
        connection = Connection(self._port)
        while not self._is_over.is_set():
            customer = quote(self._customers[number % len(self._customers)], safe="")
            number += self._connections
            started = time.perf_counter()
            status, body = await connection.request("GET", f"/api/v1/recommendations/{customer}")
            seconds = time.perf_counter() - started
            self.answers.recommendations.append((started, seconds, status, b'"fallback":true' in body))
            await asyncio.sleep(0.01)
        connection.close()

    async def _track(self) -> None:
        connection, number = Connection(self._port), 0
        while not self._is_over.is_set():
            event_id = f"fault-{os.getpid()}-{id(self)}-{number}"
            event = {"event_id": event_id, "event_type": "page_view", "user_id": f"fault-{number % 50}"}
            body = json.dumps(event).encode()
            started = time.perf_counter()
            status, _ = await connection.request("POST", "/api/v1/behavior/track", body)
            self.answers.tracked.append((started, time.perf_counter() - started, status))
            if 200 <= status < 300:
                self.answers.acknowledged.append(event_id)
                number += 1
                await asyncio.sleep(0.01)
            else:
                # As a client should: the same event again, until it is acknowledged.
                await asyncio.sleep(RETRY_SECONDS)
        connection.close()


class Connection:
    """One keep-alive connection; a status of 0 is no answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(10):
                return await self._request(method, path, body)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self.close()
            return 0, b""

    async def _request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in answered.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        return int(answered.split(b" ", 2)[1]), await reader.readexactly(length)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


# faults


def measure(
    fault: str,
    clients: Clients,
    begin: Callable[[], None],
    end: Callable[[], None],
    seconds: float,
    heals_fallback: bool,
) -> Measured:
    """Let a fault last for some seconds, and watch how the service gets over it."""
    time.sleep(1.0)
    began = time.perf_counter()
    begin()
    time.sleep(seconds)
    end()
    ended = time.perf_counter()
    wanted = ended + RECOVERY_BAR_SECONDS + 3
    while time.perf_counter() < wanted:
        watched = Measured(fault, began, ended, time.perf_counter(), heals_fallback)
        if recovered_after(clients.answers, watched) is not None:
            break
        time.sleep(0.1)
    time.sleep(1.0)
    return Measured(fault, began, ended, time.perf_counter(), heals_fallback)


def recovered_after(answers: Answers, one: Measured) -> float | None:
    """Seconds from the end of a fault to the first whole answer after the last that was not."""
    later = [
        (at, ok)
        for at, ok in (
            [(start, status == 200 and not fell) for start, _, status, fell in answers.recommendations]
            if one.heals_fallback
            else [(start, 200 <= status < 300) for start, _, status in answers.tracked]
        )
        if one.ended <= at < one.watched_until
    ]
    if len(later) < 10 or not later[-1][1]:
        return None
    bad = [at for at, ok in later if not ok]
    return max(bad) - one.ended if bad else 0.0


def outcome(clients: Clients, one: Measured, lost: int | None) -> Outcome:
    """Figures of one fault, and whether they meet the bars."""
    began, ended = one.began, one.ended
    answers = clients.answers
    during = [each for each in answers.recommendations if began <= each[0] < ended]
    waits = sorted(each[1] * 1e3 for each in during)
    answered = sum(each[2] == 200 for each in during) / max(1, len(during))
    after = recovered_after(answers, one)
    refused = sum(status >= 500 or status == 0 for at, _, status in answers.tracked if began <= at < ended)
    p99 = waits[int(0.99 * (len(waits) - 1))]
    is_met = answered == 1.0 and p99 <= P99_BAR_MS and after is not None and after <= RECOVERY_BAR_SECONDS
    return Outcome(
        fault=one.fault,
        answers=len(during),
        answered_share=answered,
        p50_ms=waits[len(waits) // 2],
        p99_ms=p99,
        max_ms=waits[-1],
        fallback_share=sum(each[3] for each in during) / max(1, len(during)),
        events_refused=refused,
        recovered_seconds=after,
        events_lost=lost,
        is_met=is_met and not lost,
    )


class Proxy:
    """Passes bytes on between two ports of this machine; `delay` holds back what comes from the server."""

    def __init__(self, server_port: int) -> None:
        self.delay = 0.0
        self.port = free_port()
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_slowed: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if is_slowed and self.delay:
                    time.sleep(self.delay)
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()


class Redis:
    """A redis-server that can be stopped, killed and started again with what it held."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--save", "", "--dir", str(self.folder)]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        wait_for_port(self.port)

    def save(self) -> None:
        """Write to disk what it holds, which it reads when it starts again."""
        subprocess.run(["redis-cli", "-p", str(self.port), "save"], check=True, capture_output=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.kill()


class Postgres:
    """A PostgreSQL of the benchmark's own; it refuses to run as root, so root starts it as `postgres`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        folder.mkdir()
        self._user: dict[str, int] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            self._user = {"user": owner.pw_uid, "group": owner.pw_gid}
        make = [program("initdb"), "-D", str(folder / "data"), "-U", "attune", "-A", "trust", "-N"]
        subprocess.run(make, check=True, capture_output=True, cwd="/", **self._user)  # type: ignore[call-overload]
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://attune@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        command = [program("postgres"), "-D", str(self._folder / "data"), "-h", "127.0.0.1", "-k", ""]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            [*command, "-p", str(self.port)], stdout=quiet, stderr=quiet, cwd="/", **self._user
        )
        wait_for_port(self.port)

    def signal(self, number: int) -> None:
        """To every process of it."""
        import psutil

        root = psutil.Process(self.process.pid)
        for each in (*root.children(recursive=True), root):
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        self.signal(signal.SIGCONT)
        self.kill()


def program(name: str) -> str:
    """Where a program of PostgreSQL lies, or an empty text."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(kept[-1]) if kept else "")


def wait_for_port(port: int) -> None:
    """Until somebody listens there."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {port}")


@contextmanager
def sqlite_locked(path: Path) -> Iterator[None]:
    """Hold SQLite's write lock, as another process that writes for long."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def fill_redis(home: Home, url: str) -> None:
    """Bring online what the home published."""
    from feature_repo.materialization import materialize
    from feature_repo.store import apply_definitions, open_store

    store = open_store(home, url)
    apply_definitions(store)
    # A batch of today is dated at the end of today.
    materialize(store, home, None, datetime.now(UTC) + timedelta(days=1))


def lost_events(url: str, acknowledged: Sequence[str]) -> int:
    """How many acknowledged events are not in the log exactly once."""
    import sqlalchemy as sa

    from feature_repo.event_log import events, open_engine, operational_url

    engine = open_engine(operational_url(Home(Path(url)), None if "://" not in url else url))
    with engine.connect() as connection:
        like = events.c.event_id.like("fault-%")
        counts = dict(
            connection.execute(
                sa.select(events.c.event_id, sa.func.count()).where(like).group_by(events.c.event_id)
            )
            .tuples()
            .all()
        )
    engine.dispose()
    return sum(counts.get(each) != 1 for each in acknowledged)


# the runs


def redis_faults(
    home: Home, folder: Path, customers: Sequence[str], options: argparse.Namespace
) -> list[Outcome]:
    """Hung, killed, slow."""
    redis = Redis(folder)
    proxy = Proxy(redis.port)
    found: list[Outcome] = []
    try:
        fill_redis(home, redis.url)
        redis.save()
        with (
            ours(home.root, {"REDIS_URL": redis.url, **ENV}) as (_, port),
            clients(port, customers, options) as each,
        ):
            stop = lambda: redis.process.send_signal(signal.SIGSTOP)  # noqa: E731
            go_on = lambda: redis.process.send_signal(signal.SIGCONT)  # noqa: E731
            measured = [measure("redis hung (SIGSTOP)", each, stop, go_on, options.seconds, True)]
            measured.append(measure("redis killed", each, redis.kill, redis.start, options.seconds, True))
        found += [outcome(each, one, None) for one in measured]
        url = f"redis://127.0.0.1:{proxy.port}/0"
        with (
            ours(home.root, {"REDIS_URL": url, **ENV}) as (_, port),
            clients(port, customers, options) as each,
        ):
            slow = lambda: setattr(proxy, "delay", SLOW_SECONDS)  # noqa: E731
            quick = lambda: setattr(proxy, "delay", 0.0)  # noqa: E731
            one = measure("redis slow by 500 ms", each, slow, quick, options.seconds, True)
        found.append(outcome(each, one, None))
    finally:
        proxy.close()
        redis.end()
    return found


def sqlite_faults(home: Home, customers: Sequence[str], options: argparse.Namespace) -> list[Outcome]:
    """Another process holds the write lock."""
    with ours(home.root, ENV) as (_, port), clients(port, customers, options) as each:
        lock = sqlite_locked(home.operational_db)
        begin = lock.__enter__
        end = lambda: lock.__exit__(None, None, None)  # noqa: E731
        one = measure("sqlite locked", each, lambda: begin() and None, end, options.seconds, False)
    return [outcome(each, one, lost_events(str(home.root), each.answers.acknowledged))]


def postgres_faults(
    home: Home, folder: Path, customers: Sequence[str], options: argparse.Namespace
) -> list[Outcome]:
    """Hung, and killed and started again."""
    postgres = Postgres(folder)
    try:
        env = {"DATABASE_URL": postgres.url, **ENV}
        with ours(home.root, env) as (_, port), clients(port, customers, options) as each:
            stop = lambda: postgres.signal(signal.SIGSTOP)  # noqa: E731
            go_on = lambda: postgres.signal(signal.SIGCONT)  # noqa: E731
            measured = [measure("postgresql hung (SIGSTOP)", each, stop, go_on, options.seconds, False)]
            kill, start = postgres.kill, postgres.start
            measured.append(measure("postgresql killed", each, kill, start, options.seconds, False))
        lost = lost_events(postgres.url, each.answers.acknowledged)
        return [outcome(each, one, lost) for one in measured]
    finally:
        postgres.end()


ENV = {"ATTUNE_RATE_LIMIT": "0"}


def clients(port: int, customers: Sequence[str], options: argparse.Namespace) -> Clients:
    """Clients of a service on this port."""
    return Clients(port, customers, options.connections)


def main() -> None:
    """Run, print the table, write JSON, and exit with 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".attune"), help="a home with a release")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each fault lasts")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="attune-faults-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(
            options.home.absolute(), folder / "home", symlinks=True, ignore=shutil.ignore_patterns(*HIDDEN)
        )
        home = Home(folder / "home")
        customers = known_customers(home, 500)
        found += sqlite_faults(home, customers, options)
        if shutil.which("redis-server"):
            (folder / "redis").mkdir()
            found += redis_faults(home, folder / "redis", customers, options)
        if program("initdb") and program("postgres"):
            found += postgres_faults(home, folder / "postgres", customers, options)
    show(found)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in found], indent=1))
    sys.exit(0 if all(each.is_met for each in found) else 1)


def show(found: Sequence[Outcome]) -> None:
    """The table."""
    print(f"{'fault':27}{'answers':>8}{'200':>7}{'p50':>7}{'p99':>7}{'max':>7} ms{'fell back':>10}"
          f"{'refused':>9}{'lost':>6}{'recovered':>11}")  # fmt: skip
    for each in found:
        after = "never" if each.recovered_seconds is None else f"{each.recovered_seconds:.1f} s"
        lost = "-" if each.events_lost is None else str(each.events_lost)
        print(
            f"{each.fault:27}{each.answers:8}{each.answered_share:7.1%}{each.p50_ms:7.1f}{each.p99_ms:7.1f}"
            f"{each.max_ms:7.1f}   {each.fallback_share:10.1%}{each.events_refused:9}{lost:>6}{after:>11}"
            f"  {'met' if each.is_met else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
