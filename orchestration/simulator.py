"""``simulate``: a shop's year, or any span, as drops that can be landed and a truth that cannot.

What it writes to a folder:

    drops/received_date=YYYY-MM-DD.parquet   raw events by day of arrival, with faults
    items.parquet, customers.parquet         the catalogue and the customers as the shop knows them
    content.parquet                          articles, videos and customers' pictures
    marketing_spend.parquet                  what each channel cost on each day
    truth/                                   what only evaluation may read
    world.json                               the parameters and counts, written last
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from orchestration.errors import AttuneError
from orchestration.parquet_files import refused
from orchestration.simulation.aftermath import Waiting, due_events, due_refills, follow_up, nothing_waits
from orchestration.simulation.calendar import Calendar, Floats
from orchestration.simulation.campaigns import CampaignTruth, caused_visits, hold_out
from orchestration.simulation.catalogue import Catalogue, draw_catalogue, item_count
from orchestration.simulation.choice import shelf
from orchestration.simulation.content import draw_content, draw_reads, write_content
from orchestration.simulation.drops import DropWriter
from orchestration.simulation.happenings import KIND, Happenings, happenings, joined
from orchestration.simulation.messages import draw_messages
from orchestration.simulation.population import Population, draw_population
from orchestration.simulation.truth import write_customers, write_items, write_spend, write_truth
from orchestration.simulation.visits import EVENTS_PER_VISIT, Memory, draw_visits, live

DEFAULT_END_DATE = date(2026, 1, 31)
"""The last simulated day; a constant, so that a seed gives the same events on any day of the calendar."""

EVENTS_PER_USER_YEAR = 160.0
BLOCK_DAYS = 7
WORLD_VERSION = 3

Progress = Callable[[int, int], None]
"""Called after each block with (days done, days to do)."""


class WorldError(AttuneError):
    """A world cannot be simulated as asked."""

    exit_code = 2


@dataclass(frozen=True)
class SimulationReport:
    """``events`` are true events; malformed and duplicate rows come on top, late ones are among them."""

    events: int
    malformed: int
    duplicates: int
    late: int
    seconds: float


@dataclass
class _State:
    """What one block hands to the next."""

    waiting: Waiting
    memory: Memory
    campaigns: CampaignTruth
    next_session: int = 0
    next_order: int = 0
    spent: float = 0.0


def simulate(
    path: Path,
    users: int = 2000,
    days: int = 365,
    seed: int = 1,
    end_date: date = DEFAULT_END_DATE,
    progress: Progress | None = None,
) -> SimulationReport:
    """Simulates ``days`` days up to and including ``end_date`` into the folder ``path``.

    About 160 events per customer and year. The same arguments give the same files. Raises WorldError for
    arguments out of range or a folder with other content, LandingError if the disk refuses.
    """
    started = time.monotonic()
    _check(path, users, days)
    calendar = Calendar(end_date - timedelta(days=days - 1), days)
    rng = np.random.default_rng([seed, 0])
    catalogue = draw_catalogue(rng, item_count(users), days)
    population = draw_population(rng, users, days, catalogue)
    rate = _visit_rate(calendar, population)
    # From generators of its own: content came later, and changes nothing else in the world.
    content = draw_content(np.random.default_rng([seed, 2]), catalogue, days)
    try:
        _clear(path)
        writer = DropWriter(path / "drops", calendar, catalogue, population, content)
        state = _live_through(writer, rate, seed, progress)
        write_items(path / "items.parquet", rng, calendar, catalogue)
        write_customers(path / "customers.parquet", rng, calendar, population)
        write_content(path / "content.parquet", calendar, catalogue, content)
        write_spend(path / "marketing_spend.parquet", calendar, users)
        spent = state.spent + state.campaigns.revenue
        write_truth(path / "truth", rng, calendar, catalogue, population, rate, spent)
        state.campaigns.write(path / "truth" / "campaigns.parquet")
        world = {
            "version": WORLD_VERSION, "users": users, "items": catalogue.count, "days": days, "seed": seed,
            "start_date": str(calendar.start), "end_date": str(end_date), **asdict(writer.counts),
        }  # fmt: skip
        (path / "world.json").write_text(json.dumps(world, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise refused(path, error) from error
    return SimulationReport(**asdict(writer.counts), seconds=time.monotonic() - started)


def _live_through(writer: DropWriter, rate: Floats, seed: int, progress: Progress | None) -> _State:
    """All blocks, one after the other; returns the state at the end."""
    calendar, population = writer.calendar, writer.population
    last_visit = np.where(population.joined < 0, -1.0, -np.inf)
    memory = Memory(np.full(population.count, -1), last_visit)
    state = _State(nothing_waits(), memory, CampaignTruth())
    for first in range(0, calendar.days, BLOCK_DAYS):
        last = min(first + BLOCK_DAYS, calendar.days)
        rng = np.random.default_rng([seed, 1, first])
        causing = np.random.default_rng([seed, 3, first])
        block = _live_block(rng, causing, calendar, writer.catalogue, population, rate, state, first, last)
        reads = draw_reads(
            np.random.default_rng([seed, 2, first]), writer.catalogue, writer.content, block, first
        )
        block = _by_time(joined([block, reads]), calendar)
        writer.add(rng, block, last)
        if progress is not None:
            progress(last, calendar.days)
    writer.close()
    return state


def _live_block(
    rng: np.random.Generator,
    causing: np.random.Generator,
    calendar: Calendar,
    catalogue: Catalogue,
    population: Population,
    rate: Floats,
    state: _State,
    first: int,
    last: int,
) -> Happenings:
    """The events that begin in the days [first, last), by time; moves the state on.

    What campaigns cause comes from ``causing``, so that all else is as it would be without them.
    """
    on = shelf(catalogue, population, first, float(calendar.day_of(first).timetuple().tm_yday))
    due, state.waiting = due_refills(state.waiting, population, first, last)
    visits = draw_visits(rng, calendar, population, rate, first, last, due, state.next_session)
    visited = live(rng, catalogue, population, visits, on, state.memory, state.next_order)
    state.next_session += visits.count
    state.next_order += int((np.unique(visited.order) >= 0).sum())
    bought = visited.select((visited.kind == KIND["purchase"]) & (visited.user >= 0))
    state.spent += float((bought.price * bought.quantity).sum())
    state.waiting = follow_up(rng, catalogue, population, visited, state.waiting)
    later, state.waiting = due_events(state.waiting, last)
    joining = np.flatnonzero((population.joined >= first) & (population.joined < last))
    signups = happenings(
        "signup", population.joined[joining], joining, channel=0, device=population.device[joining]
    )
    _remember(state.memory, visited, signups)
    messages = draw_messages(rng, calendar, population, state.memory.last_visit, first, last)
    messages = hold_out(causing, messages, population.count)
    caused = caused_visits(
        causing, calendar, catalogue, population, messages, on, state.memory, first, state.campaigns
    )
    return _by_time(joined([signups, visited, later, messages, caused]), calendar)


def _by_time(events: Happenings, calendar: Calendar) -> Happenings:
    events = events.select(events.at < calendar.days)
    return events.select(np.argsort(events.at, kind="stable"))


def _remember(memory: Memory, visited: Happenings, signups: Happenings) -> None:
    views = visited.select((visited.kind == KIND["product_view"]) & (visited.user >= 0))
    memory.last_item[views.user] = views.item
    for seen in (views, signups):
        np.maximum.at(memory.last_visit, seen.user, seen.at)


def _visit_rate(calendar: Calendar, population: Population) -> Floats:
    """Visits per weighted day of each customer, such that all make about the wanted number of events."""
    edges = np.concatenate([[0.0], np.cumsum(calendar.weights(0, calendar.days))])
    grid = np.arange(calendar.days + 1, dtype=np.float64)
    begin, end = (
        np.interp(np.clip(at, 0, calendar.days), grid, edges)
        for at in (population.joined, population.alive_until)
    )
    exposure = float((population.visit_rate * np.maximum(end - begin, 0.0)).sum())
    wanted = population.count * EVENTS_PER_USER_YEAR * calendar.days / 365.0
    return population.visit_rate * (wanted / EVENTS_PER_VISIT / max(exposure, 1.0))


def _check(path: Path, users: int, days: int) -> None:
    if not 1 <= users <= 5_000_000:
        raise WorldError(f"users={users}: simulate between 1 and 5,000,000 customers.")
    if not 1 <= days <= 3650:
        raise WorldError(f"days={days}: simulate between 1 and 3,650 days.")
    if path.exists() and not path.is_dir():
        raise WorldError(f"{path}: is a file; name a folder for the simulated world.")
    if path.is_dir() and any(path.iterdir()) and not (path / "drops").is_dir():
        raise WorldError(f"{path}: holds something else than a simulated world; name an empty folder.")


def _clear(path: Path) -> None:
    """Makes the folders; removes an earlier world's files, its world.json first."""
    (path / "world.json").unlink(missing_ok=True)
    for name in ("drops", "truth"):
        (path / name).mkdir(parents=True, exist_ok=True)
        for file in (path / name).glob("*.parquet"):
            file.unlink()
