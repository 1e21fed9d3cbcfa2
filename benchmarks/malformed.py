"""Whether malformed requests get an answer and nothing else: no 5xx, no stack trace, no memory that stays.

    python -m benchmarks.malformed --home .attune [--bodies 20000] [--seconds 300] [--json FILE]

Works on a copy of the home, for some requests create and erase customers. First schemathesis calls every
route of the OpenAPI description with what fits it and what does not; then bodies, paths and queries that were
valid are mutated by a seeded list of ways to be wrong. Bars: 0 answers of 5xx, 0 stack traces in answers or
in the log, memory at most 10 % above what it was when everything had been called once.
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
VERBS = ("get", "post", "put", "patch", "delete")
TRACE = re.compile(r"Traceback|File \"[^\"]+\", line \d")
CONNECTIONS = 16
SEED = 7
MEMORY_BAR = 1.10
WARM_SECONDS = 40


@dataclass
class Findings:
    """What was sent and what came back. `problems`: one line for each answer that must not be."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def look_at(self, request: str, answer: httpx.Response) -> None:
        """Count an answer, and keep it if it is one that must not be."""
        self.sent += 1
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 500:
            self.problems.append(f"{answer.status_code} {request}: {answer.text[:160]}")
        elif TRACE.search(answer.text):
            self.problems.append(f"stack trace {request}: {answer.text[:160]}")


# what is valid, and ways to be wrong


@dataclass(frozen=True)
class Call:
    """One operation: path and query as the description's examples have them, and a body that fits."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


def valid_calls(description: dict[str, Any]) -> list[Call]:
    """One call for each operation of an OpenAPI description."""
    schemas = description["components"]["schemas"]
    calls = []
    for path, item in description["paths"].items():
        for verb in (each for each in VERBS if each in item):
            operation = item[verb]
            query: dict[str, str] = {}
            filled = path
            for parameter in operation.get("parameters", ()):
                value = _example(parameter.get("schema", {}), schemas, parameter)
                if parameter["in"] == "path":
                    filled = filled.replace(f"{{{parameter['name']}}}", str(value))
                elif parameter["in"] == "query":
                    query[parameter["name"]] = str(value)
            body = None
            for media in operation.get("requestBody", {}).get("content", {}).values():
                body = _example(media.get("schema", {}), schemas, media)
            calls.append(Call(verb.upper(), filled, query, body))
    return calls


def _example(schema: dict[str, Any], schemas: dict[str, Any], holder: dict[str, Any] | None = None) -> Any:
    """A value that fits: an example where there is one."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    for place in (holder or {}, schema):
        if "example" in place:
            return place["example"]
        examples = place.get("examples")
        if examples:
            first = examples[0] if isinstance(examples, list) else next(iter(examples.values()))
            return (
                first["value"] if isinstance(first, dict) and "value" in first and holder is place else first
            )
    if schema.get("enum"):
        return schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return _example(schema[several][0], schemas)
    kind = schema.get("type")
    if kind == "object":
        return {name: _example(each, schemas) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [_example(schema.get("items", {}), schemas)]
    return {"integer": 3, "number": 0.5, "boolean": True}.get(str(kind), "42")


ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.1, -0.0, 1e308, 1e-320,
    "", " ", "0", "-1", "null", "true", "NaN", "\x00", "a\x00b", "\n\r\t", "é", "\u202e", "\U0001f4a9" * 5,
    "\ud800", "x" * 300, "x" * 5000, "../../etc/passwd", "%00", "%s%s%n", "{0}", "${jndi:ldap://x}",
    "' OR 1=1 --", '"; DROP TABLE events; --', "<script>alert(1)</script>", "1e400", "0x10", "١٢",
    "2026-02-30T00:00:00Z", "9999-12-31T23:59:59.999999+14:00", "0001-01-01T00:00:00-14:00", "yesterday",
    [], {}, [[]], [None], {"": None}, {"a": {"b": {"c": {}}}}, [1] * 600, ["x"] * 600, {"$ref": "#"},
    {"__proto__": {"x": 1}}, {"__class__": "x"},
)  # fmt: skip


def mutated(body: Any, chance: random.Random) -> bytes:
    """A body that was valid and is not any more, or not in the usual form."""
    ways: list[Callable[[Any, random.Random], bytes]] = [
        _one_value, _one_value, _one_value, _one_value, _two_values, _without_a_field, _another_field, _whole,
        _cut, _garbled, _deep, _doubled_key, _not_utf8, _numbers_that_json_has_not, _padded,
    ]  # fmt: skip
    return chance.choice(ways)(body, chance)


def _places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield (*before, key)
            yield from _places(each, (*before, key))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield (*before, place)
            yield from _places(each, (*before, place))


def _written(value: Any) -> bytes:
    # A lone surrogate is written as an escape, which is how a client can send one.
    return json.dumps(value).encode()


def _changed(body: Any, chance: random.Random, change: Callable[[Any, Any], None]) -> Any:
    copied = json.loads(json.dumps(body))
    places = list(_places(copied))
    if not places:
        return chance.choice(ODD_VALUES)
    *way, last = chance.choice(places)
    holder = copied
    for step in way:
        holder = holder[step]
    change(holder, last)
    return copied


def _one_value(body: Any, chance: random.Random) -> bytes:
    def put(holder: Any, key: Any) -> None:
        holder[key] = chance.choice(ODD_VALUES)

    return _written(_changed(body, chance, put))


def _two_values(body: Any, chance: random.Random) -> bytes:
    return _one_value(json.loads(_one_value(body, chance)), chance)


def _without_a_field(body: Any, chance: random.Random) -> bytes:
    def drop(holder: Any, key: Any) -> None:
        del holder[key]

    return _written(_changed(body, chance, drop))


def _another_field(body: Any, chance: random.Random) -> bytes:
    names = ("extra", "", "user_id", "customer_id", "a" * 300, "\x00", "__proto__", "event_type", "context")
    if not isinstance(body, dict):
        return _whole(body, chance)
    return _written({**body, chance.choice(names): chance.choice(ODD_VALUES)})


def _whole(_: Any, chance: random.Random) -> bytes:
    return _written(chance.choice(ODD_VALUES))


def _cut(body: Any, chance: random.Random) -> bytes:
    text = _written(body)
    return text[: chance.randrange(len(text) + 1)]


def _garbled(body: Any, chance: random.Random) -> bytes:
    text = bytearray(_written(body))
    for _ in range(chance.randint(1, 4)):
        text[chance.randrange(len(text))] = chance.randrange(256)
    return bytes(text)


def _deep(_: Any, chance: random.Random) -> bytes:
    depth = chance.choice((30, 200, 5_000, 60_000))
    return chance.choice((b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth))


def _doubled_key(body: Any, chance: random.Random) -> bytes:
    if not isinstance(body, dict) or not body:
        return _whole(body, chance)
    key = chance.choice(list(body))
    return b"{" + _written(key) + b":" + _written(chance.choice(ODD_VALUES)) + b"," + _written(body)[1:]


def _not_utf8(body: Any, _: random.Random) -> bytes:
    return _written(body).replace(b'"', b'"\xff\xfe', 1)


def _numbers_that_json_has_not(body: Any, chance: random.Random) -> bytes:
    marked = _changed(body, chance, lambda holder, key: holder.__setitem__(key, "@"))
    number = chance.choice((b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"+1", b"1e99999"))
    return _written(marked).replace(b'"@"', number)


def _padded(body: Any, chance: random.Random) -> bytes:
    return _written(body) + b" " * chance.choice((1, 1000, 300_000))


def odd_text(chance: random.Random) -> str:
    """A value for a path or a query."""
    value = chance.choice(ODD_VALUES)
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()[:2000]


# sending


async def send_mutations(address: str, count: int, seed: int = SEED, key: str | None = None) -> Findings:
    """Send mutated requests over a few connections; two in three have a mutated body."""
    findings = Findings()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=CONNECTIONS)
    async with httpx.AsyncClient(base_url=address, timeout=30, limits=limits, headers=headers) as client:
        description = (await client.get("/openapi.json")).json()
        calls = valid_calls(description)
        with_body = [call for call in calls if call.body is not None]

        async def sender(number: int) -> None:
            chance = random.Random(f"{seed}:{number}")
            for _ in range(number, count, CONNECTIONS):
                await _send_one(client, calls, with_body, chance, findings)

        await asyncio.gather(*(sender(number) for number in range(CONNECTIONS)))
    return findings


async def _send_one(
    client: httpx.AsyncClient,
    calls: Sequence[Call],
    with_body: Sequence[Call],
    chance: random.Random,
    findings: Findings,
) -> None:
    is_body = chance.random() < 2 / 3
    call = chance.choice(with_body if is_body else calls)
    query, path = dict(call.query), call.path
    content = None if call.body is None else _written(call.body)
    if is_body:
        content = mutated(call.body, chance)
    elif query and chance.random() < 0.6:
        query[chance.choice(list(query))] = odd_text(chance)
    else:
        steps = path.split("/")
        steps[-1] = odd_text(chance)
        path = "/".join(steps)
    kind = chance.choice(("application/json",) * 8 + ("text/plain", "application/x-www-form-urlencoded", ""))
    target = f"{quote(path)}?{urlencode(query)}" if query else quote(path)
    request = client.build_request(call.method, target, content=content, headers={"content-type": kind})
    try:
        findings.look_at(f"{call.method} {call.path} {(content or b'')[:120]!r}", await client.send(request))
    except httpx.TransportError as error:
        # An answer may come, and the connection end, before a large body is all sent.
        if not isinstance(error, httpx.WriteError | httpx.ReadError | httpx.RemoteProtocolError):
            findings.problems.append(f"{type(error).__name__} {call.method} {call.path}")
        findings.statuses[0] += 1
        findings.sent += 1


def run_schemathesis(address: str, seconds: int, folder: Path, seed: int = SEED) -> tuple[int, list[str]]:
    """Requests that schemathesis made in so many seconds, and the server errors that it found."""
    report = folder / "schemathesis.ndjson"
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{address}/openapi.json"]
    command += ["--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"]
    command += ["--max-examples", str(max(10, seconds // 5)), "--max-time", str(seconds), "--seed", str(seed)]
    command += [
        "--no-color",
        "--suppress-health-check",
        "all",
        "--generation-database",
        "none",
        "--no-shrink",
    ]
    command += ["--continue-on-failure", "--warnings", "off", "--request-timeout", "30"]
    command += ["--report-ndjson-path", str(report)]
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=seconds * 2 + 120
    )
    made = re.search(r"(\d+) generated", result.stdout)
    if made is None or result.returncode not in (0, 1):
        return 0, [f"schemathesis ended with {result.returncode}: {(result.stdout + result.stderr)[-1500:]}"]
    found = re.findall(r"^_{3,} (.+?) _{3,}$", result.stdout, re.MULTILINE)
    return int(made[1]), found


# the server


@dataclass(frozen=True)
class Served:
    """A service on a home of its own."""

    address: str
    pid: int
    log: Path

    def memory(self) -> int:
        """Bytes of its processes that are no one else's."""
        root = psutil.Process(self.pid)
        return sum(each.memory_full_info().uss for each in (root, *root.children(recursive=True)))

    def failures(self) -> list[str]:
        """Failed requests and stack traces in its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line[-300:] for line in lines if "request failed" in line or "Traceback" in line]


@contextmanager
def served(home: Path, folder: Path) -> Iterator[Served]:
    """The service on a copy of the home, without a rate limit."""
    from benchmarks.serving import QUIET, free_port, wait_ready

    copy, log, port = folder / "home", folder / "log", free_port()
    shutil.copytree(
        home, copy, symlinks=True, ignore=shutil.ignore_patterns("world", "bentoml", "mlflow", "dbt")
    )
    own = {"ATTUNE_HOME": str(copy), "PORT": str(port), "ATTUNE_RATE_LIMIT": "0"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving"],
            cwd=ROOT,
            env=os.environ | QUIET | own,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        if not wait_ready(process, port, "/health/ready"):
            sys.exit(f"error: the service did not start:\n{log.read_text()[-2000:]}")
        yield Served(f"http://127.0.0.1:{port}", process.pid, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """Run, print what came back, and exit with 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".attune"), help="a home with a release")
    parser.add_argument("--bodies", type=int, default=20_000, help="mutated requests")
    parser.add_argument("--seconds", type=int, default=300, help="how long schemathesis may take")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, served(options.home.absolute(), Path(name)) as service:
        # Everything once, by both: what is loaded and kept at the first call is no leak.
        run_schemathesis(service.address, WARM_SECONDS, Path(name), seed=SEED + 1)
        asyncio.run(send_mutations(service.address, 2_000, seed=SEED + 1))
        time.sleep(2)
        before = service.memory()
        made, errors = run_schemathesis(service.address, options.seconds, Path(name))
        findings = asyncio.run(send_mutations(service.address, options.bodies))
        time.sleep(2)
        after = service.memory()
        failures = service.failures()
    problems = [*errors, *findings.problems, *failures]
    print(f"schemathesis         {made} requests, {len(errors)} operations with a server error")
    print(f"mutated requests     {findings.sent}, {len(findings.problems)} that must not be")
    print(f"statuses             {dict(sorted(findings.statuses.items()))}")
    print(f"stack traces in log  {len(failures)}")
    print(f"memory               {before / 1e6:.0f} MB -> {after / 1e6:.0f} MB ({after / before:.3f} times)")
    for problem in problems[:20]:
        print(f"  {problem}")
    if options.json:
        figures = {
            "schemathesis_requests": made,
            "mutated_requests": findings.sent,
            "statuses": findings.statuses,
            "problems": problems,
            "memory_ratio": after / before,
        }
        options.json.write_text(json.dumps(figures, indent=1))
    sys.exit(1 if problems or after / before > MEMORY_BAR else 0)


if __name__ == "__main__":
    main()
