"""`attune demo`: simulate a shop, run everything, serve the release, ask it, act in it, run again, sum up."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from subprocess import Popen
from typing import Any

import duckdb

from feature_repo.layout import Home
from orchestration.errors import AttuneError, PipelineError
from orchestration.landed import landing_summary
from orchestration.processes import LOOPBACK, free_port, start_service, stop
from orchestration.progress import View
from orchestration.run import RunRequest, RunResult, run_pipeline
from orchestration.settings import Settings
from orchestration.simulator import simulate
from orchestration.sources.base import EVENT_LOG
from orchestration.status import model_verdicts
from training.artifacts import current_release_id

START_SECONDS = 90.0
RELOAD_SECONDS = 30.0
NEWCOMER = "a-newcomer"
VIEWED, BOUGHT = 3, 1
BATCH = 100
LISTED = 5


class DemoError(AttuneError):
    """The demo cannot use this home, or its service did not answer."""


@dataclass(frozen=True)
class DemoRequest:
    """The world to simulate up to its last day, and whether to serve it.

    `port` is preferred, any other will do. What is tracked live happens now, so the world should end
    yesterday.
    """

    users: int
    days: int
    seed: int
    serve: bool
    port: int
    end: date


@dataclass(frozen=True)
class Live:
    """What was tracked through the service, what it answered at once, and what the next batch knew of it."""

    events: int
    track_seconds: float
    at_once: dict[str, Any]
    run: RunResult
    known: dict[str, Any]
    next: dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """What the service answered, and how long it took."""

    customer_id: str
    known: dict[str, Any]
    profile: dict[str, Any]
    newcomer: dict[str, Any]
    batch_size: int
    batch_seconds: float
    live: Live


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
            request.end,
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
        customers, known, profile, newcomer, batch_size, seconds = ask(address, settings.home)
        view.end("ask it", "a customer, a newcomer, a batch")
        live = act_and_learn(settings, address, customers[0], newcomer, view)
        return Answers(customers[0], known, profile, newcomer, batch_size, seconds, live)
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


def ask(
    address: str, home: Home
) -> tuple[list[str], dict[str, Any], dict[str, Any], dict[str, Any], int, float]:
    """A known customer with profile, a newcomer, and a batch."""
    customers = known_customers(home, BATCH)
    known = call(f"{address}/api/v1/recommendations/{customers[0]}?limit={LISTED}")
    profile = call(f"{address}/api/v1/personalization/profile/{customers[0]}")
    newcomer = call(f"{address}/api/v1/recommendations/{NEWCOMER}?limit={LISTED}")
    begun = time.monotonic()
    batch = call(f"{address}/api/v1/recommendations/batch", {"customer_ids": customers, "limit": LISTED})
    seconds = time.monotonic() - begun
    return customers, known, profile, newcomer, len(batch["results"]), seconds


def act_and_learn(
    settings: Settings, address: str, customer_id: str, shown: Mapping[str, Any], view: View
) -> Live:
    """A newcomer looks and buys, a customer looks too; then the next batch learns of it."""
    view.begin("track live events")
    events = live_events(customer_id, shown)
    begun = time.monotonic()
    answer = call(f"{address}/api/v1/behavior/track/batch", {"events": events})
    seconds = time.monotonic() - begun
    refused = [one for one in answer["results"] if not one.get("event_id")]
    if refused:
        raise DemoError(f"the service did not take {len(refused)} of {len(events)} events: {refused[0]}")
    at_once = call(f"{address}/api/v1/recommendations/{NEWCOMER}?limit={LISTED}")
    view.end("track live events", f"{len(events)} events in {seconds * 1000:.0f} ms")
    result = run_pipeline(settings, RunRequest(EVENT_LOG), view)
    wait_for_release(address, settings.home)
    known = known_of(settings.home, NEWCOMER)
    after = call(f"{address}/api/v1/recommendations/{NEWCOMER}?limit={LISTED}")
    return Live(len(events), seconds, at_once, result, known, after)


def live_events(customer_id: str, shown: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The newcomer views some of the items that were recommended, puts one into the cart and buys it."""
    now = datetime.now(UTC)
    items = shown["recommendations"]
    session = f"demo-{now:%H%M%S}"

    def act(event_type: str, number: int, seconds: int, **fields: Any) -> dict[str, Any]:
        at = now - timedelta(seconds=60 - seconds)
        return {
            "event_type": event_type,
            "user_id": NEWCOMER,
            "item_id": items[number]["item_id"],
            "timestamp": at.isoformat(),
            "recommendation_id": shown["recommendation_id"],
            "session_id": session,
            **fields,
        }

    line = {"quantity": 1, "price": items[0]["price"] or 10.0, "currency": "EUR"}
    return [
        *(act("product_view", number, number) for number in range(min(VIEWED, len(items)))),
        act("add_to_cart", 0, 20),
        act("purchase", 0, 30, order_id=session, **line),
        act("product_view", 0, 40, user_id=customer_id, session_id=f"{session}-known"),
    ]


def wait_for_release(address: str, home: Home) -> None:
    """Returns once the service answers from the release that is current now."""
    wanted = current_release_id(home.current_release)
    deadline = time.monotonic() + RELOAD_SECONDS
    while time.monotonic() < deadline:
        answer = call(f"{address}/api/v1/recommendations/{NEWCOMER}?limit=1")
        if answer["release"] == wanted:
            return
        time.sleep(0.3)
    raise DemoError(f"the service did not take up release {wanted} within {RELOAD_SECONDS:.0f} s.")


def known_of(home: Home, user_id: str) -> dict[str, Any]:
    """What the tables say of one customer; raises DemoError if they do not know them."""
    with duckdb.connect() as connection:
        row = connection.execute(
            "select order_count, spend_total from read_parquet(?) where user_id = ?",
            [home.mart_glob("customers"), user_id],
        ).fetchone()
    if row is None:
        raise DemoError(f"the run did not learn of {user_id}, who was tracked before it.")
    return {"order_count": row[0], "spend": row[1]}


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
        *describe_live(answers.live),
    ]


def describe_live(live: Live) -> list[str]:
    """How the loop closed."""
    known = live.known
    return [
        "",
        f"Then {live.events} live events in {live.track_seconds * 1000:.0f} ms: the newcomer looks and buys.",
        f"  at once: {items_of(live.at_once)}",
        f"Run again on the event log in {live.run.seconds:.0f} s: {live.run.landed['rows']:,} events landed,"
        f" release {live.run.release_id}",
        f"  the newcomer is a customer with {known['order_count']} order of {known['spend']:.2f};"
        f" now: {items_of(live.next)}",
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
