"""How fast the service answers, beside BentoML's default echo and Feast's own feature server.

    python -m benchmarks.serving --home .attune [--seconds 10] [--connections 16] [--json FILE]

Servers on this machine, one worker each, driven alike (wrk if it is installed):

- ours: GET /api/v1/recommendations/{customer_id} for customers with stored candidates, the full path: live
  features (of every fourth customer, tracked before), rules, diversity, exploration, receipts, logging;
- the same with all of that off; or with `--baseline DIR` the version of this program in DIR, such as an
  earlier one unpacked by `git archive`, on `--baseline-home`. Both run at once and are driven in turns;
- BentoML: a native endpoint that echoes its input, default settings;
- Feast: `feast serve` on the same store and customers, asked for the serving feature service (the bar: what
  the service reads about a customer), and then for the one view that a recommendation needs.

Then a store that hangs: a redis-server of its own is stopped (SIGSTOP) under the service, and the slowest
answer counts. Bars: at least 0.7 x the service without, 4 x Feast, 0.6 x BentoML's echo, p99 at most 100 ms
at 32 connections, 150 ms on a hung store.
"""

import argparse
import asyncio
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psutil
import pyarrow.parquet as pq

from feature_repo.layout import Home

ROOT = Path(__file__).resolve().parent.parent
# What the service reads about a customer, and the one view that a recommendation needs.
SERVICE: dict[str, object] = {"feature_service": "serving_v2"}
CANDIDATES: dict[str, object] = {
    "features": [
        f"user_candidates:{name}" for name in ("item_ids", "scores", "algorithms", "release_id", "feature_at")
    ]
}
ECHO = """
import bentoml

@bentoml.service
class Echo:
    @bentoml.api
    async def echo(self, text: str) -> str:
        return text
"""
# The full path but its explanations: what a decision cost before there was anything to explain.
PLAIN = {
    "ATTUNE_RECEIPTS": "false",
    "ATTUNE_EXPLORATION": "0",
    "ATTUNE_DIVERSITY": "0",
    "REAL_TIME_PROCESSING": "false",
    "ENABLE_AB_TESTING": "false",
}
ROUNDS = 3
TAIL_CONNECTIONS = 32
EVENTS = ("product_view", "product_view", "add_to_cart")
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "FEAST_USAGE": "False", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Target:
    """One request to repeat, each of `paths` and `bodies` in turn, and the process that answers."""

    pid: int
    port: int
    method: str
    paths: tuple[str, ...]
    bodies: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Load:
    """What one server bore. Latencies in milliseconds; a busy machine moves them, hardly the CPU figure."""

    server: str
    requests_per_second: float
    requests_per_cpu_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failures: int


def main() -> None:
    """Run, print the table, write JSON, and exit with 1 if a bar is missed."""
    options = parse()
    users = known_customers(Home(options.home.absolute()), options.customers)
    results: list[Load] = []
    full, plain, tail = own_paths(options, users)
    results += [full, tail, plain]
    if not options.only_own:
        results += others(options, users)
    hung = hung_store(options) if shutil.which("redis-server") else None
    summary = summarize(full, tail, plain, results[3:], hung)
    show(results, summary)
    if options.json:
        options.json.write_text(
            json.dumps({"loads": [asdict(each) for each in results], **summary}, indent=1)
        )
    sys.exit(0 if all(check["met"] for check in summary["checks"]) else 1)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".attune"), help="a home with a release")
    parser.add_argument("--seconds", type=int, default=10, help="how long each server is driven")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--customers", type=int, default=2000, help="how many different ones are asked for")
    parser.add_argument("--baseline", type=Path, help="compare with the version of this program there")
    parser.add_argument("--baseline-home", type=Path, help="the home that it serves (default: --home)")
    parser.add_argument("--only-own", action="store_true", help="leave out BentoML's and Feast's servers")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def known_customers(home: Home, count: int) -> list[str]:
    """Customers with stored candidates."""
    files = sorted(home.prediction("user_candidates").glob("*.parquet"))
    if not files:
        sys.exit(f"error: {home.root} has no candidates; make them with `attune run` or `attune demo`")
    ids = pq.read_table(files[-1], columns=["user_id"])["user_id"].to_pylist()
    return [str(each) for each in ids[:count]]


def recommendations(address: tuple[int, int], users: Sequence[str]) -> Target:
    """One path for each customer."""
    return Target(*address, "GET", tuple(f"/api/v1/recommendations/{quote(user, safe='')}" for user in users))


def feast_requests(address: tuple[int, int], users: Sequence[str], wanted: dict[str, object]) -> Target:
    """One body for each customer, asking for these features."""
    bodies = [json.dumps({**wanted, "entities": {"user_id": [user]}}) for user in users]
    return Target(*address, "POST", ("/get-online-features",), tuple(bodies))


def own_paths(options: argparse.Namespace, users: Sequence[str]) -> tuple[Load, Load, Load]:
    """The full path, the one without, and the full one under more connections.

    Both servers are up and take turns, so that a machine that grows busy or idle does it to both.
    """
    home = options.home.absolute()
    with tempfile.TemporaryDirectory() as folder:
        aside = {"DATABASE_URL": f"sqlite:///{folder}/full.db"}
        if options.baseline:
            other_home, other = (options.baseline_home or home).absolute(), options.baseline.absolute()
            baseline = ours(other_home, {}, other)
        else:
            baseline = ours(home, {**PLAIN, "DATABASE_URL": f"sqlite:///{folder}/plain.db"})
        with baseline as without, ours(home, aside) as address:
            track(address[1], users[::4], items_of(Home(home)))
            loads: list[tuple[Load, Load]] = [
                (
                    drive("attune, before", recommendations(without, users), options),
                    drive("attune, full path", recommendations(address, users), options),
                )
                for _ in range(ROUNDS)
            ]
            wide = argparse.Namespace(connections=TAIL_CONNECTIONS, seconds=options.seconds)
            tail = drive(f"attune, {TAIL_CONNECTIONS} conn.", recommendations(address, users), wide)
    before, full = (median_of(side) for side in zip(*loads, strict=True))
    return full, before, tail


def median_of(loads: Sequence[Load]) -> Load:
    """The round in the middle by requests a second."""
    return sorted(loads, key=lambda load: load.requests_per_second)[len(loads) // 2]


def others(options: argparse.Namespace, users: Sequence[str]) -> list[Load]:
    """BentoML's echo and Feast's own server."""
    results = []
    with echo_server() as address:
        target = Target(*address, "POST", ("/echo",), ('{"text": "hello"}',))
        results.append(drive("bentoml echo", target, options))
    with feast_server(options.home.absolute()) as address:
        results.append(drive("feast, service", feast_requests(address, users, SERVICE), options))
        results.append(drive("feast, one view", feast_requests(address, users, CANDIDATES), options))
    return results


def items_of(home: Home) -> list[str]:
    """Some items of the catalogue."""
    files = sorted(home.mart("items").glob("*.parquet"))
    return [str(each) for each in pq.read_table(files[0], columns=["item_id"])["item_id"].to_pylist()[:500]]


def track(port: int, users: Sequence[str], items: Sequence[str]) -> None:
    """Give these customers a session of today."""
    now = datetime.now(UTC).isoformat()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    number = 0
    for user in users:
        for event_type in EVENTS:
            number += 1
            event = {"user_id": user, "event_type": event_type, "timestamp": now}
            body = json.dumps({**event, "product_id": items[number % len(items)]})
            headers = {"content-type": "application/json"}
            connection.request("POST", "/api/v1/behavior/track", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                sys.exit(f"error: tracking answered {answer.status}: {text[:200]!r}")
    connection.close()


# servers


@contextmanager
def ours(home: Path, env: dict[str, str], root: Path = ROOT) -> Iterator[tuple[int, int]]:
    """Our service on this home, one worker; `root`: where its code is."""
    port = free_port()
    own = {"ATTUNE_HOME": str(home), "PORT": str(port), **env}
    with server([sys.executable, "-m", "serving"], own, port, "/health/ready", root) as pid:
        yield pid, port


@contextmanager
def echo_server() -> Iterator[tuple[int, int]]:
    """BentoML's native endpoint with default settings, one worker."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "echo_service.py").write_text(ECHO)
        command = [sys.executable, "-m", "bentoml", "serve", "echo_service:Echo", "--port", str(port)]
        command += ["--host", "127.0.0.1", "--working-dir", folder]
        with server(command, {"BENTOML_HOME": folder}, port, "/readyz") as pid:
            yield pid, port


@contextmanager
def feast_server(home: Path) -> Iterator[tuple[int, int]]:
    """Feast's feature server on the same store, one worker."""
    port = free_port()
    feast = str(Path(sys.executable).with_name("feast"))
    command = [feast, "-c", str(ROOT / "feature_repo"), "serve", "--port", str(port), "--workers", "1"]
    command += ["--no-access-log", "--registry_ttl_sec", "600", "--max-requests", "0"]
    with server(command, {"ATTUNE_HOME": str(home)}, port, "/health") as pid:
        yield pid, port


@contextmanager
def server(
    command: Sequence[str], env: dict[str, str], port: int, ready_path: str, root: Path = ROOT
) -> Iterator[int]:
    """A server process and all its children, from ready to gone; its process id."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=root, env=os.environ | QUIET | env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            if not wait_ready(process, port, ready_path):
                log.seek(0)
                sys.exit(f"error: {' '.join(command)} did not start:\n{log.read().decode()[-2000:]}")
            yield process.pid
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_ready(process: subprocess.Popen[bytes], port: int, path: str, seconds: float = 90) -> bool:
    """Whether the server answers 200 before it ends or the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if get_status(port, path) == 200:
            return True
        time.sleep(0.2)
    return False


def get_status(port: int, path: str) -> int:
    """Status of one GET; 0 if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# load


def drive(name: str, target: Target, options: argparse.Namespace) -> Load:
    """Warm up, then measure."""
    run = drive_with_wrk if shutil.which("wrk") else drive_with_python
    run(name, target, options.connections, 2)
    before = cpu_seconds(target.pid)
    load = run(name, target, options.connections, options.seconds)
    answered = load.requests_per_second * options.seconds
    return replace(load, requests_per_cpu_second=answered / (cpu_seconds(target.pid) - before))


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a server's process and its descendants have used."""
    root = psutil.Process(pid)
    times = [each.cpu_times() for each in (root, *root.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


WRK_SCRIPT = """
local paths, bodies, n = PATHS, BODIES, 0
request = function()
  n = n + 1
  return wrk.format("METHOD", paths[(n - 1) % #paths + 1], {["content-type"] = "application/json"},
                    bodies[(n - 1) % #bodies + 1])
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def drive_with_wrk(name: str, target: Target, connections: int, seconds: int) -> Load:
    """Drive with wrk: one thread, keep-alive connections, as fast as answers come."""
    script = WRK_SCRIPT.replace("PATHS", lua_list(target.paths)).replace("BODIES", lua_list(target.bodies))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script.replace("METHOD", target.method))
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", file.name]
        output = subprocess.run(
            [*command, f"http://127.0.0.1:{target.port}"], capture_output=True, text=True, check=True
        ).stdout
    line = next(line for line in output.splitlines() if line.startswith("RESULT"))
    requests, micros, p50, p99, slowest, failures = (int(float(each)) for each in line.split()[1:])
    return Load(name, requests / (micros / 1e6), 0.0, p50 / 1e3, p99 / 1e3, slowest / 1e3, failures)


def lua_list(values: Sequence[str]) -> str:
    """Values as a Lua table of long strings."""
    return "{" + ",".join(f"[==[{value}]==]" for value in values) + "}"


def drive_with_python(name: str, target: Target, connections: int, seconds: int) -> Load:
    """Drive with asyncio streams where wrk is absent; slower than wrk, so the servers look slower too."""
    latencies, failures, elapsed = asyncio.run(_drive(target, connections, seconds))
    latencies.sort()
    at = [latencies[int(share * (len(latencies) - 1))] * 1e3 for share in (0.5, 0.99, 1.0)]
    return Load(name, len(latencies) / elapsed, 0.0, at[0], at[1], at[2], failures)


async def _drive(target: Target, connections: int, seconds: float) -> tuple[list[float], int, float]:
    latencies: list[float] = []
    failures = 0
    started = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal failures
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        while time.perf_counter() - started < seconds:
            sent = time.perf_counter()
            writer.write(_raw_request(target, number))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_content_length(head))
            latencies.append(time.perf_counter() - sent)
            failures += not head.startswith(b"HTTP/1.1 2")
            number += connections
        writer.close()

    await asyncio.gather(*(client(number) for number in range(connections)))
    return latencies, failures, time.perf_counter() - started


def _raw_request(target: Target, number: int) -> bytes:
    path = target.paths[number % len(target.paths)]
    body = target.bodies[number % len(target.bodies)].encode()
    head = f"{target.method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise ValueError("an answer without content-length cannot be measured by the Python driver; install wrk")


# the hung store


def hung_store(options: argparse.Namespace) -> float:
    """Milliseconds of the slowest answer while Redis is stopped, over three seconds of steady requests."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        redis = subprocess.Popen(
            ["redis-server", "--port", str(port), "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with ours(options.home.absolute(), {"REDIS_URL": f"redis://127.0.0.1:{port}"}) as address:
                drive("warm", recommendations(address, ["a"]), argparse.Namespace(connections=4, seconds=1))
                redis.send_signal(signal.SIGSTOP)
                return slowest_answer(address[1], seconds=3.0)
        finally:
            redis.send_signal(signal.SIGCONT)
            redis.terminate()
            redis.wait()


def slowest_answer(port: int, seconds: float) -> float:
    """The slowest of steady requests on one connection, in milliseconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    slowest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        connection.request("GET", "/api/v1/recommendations/a")
        answer = json.loads(connection.getresponse().read())
        slowest = max(slowest, time.perf_counter() - started)
        if not str(answer["fallback_reason"]).startswith("online_store"):
            raise AssertionError(f"the store hangs, yet the answer says {answer['fallback_reason']}")
        time.sleep(0.005)
    return slowest * 1e3


# the table


def summarize(
    mine: Load, tail: Load, plain: Load, servers: Sequence[Load], hung_ms: float | None
) -> dict[str, list[dict[str, object]]]:
    """The bars and whether they are met."""
    rate = mine.requests_per_second
    figures = [
        ("requests/s, times the service before", rate / plain.requests_per_second, ">=", 0.7),
        (f"p99 at {TAIL_CONNECTIONS} connections, ms", tail.p99_ms, "<=", 100.0),
        ("failed requests", float(mine.failures + tail.failures), "<=", 0.0),
    ]
    if servers:
        echo, feast, _ = servers
        figures.append(("requests/s, times Feast's server", rate / feast.requests_per_second, ">=", 4.0))
        figures.append(("requests/s, times BentoML's echo", rate / echo.requests_per_second, ">=", 0.6))
    if hung_ms is not None:
        figures.append(("slowest answer while the store hangs, ms", hung_ms, "<=", 150.0))
    checks: list[dict[str, object]] = [
        {
            "figure": name,
            "value": round(value, 3),
            "bar": f"{sign} {bar:g}",
            "met": value >= bar if sign == ">=" else value <= bar,
        }
        for name, value, sign, bar in figures
    ]
    return {"checks": checks}


def show(results: Sequence[Load], summary: dict[str, list[dict[str, object]]]) -> None:
    """Print both tables."""
    print(
        f"{'server':<18}{'req/s':>10}{'req/CPU s':>11}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}{'failed':>8}"
    )
    for load in results:
        print(
            f"{load.server:<18}{load.requests_per_second:>10.0f}{load.requests_per_cpu_second:>11.0f}"
            f"{load.p50_ms:>10.1f}{load.p99_ms:>10.1f}"
            f"{load.max_ms:>10.1f}{load.failures:>8}"
        )
    print()
    for check in summary["checks"]:
        verdict = "met" if check["met"] else "MISSED"
        print(f"{check['figure']!s:<44}{check['value']!s:>10}   {check['bar']!s:<8} {verdict}")


if __name__ == "__main__":
    main()
