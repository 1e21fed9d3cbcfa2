"""What the later stages have finished, so that a run that was killed anywhere is taken up where it stopped.

The marts have their own manifest (`orchestration.marts`). After them come the online store and the release;
each notes here which published version it was made from, as its last act. Whatever is noted for another
version than the current one has to be done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from feature_repo.layout import Home
from orchestration.marts import MartsManifest, current_manifest

ONLINE_NOTE = "materialized.json"
RELEASE_NOTE = "complete.json"
BUILT_NOTE = "built.json"
WAITING_NOTE = "waiting.json"
PACKAGED_NOTE = "packaged.json"
TRAINED_NOTE = "trained.json"
SCORED_NOTE = "scored.json"


@dataclass(frozen=True)
class Window:
    """Instants between which online rows may have changed; `start` None is the beginning of time."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True)
class Built:
    """What dbt has built and nobody has published yet: the days, or everything; hashes as dbt read them."""

    days: tuple[date, ...]
    full: bool
    hashes: dict[date, str]


def end_of(day: date) -> datetime:
    """The end of a UTC day: the instant at which the rows of that day are known."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


# dbt -> publish


def note_built(home: Home, days: Sequence[date], full: bool, hashes: Mapping[date, str]) -> None:
    """Adds to what waits for being published; what was noted before is kept."""
    before = built(home)
    merged = sorted({*days, *(before.days if before else ())})
    values = {
        "days": [day.isoformat() for day in merged],
        "full": full or bool(before and before.full),
        "hashes": {day.isoformat(): content for day, content in hashes.items()},
    }
    write_note(home.dbt_target / BUILT_NOTE, values)


def built(home: Home) -> Built | None:
    """What waits for being published, or None."""
    values = read_note(home.dbt_target / BUILT_NOTE)
    if values is None:
        return None
    hashes = {date.fromisoformat(day): content for day, content in values["hashes"].items()}
    return Built(tuple(map(date.fromisoformat, values["days"])), values["full"], hashes)


def forget_built(home: Home) -> None:
    """After the publish."""
    (home.dbt_target / BUILT_NOTE).unlink(missing_ok=True)


# publish -> online store


def pending_window(home: Home) -> Window | None:
    """What of the published marts is not in the online store yet, or None if it is all there.

    A rebuilt day also changes the later rows of whoever was active in it, so the window runs to the end.
    """
    manifest = current_manifest(home)
    if manifest is None or manifest.data_until is None:
        return None
    end = end_of(manifest.data_until)
    note = read_note(home.features / ONLINE_NOTE)
    if note is None or note["code"] != manifest.code:
        return Window(None, end)
    if note["marts"] == manifest.id:
        return None
    before = {date.fromisoformat(day): content for day, content in note["days"].items()}
    changed = [day for day in {*before, *manifest.days} if before.get(day) != manifest.days.get(day)]
    if not changed:
        return None
    return Window(end_of(min(changed)), max(end, end_of(max(changed))))


def note_materialized(home: Home, manifest: MartsManifest) -> None:
    """The online store now holds what this version holds."""
    days = {day.isoformat(): content for day, content in manifest.days.items()}
    write_note(home.features / ONLINE_NOTE, {"marts": manifest.id, "code": manifest.code, "days": days})


# training


def trained_version(home: Home, kind: str, key: str) -> str | None:
    """The version that was trained and gated under this key, or None."""
    note = (read_note(home.mlflow / TRAINED_NOTE) or {}).get(kind)
    return str(note["version"]) if note and note["key"] == key else None


def trained_by(home: Home, kind: str, recipe: str) -> str | None:
    """The version of this kind that was trained last, if it was by this recipe, or None."""
    note = (read_note(home.mlflow / TRAINED_NOTE) or {}).get(kind)
    return str(note["version"]) if note and note.get("recipe") == recipe else None


def note_trained(home: Home, kind: str, key: str, recipe: str, version: str) -> None:
    """The version is registered and the gate has decided on it."""
    notes = read_note(home.mlflow / TRAINED_NOTE) or {}
    note = {"key": key, "recipe": recipe, "version": version}
    write_note(home.mlflow / TRAINED_NOTE, notes | {kind: note})


# predictions


@dataclass(frozen=True)
class Scored:
    """By which version everybody was ranked last, on data until when, fitted on data until when."""

    version: str
    fitted_until: date
    until: date


def last_scored(home: Home) -> Scored | None:
    """What the candidates that lie there were made by; None if nothing sure is known of them."""
    note = read_note(home.features / SCORED_NOTE)
    if note is None:
        return None
    return Scored(
        note["version"], date.fromisoformat(note["fitted_until"]), date.fromisoformat(note["until"])
    )


def note_scored(home: Home, done: Scored) -> None:
    """Candidates and fingerprints lie there, whole."""
    values = {
        "version": done.version,
        "fitted_until": done.fitted_until.isoformat(),
        "until": done.until.isoformat(),
    }
    write_note(home.features / SCORED_NOTE, values)


def forget_scored(home: Home) -> None:
    """Before the files are replaced."""
    (home.features / SCORED_NOTE).unlink(missing_ok=True)


# release


def is_complete(home: Home) -> bool:
    """Whether the current release was made from the marts as they are published now."""
    manifest = current_manifest(home)
    note = read_note(home.releases / RELEASE_NOTE)
    return (
        manifest is not None
        and note is not None
        and note["marts"] == manifest.id
        and (home.release(note["release_id"]) / "manifest.json").exists()
    )


def note_built_release(home: Home, marts_id: str, release_id: str) -> None:
    """The release is written for this version of the marts, and waits to be current."""
    write_note(home.releases / WAITING_NOTE, {"marts": marts_id, "release_id": release_id})


def waiting_release(home: Home, marts_id: str) -> str | None:
    """The release that was written for this version of the marts, or None."""
    note = read_note(home.releases / WAITING_NOTE)
    return str(note["release_id"]) if note and note["marts"] == marts_id else None


def note_released(home: Home, marts_id: str, release_id: str) -> None:
    """The pipeline is through for this version of the marts."""
    write_note(home.releases / RELEASE_NOTE, {"marts": marts_id, "release_id": release_id})


def note_packaged(home: Home, tags: Mapping[str, str]) -> None:
    """BentoML's stores hold these, complete."""
    write_note(home.releases / PACKAGED_NOTE, tags)


def is_packaged(home: Home, tags: Mapping[str, str]) -> bool:
    """Whether these were the last to be packaged."""
    return read_note(home.releases / PACKAGED_NOTE) == dict(tags)


def read_note(path: Path) -> dict[str, Any] | None:
    """The values of a note, or None if there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return dict(values)


def write_note(path: Path, values: Mapping[str, Any]) -> None:
    """Replaces a note in one step, on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(values))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
