"""`attune demo`: simulate a shop, run everything, serve the release, ask it three things, sum up."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import duckdb

from feature_repo.layout import Home
from orchestration.errors import AttuneError, PipelineError
from orchestration.landing import landing_summary
from orchestration.processes import LOOPBACK, free_port, start_service, stop
from orchestration.progress import View
from orchestration.run import RunRequest, RunResult, run_pipeline
from orchestration.settings import Settings
from orchestration.simulator import simulate
from orchestration.status import model_verdicts

START_SECONDS = 90.0
NEWCOMER = "a-newcomer"
BATCH = 100
LISTED = 5


class DemoError(AttuneError):
    """The demo cannot use this home, or its service did not answer."""


@dataclass(frozen=True)
class DemoRequest:
    """The world to simulate, and whether to serve it; `port` is preferred, any other will do."""

    users: int
    days: int
    seed: int
    serve: bool
    port: int


@dataclass(frozen=True)
class Answers:
    """What the service answered, and how long it took."""

    customer_id: str
    known: dict[str, Any]
    profile: dict[str, Any]
    newcomer: dict[str, Any]
    batch_size: int
    batch_seconds: float


def run_demo(settings: Settings, request: DemoRequest, view: View) -> str:
    """The whole loop; returns the summary. Raises an AttuneError that names the remedy."""
    started = time.monotonic()
    home = settings.home
    world = home.root / "world"
    check_home(home, world, request)
    view.begin("simulate a shop")
    if not is_simulated(world, request):
        simulate(
            world,
            request.users,
            request.days,
            request.seed,
            progress=lambda done, total: view.advance("simulate a shop", done, total),
        )
    view.end("simulate a shop", f"{request.users:,} customers, {request.days} days, seed {request.seed}")
    result = run_pipeline(settings, RunRequest("simulator", world), view)
    answers = serve_and_ask(settings, request.port, view) if request.serve else None
    return summary(home, result, answers, time.monotonic() - started)


def check_home(home: Home, world: Path, request: DemoRequest) -> None:
    """Refuses a home with a shop's data or another world in it: days of two shops would mix."""
    landed = landing_summary(home)
    if landed.days and not is_simulated(world, request):
        raise DemoError(
            f"{home.root} holds other data ({landed.rows:,} events); set ATTUNE_HOME to another directory, "
            "or remove this one."
        )


def is_simulated(world: Path, request: DemoRequest) -> bool:
    """Whether the folder holds this very world, complete."""
    try:
        found = json.loads((world / "world.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return (found["users"], found["days"], found["seed"]) == (request.users, request.days, request.seed)


def serve_and_ask(settings: Settings, preferred_port: int, view: View) -> Answers:
    """Starts the service on a free port, asks it, and stops it."""
    port = free_port(preferred_port)
    log = settings.home.root / "logs" / "serve.log"
    address = f"http://{LOOPBACK}:{port}"
    view.begin("start the service")
    service = start_service(settings, port, log)
    try:
        wait_until_healthy(service, address, log)
        view.end("start the service", address)
        view.begin("ask it")
        answers = ask(address, settings.home)
        view.end("ask it", "a customer, a newcomer, a batch")
        return answers
    finally:
        stop(service)


def wait_until_healthy(service: Popen[bytes], address: str, log: Path) -> None:
    """Returns once /health answers; raises DemoError with the log's place if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise DemoError(f"the service ended with code {service.returncode}; its output is in {log}.")
        try:
            call(f"{address}/health")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
        else:
            return
    raise DemoError(f"the service did not answer within {START_SECONDS:.0f} s; its output is in {log}.")


def ask(address: str, home: Home) -> Answers:
    """A known customer with profile, a newcomer, and a batch."""
    customers = known_customers(home, BATCH)
    known = call(f"{address}/api/v1/recommendations/{customers[0]}?limit={LISTED}")
    profile = call(f"{address}/api/v1/personalization/profile/{customers[0]}")
    newcomer = call(f"{address}/api/v1/recommendations/{NEWCOMER}?limit={LISTED}")
    begun = time.monotonic()
    batch = call(f"{address}/api/v1/recommendations/batch", {"customer_ids": customers, "limit": LISTED})
    seconds = time.monotonic() - begun
    return Answers(customers[0], known, profile, newcomer, len(batch["results"]), seconds)


def known_customers(home: Home, count: int) -> list[str]:
    """The customers with the most orders."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select user_id from read_parquet(?) where order_count > 0"
            " order by order_count desc, user_id limit ?",
            [home.mart_glob("customers"), count],
        ).fetchall()
    if not rows:
        raise PipelineError("no customer has ordered anything; simulate more users or days.")
    return [str(user_id) for (user_id,) in rows]


def call(url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """GET, or POST of a JSON body; the JSON answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.loads(response.read())
    return answer


def summary(home: Home, result: RunResult, answers: Answers | None, seconds: float) -> str:
    """What happened, in the order of the pipeline, and what to open next."""
    landed = landing_summary(home)
    reasons = ", ".join(f"{name} {count:,}" for name, count in list(landed.reasons.items())[:4])
    lines = [
        "",
        f"Landed      {landed.rows:,} events, {landed.first_day} to {landed.last_day}",
        f"Quarantined {landed.quarantined + landed.undated:,} rows and {landed.duplicates:,} duplicates:",
        f"            {reasons}",
        *(f"{kind.capitalize():<14}{verdict}" for kind, verdict in model_verdicts(result).items()),
        f"Release     {result.release_id}",
    ]
    if answers is not None:
        lines += ["", *describe_answers(answers)]
    lines += ["", f"Done in {seconds:.0f} s. What to open next:", *next_commands(home)]
    return "\n".join(lines)


def describe_answers(answers: Answers) -> list[str]:
    """The three answers, a few lines each."""
    return [
        f"Customer {answers.customer_id}: {items_of(answers.known)}",
        f"  {value_of(answers.profile)}",
        f"A newcomer: {items_of(answers.newcomer)}",
        f"A batch of {answers.batch_size} customers in {answers.batch_seconds * 1000:.0f} ms",
    ]


def items_of(answer: Mapping[str, Any]) -> str:
    """Items with title and algorithm, and whether the answer is a fallback."""
    items = [
        f"{item['title'] or item['item_id']} ({item['algorithm']})" for item in answer["recommendations"]
    ]
    return "; ".join(items) + (f" [fallback: {answer['fallback_reason']}]" if answer["fallback"] else "")


def value_of(profile: Mapping[str, Any]) -> str:
    """Predictions of a profile as a line."""
    predicted, segments = profile["predictions"], profile["segments"]
    value, churn = predicted["lifetime_value"], predicted["churn_probability"]
    parts = [
        "no value predicted" if value is None else f"expected spend {value:.2f} in the next 90 days",
        "no churn predicted" if churn is None else f"churn probability {churn:.2f}",
        f"segment {segments['value_segment']}, tier {segments['loyalty_tier']}",
    ]
    return ", ".join(parts)


def next_commands(home: Home) -> list[str]:
    """Commands that show the rest, with the home where it is not the default."""
    prefix = "" if home.root == Path(".attune").absolute() else f"ATTUNE_HOME={home.root} "
    return [
        f"  {prefix}attune serve     then http://127.0.0.1:8011/docs",
        f"  {prefix}attune ui        Dagster and MLflow",
        f"  {prefix}attune status",
    ]
