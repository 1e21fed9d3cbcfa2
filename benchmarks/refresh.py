"""What one new day costs from source to release: `python -m benchmarks.refresh --source NAME --path DIR`.

Each job is the command `attune run` as a user types it, in a process of its own: everything in a fresh home
(full); in another home everything but the last day (before), then the whole source (day), then the same once
more (nothing). Training is taken off each, as the run itself prints it. Prints a table, writes JSON. The bar:
what is left of a new day, and of a run with nothing new, is at most 25 % of a full run; the last column holds
it against what is left of a full run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

BAR_SHARE = 0.25
TRAINING = ("join training frame", "train recommendations", "train customer value", "train churn")
STAGE_LINE = re.compile(r"^ *done +(.+?) +([0-9.]+) s\b")


@dataclass(frozen=True)
class Job:
    """One `attune run`. `peak_gib`: the largest resident set of its process or one of its children."""

    name: str
    wall_seconds: float
    cpu_seconds: float
    peak_gib: float
    stages: dict[str, float]

    @property
    def training_seconds(self) -> float:
        return sum(seconds for stage, seconds in self.stages.items() if stage in TRAINING)

    @property
    def rest_seconds(self) -> float:
        return self.wall_seconds - self.training_seconds


def measure(name: str, home: Path, source: str, path: Path, last: date | None = None) -> Job:
    """Runs `attune run` on a home, up to a day if one is given; raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "orchestration.cli", "run", "--source", source, "--path", str(path)]
    command += ["--to", last.isoformat()] if last else []
    environment = os.environ | {"ATTUNE_HOME": str(home)}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    cpu = usage.ru_utime + usage.ru_stime
    return Job(name, wall, cpu, usage.ru_maxrss / 2**20, stage_seconds(output))


def stage_seconds(output: str) -> dict[str, float]:
    """Stage -> seconds, from the lines that a run prints where there is no terminal."""
    found = (STAGE_LINE.match(line) for line in output.splitlines())
    return {match[1]: float(match[2]) for match in found if match}


def measure_refresh(source: str, path: Path, work: Path) -> list[Job]:
    """The four jobs, `full` first."""
    from orchestration.sources.base import open_source

    before_last = open_source(source, path).days()[-2]
    grown = work / "grown"
    return [
        measure("full", work / "full", source, path),
        measure("before", grown, source, path, before_last),
        measure("day", grown, source, path),
        measure("nothing", grown, source, path),
    ]


def table(jobs: Sequence[Job]) -> str:
    """The jobs as text; the last columns: what is left without training, as a share of the full run."""
    full = jobs[0]
    names = ("wall s", "training", "rest s", "CPU s", "peak GiB", "of full", "of rest")
    lines = [f"{'job':<8}" + "".join(f"{name:>10}" for name in names)]
    for job in jobs:
        share, share_of_rest = job.rest_seconds / full.wall_seconds, job.rest_seconds / full.rest_seconds
        lines.append(
            f"{job.name:<8}{job.wall_seconds:>10.1f}{job.training_seconds:>10.1f}{job.rest_seconds:>10.1f}"
            f"{job.cpu_seconds:>10.1f}{job.peak_gib:>10.2f}{share:>10.1%}{share_of_rest:>10.1%}"
        )
    return "\n".join([*lines, "", f"bar of `day` and `nothing`: <= {BAR_SHARE:.0%} of full"])


def stage_table(jobs: Sequence[Job]) -> str:
    """Seconds of each stage in each job, and what no stage accounts for."""
    stages = list(dict.fromkeys(stage for job in jobs for stage in job.stages))
    lines = [f"{'stage':<28}" + "".join(f"{job.name:>9}" for job in jobs)]
    for stage in stages:
        cells = "".join(f"{job.stages[stage]:>9.1f}" if stage in job.stages else " " * 9 for job in jobs)
        lines.append(f"{stage:<28}{cells}")
    outside = "".join(f"{job.wall_seconds - sum(job.stages.values()):>9.1f}" for job in jobs)
    return "\n".join([*lines, f"{'outside the stages':<28}{outside}"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="as of `attune run`")
    parser.add_argument("--path", type=Path, required=True, help="where the source lies")
    parser.add_argument("--work", type=Path, help="folder for the homes (default: a temporary one)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/refresh.json"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        jobs = measure_refresh(options.source, options.path, Path(work))
    print(f"{table(jobs)}\n\n{stage_table(jobs)}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(job) for job in jobs], indent=1))


if __name__ == "__main__":
    main()
