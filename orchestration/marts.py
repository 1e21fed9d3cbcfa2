"""Marts: run dbt for a set of days, then publish its tables as Parquet for everybody else.

The DuckDB file has one writer (dbt) and, while that writes, no reader. So readers get a version: a folder of
Parquet files that never changes once it is named, and a symlink that is swapped in one step. What a version
was made from is in its manifest; a run that was killed anywhere leaves the old manifest, and `dirty_days`
names the days to do again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from feature_repo.layout import Home
from feature_repo.marketing import SPEND_SCHEMA
from orchestration.dbt import WINDOW_FILE
from orchestration.errors import NothingToDo, PipelineError, one_line
from orchestration.figures import FIGURES, read_figures
from orchestration.landed import landed_days
from orchestration.mart_files import MARTS, PublishedFile, write_mart
from orchestration.parquet_files import write_atomically

logger = logging.getLogger(__name__)

TRANSFORMS = Path(__file__).resolve().parents[1] / "transforms"
"""The dbt project; it holds its profile too."""

KEPT_VERSIONS = 3
VERSION_FORMAT = "%Y%m%dT%H%M%S%fZ"
UNFINISHED = ".unfinished-"
MANIFEST = "manifest.json"
READER_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 2,
    "memory_limit": "4GB",
    # Rows without an `order` may be written by both threads, in any order.
    "preserve_insertion_order": False,
}
MINIMUM_AGE = timedelta(minutes=10)
"""A version this young is never pruned: a reader may have resolved the symlink just before the swap."""


@dataclass(frozen=True)
class MartsManifest:
    """What a published version was made from and holds; `code` is the hash of the SQL that made it."""

    id: str
    days: dict[date, str]
    data_until: date | None
    rows: dict[str, int]
    created_at: datetime
    code: str
    files: dict[str, dict[str, PublishedFile]]


@dataclass(frozen=True)
class MartsVersion:
    """A published version: its folder, rows per mart, and how many files were written, not linked."""

    id: str
    path: Path
    rows: dict[str, int]
    files_written: int


# dbt


def write_window(home: Home, days: Sequence[date] | None) -> None:
    """Writes the days that the next dbt run rebuilds; none given means every landed day."""
    home.dbt_target.mkdir(parents=True, exist_ok=True)
    window = " ".join(day.isoformat() for day in sorted(set(days or ())))
    (home.dbt_target / WINDOW_FILE).write_text(window, encoding="utf-8")


def dbt_environment(home: Home) -> dict[str, str]:
    """Environment variables that point the project's profile at this home and keep dbt silent."""
    return {
        "ATTUNE_HOME": str(home.root.resolve()),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_TARGET_PATH": str(home.dbt_target.resolve()),
        "DBT_LOG_PATH": str((home.dbt_target / "logs").resolve()),
    }


def dbt_arguments(
    home: Home, full_refresh: bool = False, select: str | None = None, command: str = "build"
) -> list[str]:
    """Arguments of `dbt` for a production run; unit tests belong to the test suite and are left out."""
    arguments = [command, "--project-dir", str(TRANSFORMS), "--profiles-dir", str(TRANSFORMS)]
    arguments += ["--no-version-check", "--log-level-file", "none"]
    if command in ("build", "test"):
        arguments += ["--exclude-resource-type", "unit_test"]
    if full_refresh:
        arguments.append("--full-refresh")
    if select:
        arguments += ["--select", *select.split()]
    return arguments


def prepare_home(home: Home, days: Sequence[date] | None) -> None:
    """Makes what a dbt run for these days expects; raises NothingToDo if nothing has been landed."""
    if not any(home.events.glob("event_date=*/*.parquet")):
        raise NothingToDo(f"no events are landed under {home.events}; run `attune run` with a source first.")
    home.warehouse.parent.mkdir(parents=True, exist_ok=True)
    if not home.marketing_spend_file.exists():
        write_atomically(home.marketing_spend_file, SPEND_SCHEMA.empty_table())
    write_window(home, days)


def run_dbt(
    home: Home, days: Sequence[date] | None = None, full_refresh: bool = False, select: str | None = None
) -> None:
    """Builds and tests the models for these days in a process of its own (default: every landed day).

    Raises PipelineError naming the models and tests that failed; the published marts stay as they were.
    """
    prepare_home(home, days)
    finished = subprocess.run(
        [sys.executable, "-m", "orchestration.dbt", *dbt_arguments(home, full_refresh, select)],
        env={**os.environ, **dbt_environment(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise PipelineError(f"transforms failed: {dbt_failures(home) or finished.stdout[-2000:]}")


def dbt_failures(home: Home) -> str:
    """The failed nodes of the last dbt run with their messages, one line; empty if none is recorded."""
    path = home.dbt_target / "run_results.json"
    if not path.exists():
        return ""
    results = json.loads(path.read_text())["results"]
    failed = [result for result in results if result["status"] in ("error", "fail", "runtime error")]
    names = [result["unique_id"].split(".")[2] for result in failed]
    messages = [" ".join(str(result["message"]).split()) for result in failed]
    return "; ".join(f"{name}: {message}" for name, message in zip(names, messages, strict=True))


# what has to be rebuilt


def transforms_code() -> str:
    """Hash of the SQL and its variables: marts made by other SQL are out of date whatever their input."""
    digest = hashlib.sha256()
    sql = [*TRANSFORMS.glob("models/**/*.sql"), *TRANSFORMS.glob("macros/*.sql")]
    for path in [TRANSFORMS / "dbt_project.yml", *sorted(sql)]:
        digest.update(path.relative_to(TRANSFORMS).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def current_manifest(home: Home) -> MartsManifest | None:
    """The manifest of the published version, or None before the first publish."""
    path = home.current_marts / MANIFEST
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return _from_json(content)


def dirty_days(home: Home) -> list[date]:
    """Days whose landed events differ from those in the published marts, ascending.

    All of them if there is no warehouse, nothing published, or the SQL has changed since.
    """
    landed = landed_days(home)
    manifest = current_manifest(home)
    if manifest is None or not home.warehouse.exists() or manifest.code != transforms_code():
        return sorted(landed)
    changed = {day for day, content in landed.items() if manifest.days.get(day) != content}
    return sorted(changed | (set(manifest.days) - set(landed)))


def needs_full_refresh(home: Home, days: Sequence[date]) -> bool:
    """True if building everything is required, or cheaper than replacing this many days."""
    manifest = current_manifest(home)
    if manifest is None or not home.warehouse.exists() or manifest.code != transforms_code():
        return True
    return 2 * len(set(days)) > len(landed_days(home))


# publish


def publish_marts(
    home: Home, days: Sequence[date], full: bool = False, hashes: Mapping[date, str] | None = None
) -> MartsVersion:
    """Publishes what dbt built for these days as a new version and makes it current.

    Files of days that cannot have changed are hard links to the previous version's. `hashes`: content hash
    of each landed day as dbt read it (default: as landed now). Raises NothingToDo without a warehouse.
    """
    if not home.warehouse.exists():
        raise NothingToDo(f"{home.warehouse} does not exist; run the transforms before publishing.")
    landed = dict(landed_days(home) if hashes is None else hashes)
    previous = current_manifest(home)
    code = transforms_code()
    full = full or previous is None or previous.code != code
    created_at = datetime.now(UTC)
    version_id = created_at.strftime(VERSION_FORMAT)
    _remove_unfinished(home)
    building = home.mart_versions / f"{UNFINISHED}{version_id}"
    try:
        building.mkdir(parents=True)
        with duckdb.connect(str(home.warehouse), read_only=True, config=READER_CONFIG) as connection:
            connection.execute("set TimeZone = 'UTC'")
            marts = {
                mart.name: write_mart(
                    connection,
                    mart,
                    building / mart.name,
                    home.mart(mart.name),
                    {} if previous is None else previous.files.get(mart.name, {}),
                    None if full else sorted(days),
                )
                for mart in MARTS
            }
            last_day = connection.execute("select max(event_date) from marts.daily_kpis").fetchone()
        manifest = MartsManifest(
            id=version_id,
            days=landed if full or previous is None else _merged_days(previous.days, landed, days),
            data_until=last_day[0] if last_day else None,
            rows={name: sum(file.rows for file in mart.files.values()) for name, mart in marts.items()},
            created_at=created_at,
            code=code,
            files={name: mart.files for name, mart in marts.items()},
        )
        (building / FIGURES).write_text(json.dumps(read_figures(TRANSFORMS), indent=1))
        (building / MANIFEST).write_text(_to_json(manifest))
        path = building.rename(home.mart_versions / version_id)
    except (OSError, duckdb.Error) as error:
        shutil.rmtree(building, ignore_errors=True)
        raise PipelineError(
            f"marts could not be published ({one_line(error)}); the published version is unchanged. "
            "Free space or permission there and run again."
        ) from error
    _make_current(home, version_id)
    prune_versions(home, created_at)
    written = sum(len(mart.written) for mart in marts.values())
    logger.info("published marts %s: %d files written, rows %s", version_id, written, manifest.rows)
    return MartsVersion(version_id, path, manifest.rows, written)


def prune_versions(home: Home, now: datetime) -> list[str]:
    """Removes old versions; the last three, the current one and any younger than ten minutes stay."""
    current = home.current_marts.resolve().name
    versions = sorted(path.name for path in home.mart_versions.iterdir() if not path.name.startswith("."))
    removed = []
    for name in versions[:-KEPT_VERSIONS]:
        created_at = datetime.strptime(name, VERSION_FORMAT).replace(tzinfo=UTC)
        if name != current and now - created_at >= MINIMUM_AGE:
            shutil.rmtree(home.mart_versions / name)
            removed.append(name)
    return removed


def _merged_days(
    before: Mapping[date, str], landed: Mapping[date, str], days: Sequence[date]
) -> dict[date, str]:
    """The previous manifest's days with the rebuilt ones as they are landed now, or gone with them."""
    merged = dict(before)
    for day in days:
        merged.pop(day, None)
        if day in landed:
            merged[day] = landed[day]
    return dict(sorted(merged.items()))


def _make_current(home: Home, version_id: str) -> None:
    """Swaps the symlink in one step: a reader sees the old version or the new one, never neither."""
    fresh = home.marts / f"{UNFINISHED}current"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path(home.mart_versions.name) / version_id)
    fresh.replace(home.current_marts)


def _remove_unfinished(home: Home) -> None:
    """Clears what a publish that was killed left behind."""
    for path in home.mart_versions.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path)


def _to_json(manifest: MartsManifest) -> str:
    content = asdict(manifest)
    content["days"] = {day.isoformat(): mark for day, mark in manifest.days.items()}
    content["data_until"] = manifest.data_until and manifest.data_until.isoformat()
    content["created_at"] = manifest.created_at.isoformat()
    return json.dumps(content, indent=1)


def _from_json(content: dict[str, Any]) -> MartsManifest:
    return MartsManifest(
        id=content["id"],
        days={date.fromisoformat(day): mark for day, mark in content["days"].items()},
        data_until=date.fromisoformat(content["data_until"]) if content["data_until"] else None,
        rows=content["rows"],
        created_at=datetime.fromisoformat(content["created_at"]),
        code=content["code"],
        files={
            mart: {name: PublishedFile(**file) for name, file in files.items()}
            for mart, files in content["files"].items()
        },
    )
