"""Drift reports on disk, what a recommender's data is summarised by, and whether a model is due for training.

A report is one small table for each day of data, `monitoring/drift/DAY.parquet`: dashboards read it, and the
next run asks it whether to train (`reuse_reason`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.layout import Home
from orchestration.completion import trained_by
from training.drift import Drift, Reason, reasons, summary
from training.interactions import Interactions
from training.logged_decisions import read_impressions
from training.registry import ModelVersion, Registry

RECENT_DAYS = 90
CLICK_DAYS = 28
KEPT_REPORTS = 400
DRIFT_FIELDS = [field.name for field in fields(Drift)]
SCHEMA = pa.schema(
    [
        ("as_of", pa.date32()),
        ("version", pa.string()),
        ("model", pa.string()),
        ("aspect", pa.string()),
        ("name", pa.string()),
        *((name, pa.float64()) for name in ("psi", "ks", "wasserstein", "reference_mean", "current_mean")),
        ("reference_rows", pa.int64()),
        ("current_rows", pa.int64()),
        ("drifted", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class DriftReport:
    """What was measured at the end of the data; `versions` are the champions that it is about, by kind."""

    as_of: date
    versions: Mapping[str, str]
    found: Sequence[Drift]


def write_report(home: Home, report: DriftReport) -> Path:
    """Replace the table of this day of data."""
    rows = [
        {"as_of": report.as_of, "version": report.versions[each.model], **asdict(each)}
        for each in report.found
    ]
    path = home.drift / f"{report.as_of.isoformat()}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary)
    temporary.replace(path)
    for old in sorted(home.drift.glob("[!.]*.parquet"))[:-KEPT_REPORTS]:
        old.unlink()
    return path


def drifted_since(home: Home, kind: str, version: str) -> list[Reason]:
    """Why a champion should be trained again: what the newest report found and the champion's first did not.

    What was found right after training, training does not cure: a season that differs from the last known
    outcomes, for one. None if the newest report is about another version.
    """
    found = []
    for path in sorted(home.drift.glob("[!.]*.parquet"), reverse=True):
        rows = pq.read_table(path, schema=SCHEMA).to_pylist()
        mine = [row for row in rows if (row["model"], row["version"]) == (kind, version)]
        if not mine:
            break
        found.append(reasons([Drift(**{name: row[name] for name in DRIFT_FIELDS}) for row in mine]))
    if not found:
        return []
    known = {each.aspect for each in found[-1]}
    return [each for each in found[0] if each.aspect not in known]


def reuse_reason(
    home: Home, registry: Registry, champion: ModelVersion | None, recipe: str, until: date, retrain_days: int
) -> str | None:
    """Why the champion is kept without training, or None if a model should be trained.

    Trained is: the first; every time with `retrain_days` 0; once what was trained last is that old, in days
    of data; when the champion has drifted since its first report, unless the gate refused what was trained
    since; and what was trained last by another recipe: the configuration, the seed or the SQL.
    """
    if champion is None or retrain_days == 0:
        return None
    last = trained_by(home, champion.kind, recipe)
    if last is None:
        return None
    is_champion = last == champion.version
    trained_until = registry.data_until(champion if is_champion else registry.version(champion.kind, last))
    age = None if trained_until is None else (until - trained_until).days
    if age is None or not 0 <= age < retrain_days:
        return None
    if not is_champion:
        return f"version {last}, {age} days old, did not replace it; the next is trained after {retrain_days}"
    if drifted_since(home, champion.kind, champion.version):
        return None
    return f"{age} days old, to be trained every {retrain_days} days, and no drift since"


def recommender_reference(interactions: Interactions, events: Path, until: date) -> dict[str, Any]:
    """What a recommender was trained on: how many items people take, and how often they click."""
    return {
        "features": {"items_per_user": summary(items_per_user(interactions))},
        "outcome": summary(clicks(events, until)),
    }


def items_per_user(interactions: Interactions) -> npt.NDArray[np.float64]:
    """Distinct items of each user who did anything in the last 90 days."""
    recent = interactions.age_days < RECENT_DAYS
    pairs = np.unique(
        interactions.user[recent].astype(np.int64) * len(interactions.items) + interactions.item[recent]
    )
    counts = np.bincount(pairs // len(interactions.items))
    return counts[counts > 0].astype(np.float64)


def clicks(events: Path, until: date) -> npt.NDArray[np.float64]:
    """1 for each item shown in four weeks that was clicked within a day, 0 for the others; maybe none."""
    rows = read_impressions(events, until - timedelta(days=CLICK_DAYS), until, horizon_days=1)
    return rows["clicked"].to_numpy(dtype=np.float64)
