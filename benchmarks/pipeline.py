"""How the cost of transforms and features grows: `python -m benchmarks.pipeline --millions 1 4 16`.

For each size a shop is simulated and landed but for its last day, everything is built from nothing (full),
then the last day arrives and is added (day). Phases: transform (dbt build with its tests), publish (Parquet),
features (materialized online). Each runs in a process of its own, whose peak memory is its largest resident
set; loading our own modules is not timed (one run loads them once), starting dbt is. What was written before
is on the disk when a phase begins: nobody pays for another's writes. Prints a table, writes JSON. The bars:
exponent of time at most 1.1, a new day at most 10 % of a full refresh, peak at most 12 GiB.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from feature_repo.layout import Home

DAYS = 180
MILLION = 1_000_000
BAR_EXPONENT = 1.1
BAR_DAY_SHARE = 0.10
BAR_PEAK_GIB = 12.0


Job = Callable[[], object]


@dataclass(frozen=True)
class Phase:
    """One phase of one job: wall time and peak resident memory."""

    name: str
    seconds: float
    peak_gib: float


@dataclass(frozen=True)
class Size:
    """The measurements at one number of landed events."""

    events: int
    full: list[Phase]
    day: list[Phase]

    @property
    def full_seconds(self) -> float:
        return sum(phase.seconds for phase in self.full)

    @property
    def day_seconds(self) -> float:
        return sum(phase.seconds for phase in self.day)

    @property
    def peak_gib(self) -> float:
        return max(phase.peak_gib for phase in [*self.full, *self.day])


# phases: each loads what it needs and returns the job that is timed


def transform(home: Home, days: Sequence[date], full: bool) -> Job:
    from orchestration.marts import run_dbt

    return lambda: run_dbt(home, days, full_refresh=full)


def publish(home: Home, days: Sequence[date], full: bool) -> Job:
    from orchestration.marts import publish_marts

    return lambda: publish_marts(home, days, full)


def features(home: Home, days: Sequence[date], full: bool) -> Job:
    from feature_repo.materialization import materialize
    from feature_repo.store import apply_definitions, open_store

    def job() -> None:
        store = open_store(home)
        apply_definitions(store)
        start = None if full else _end_of(min(days))
        materialize(store, home, start, _end_of(max(days)), views=["user_behavior", "item_behavior"])

    return job


PHASES: dict[str, Callable[[Home, Sequence[date], bool], Job]] = {
    "transform": transform,
    "publish": publish,
    "features": features,
}


def _end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def measure(phase: str, home: Home, days: Sequence[date], full: bool) -> Phase:
    """Runs one phase in a new process; raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "benchmarks.pipeline", "--phase", phase, "--home", str(home.root)]
    command += ["--days", *[day.isoformat() for day in days], *(["--full"] if full else [])]
    os.sync()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Phase(phase, float(output.split()[-1]), usage.ru_maxrss / 2**20)


# sizes


def measure_size(millions: float, work: Path) -> Size:
    """Simulates, lands, builds and adds a day, at about this many million events."""
    from orchestration.landed import landed_days, landing_summary
    from orchestration.landing import land_days
    from orchestration.simulator import EVENTS_PER_USER_YEAR, simulate
    from orchestration.sources.base import open_source

    world, home = work / "world", Home(work / "home")
    users = round(millions * MILLION / (EVENTS_PER_USER_YEAR * DAYS / 365))
    simulate(world, users=users, days=DAYS, seed=1)
    source = open_source("simulator", world)
    days = source.days()
    land_days(home, source, days[:-1])
    before = sorted(landed_days(home))
    full = [measure(phase, home, before, full=True) for phase in PHASES]
    land_days(home, source, days[-1:])
    day = [measure(phase, home, days[-1:], full=False) for phase in PHASES]
    return Size(landing_summary(home).rows, full, day)


def exponent(sizes: Sequence[Size]) -> float:
    """Slope of log time over log events, least squares; nan for a single size."""
    if len(sizes) < 2:
        return math.nan
    xs = [math.log(size.events) for size in sizes]
    ys = [math.log(size.full_seconds) for size in sizes]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return covariance / sum((x - mean_x) ** 2 for x in xs)


def table(sizes: Sequence[Size]) -> str:
    """The measurements as text, one line per size and job."""
    phases_heading = " ".join(f"{name:>10}" for name in PHASES)
    lines = [f"{'events':>12} {'job':>5} {phases_heading} {'total s':>9} peak GiB"]
    for size in sizes:
        for job, phases in (("full", size.full), ("day", size.day)):
            cells = " ".join(f"{phase.seconds:>10.1f}" for phase in phases)
            total = sum(phase.seconds for phase in phases)
            peak = max(phase.peak_gib for phase in phases)
            lines.append(f"{size.events:>12,} {job:>5} {cells} {total:>9.1f} {peak:>8.2f}")
    return "\n".join(lines)


def summary(sizes: Sequence[Size]) -> str:
    """The figures beside their bars."""
    largest = sizes[-1]
    share = largest.day_seconds / largest.full_seconds
    peak = max(size.peak_gib for size in sizes)
    return "\n".join(
        [
            f"exponent of full time     {exponent(sizes):.2f}   bar <= {BAR_EXPONENT}",
            f"new day / full, largest   {share:.1%}  bar <= {BAR_DAY_SHARE:.0%}",
            f"peak memory, all phases   {peak:.1f} GiB  bar <= {BAR_PEAK_GIB:.0f} GiB",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 4, 16], help="events, in millions")
    parser.add_argument("--work", type=Path, help="folder for the data (default: a temporary one)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/pipeline.json"))
    parser.add_argument("--phase", choices=sorted(PHASES), help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--days", type=date.fromisoformat, nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.phase:
        job = PHASES[options.phase](Home(options.home), options.days, options.full)
        started = time.perf_counter()
        job()
        print(time.perf_counter() - started)
        return
    sizes = []
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    for millions in sorted(options.millions):
        with tempfile.TemporaryDirectory(dir=options.work) as work:
            sizes.append(measure_size(millions, Path(work)))
        print(table(sizes[-1:]), flush=True)
    print(f"\n{table(sizes)}\n\n{summary(sizes)}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(size) for size in sizes], indent=1))


if __name__ == "__main__":
    main()
