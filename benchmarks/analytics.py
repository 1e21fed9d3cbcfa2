"""How fast the dashboards answer, and what that costs the recommendations beside them.

    python -m benchmarks.analytics --home .attune [--seconds 10] [--connections 16] [--json FILE]
    python -m benchmarks.analytics --home ./large --millions 16

One worker on a home with a release and published tables; with `--millions` a shop of about so many events is
simulated first and run to a release, unless the home has one. First recommendations alone; then the
dashboards, 16 connections over all of them with different periods, comparisons and segments, while 16 other
connections ask for recommendations. Bars: p99 of the dashboards at most 200 ms, p99 of the recommendations
not more than twice what it was alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.pipeline import DAYS, MILLION
from benchmarks.serving import ROOT, Load, Target, drive, known_customers, ours, recommendations
from feature_repo.layout import Home
from orchestration.simulator import EVENTS_PER_USER_YEAR, simulate

BAR_MS, MOST_TIMES = 200.0, 2.0
DASHBOARDS = (
    "/dashboard/overview",
    "/dashboard/user-analytics",
    "/dashboard/segments",
    "/dashboard/recommendation-analytics",
    "/dashboard/profit-analytics",
    "/analytics/profit-optimization",
    "/dashboard/bundles",
    "/dashboard/campaigns",
    "/dashboard/journeys",
    "/dashboard/models",
    "/dashboard/data-health",
)
QUESTIONS = (
    "",
    "?days=7",
    "?days=90",
    "?compare=previous_year",
    "?segment=channel:web",
    "?format=csv&part=figures",
)
OF_NOW = ("/dashboard/models", "/dashboard/data-health")


def main() -> None:
    """Run, print, write JSON, and exit with 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".attune"), help="a home with a release")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--millions", type=float, help="make the home first, with so many million events")
    options = parser.parse_args()
    home = options.home.absolute()
    if options.millions and not Home(home).current_release.exists():
        make_home(home, options.millions)
    users = known_customers(Home(home), 2000)
    with (
        tempfile.TemporaryDirectory() as folder,
        ours(home, {"DATABASE_URL": f"sqlite:///{folder}/store.db"}) as (pid, port),
    ):
        shelf = recommendations((pid, port), users)
        alone = drive("recommendations", shelf, options)
        pages = Target(pid, port, "GET", paths())
        with ThreadPoolExecutor(2) as both:
            figures = both.submit(drive, "dashboards", pages, options)
            beside = both.submit(drive, "recommendations, beside", shelf, options)
            loads = [alone, figures.result(), beside.result()]
    report(loads, events_in(Home(home)), options.json)


def make_home(home: Path, millions: float) -> None:
    """Simulates a shop of this size and runs it to a release, as anybody would."""
    users = round(millions * MILLION / (EVENTS_PER_USER_YEAR * DAYS / 365))
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "world", users, DAYS, seed=1)
        command = [sys.executable, "-m", "orchestration.cli", "run", "--source", "simulator"]
        command += ["--path", f"{folder}/world"]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"ATTUNE_HOME": str(home)}, check=True)


def paths() -> tuple[str, ...]:
    """Every dashboard with every question."""
    asked = [page + question for question, page in product(QUESTIONS, DASHBOARDS) if page not in OF_NOW]
    return (*asked, *OF_NOW)


def events_in(home: Home) -> int:
    """Events behind the published tables."""
    files = home.mart("daily_kpis").glob("*.parquet")
    return sum(sum(pq.read_table(file, columns=["event_count"])["event_count"].to_pylist()) for file in files)


def report(loads: list[Load], events: int, path: Path | None) -> None:
    """The table, the bars, and the exit."""
    print(f"{events:,} events\n\n{'':<26} {'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'failures':>9}")
    for load in loads:
        print(
            f"{load.server:<26} {load.requests_per_second:8.0f} {load.p50_ms:8.1f} {load.p99_ms:8.1f} "
            f"{load.failures:9}"
        )
    alone, figures, beside = loads
    times = beside.p99_ms / alone.p99_ms
    is_met = figures.p99_ms <= BAR_MS and times <= MOST_TIMES and not any(load.failures for load in loads)
    print(
        f"\ndashboards p99 {figures.p99_ms:.0f} ms (bar {BAR_MS:.0f}); "
        f"recommendations p99 x {times:.2f} (bar {MOST_TIMES:.0f})"
    )
    if path:
        path.write_text(json.dumps({"events": events, "loads": [asdict(each) for each in loads]}, indent=1))
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
