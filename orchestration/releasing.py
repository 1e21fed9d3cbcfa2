"""Releases: write one from the champions, make it current, hand it to BentoML, remove old ones."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.layout import Home
from orchestration.completion import note_built_release, note_released, waiting_release
from orchestration.data import Data
from orchestration.errors import GateRefused, NothingToDo
from orchestration.kinds import KINDS
from orchestration.packaging import package
from orchestration.resources import Models
from orchestration.training_runs import FEATURE_SERVICES, read_categories
from training import bundles
from training.artifacts import (
    ITEM_SCHEMA,
    Manifest,
    Release,
    current_release_id,
    load_release,
    point_to_release,
    read_manifest,
    read_withdrawn,
    write_release,
    write_withdrawn,
)
from training.config import PopularityConfig
from training.content import content_tables, recent_event_files
from training.message_hours import message_hours
from training.popularity import rank_popularity
from training.recommenders import load_recommender
from training.registry import ModelVersion
from training.relations import ITEM_COLUMNS, read_segments, relate_items

logger = logging.getLogger(__name__)


def build_release(data: Data, models: Models) -> Manifest:
    """Writes the release of the present champions beside the current one; the same content, the same id.

    Raises GateRefused if there is no champion for recommendations, which no release can do without.
    """
    registry = models.open()
    champions = {kind: found for kind in KINDS if (found := registry.champion(kind)) is not None}
    if "collaborative" not in champions:
        raise GateRefused(
            "no recommendation model has passed the gate yet, so there is nothing to release; "
            "`attune status` shows the figures, land more history or look at the gate's reasons in MLflow."
        )
    interactions = data.interactions()
    popularity = rank_popularity(interactions, read_categories(data.home), PopularityConfig())
    columns = {*ITEM_SCHEMA.names, *ITEM_COLUMNS, *bundles.ITEM_COLUMNS}
    items = pq.read_table(data.home.mart("items"), columns=sorted(columns))
    with tempfile.TemporaryDirectory(prefix="attune-release-") as place, ThreadPoolExecutor(2) as beside:
        days = recent_event_files(data.home.events, data.as_of)
        bundle_tables = beside.submit(bundles.bundle_tables, days, items, data.as_of)
        further_tables = beside.submit(_further_tables, data, days)
        files = {
            kind: registry.download(champion, Path(place) / kind) for kind, champion in champions.items()
        }
        factors = load_recommender(files["collaborative"]).factors
        manifest = write_release(
            data.home.releases,
            items=items,
            popularity=popularity,
            factors=factors,
            relations=relate_items(
                items,
                factors,
                interactions,
                data.home.mart_glob("item_pairs"),
                data.home.prediction("user_predictions"),
                data.as_of,
            ),
            tables=further_tables.result() | bundle_tables.result(),
            model_dirs={kind: path for kind, path in files.items() if kind != "collaborative"},
            models={kind: _describe(champion) for kind, champion in champions.items()},
            feature_services=FEATURE_SERVICES,
            data_until=data.until,
            created_at=datetime.now(UTC),
            code_version=code_version(),
        )
    note_built_release(data.home, data.manifest.id, manifest.release_id)
    return manifest


def _further_tables(data: Data, days: Sequence[Path]) -> dict[str, pa.Table]:
    """Content, social proof, and when messages are opened, as of the end of the data."""
    segments = read_segments(data.home.prediction("user_predictions"), data.as_of)
    return content_tables(data.home.content_file, days, data.as_of) | message_hours(
        days, segments, data.as_of
    )


def built_release(data: Data) -> Release:
    """The release that was written for these marts and waits to be current."""
    release_id = waiting_release(data.home, data.manifest.id)
    if release_id is None:
        raise NothingToDo("no release is written for the published tables; materialize release/built first.")
    return load_release(data.home.release(release_id))


def make_current(data: Data, bentoml_home: Path, kept: int) -> dict[str, Any]:
    """Hands the waiting release to BentoML, then swaps the pointer."""
    release = built_release(data)
    home = data.home
    tags = package(home, release)
    withdrawn = read_withdrawn(home.withdrawn_releases)
    if release.release_id in withdrawn:
        write_withdrawn(home.withdrawn_releases, withdrawn - {release.release_id})
    point_to_release(home.current_release, release.release_id)
    note_released(home, data.manifest.id, release.release_id)
    removed = remove_old_releases(home, kept)
    return {
        "release_id": release.release_id,
        "data_until": release.manifest.data_until.isoformat(),
        "models": release.manifest.model_versions,
        **tags,
        "bentoml_home": str(bentoml_home),
        "old_releases_removed": len(removed),
        **{f"rows_{name}": count for name, count in release.manifest.rows.items()},
    }


def remove_old_releases(home: Home, kept: int) -> list[str]:
    """Removes all but the newest releases by creation; the current one always stays. Returns the removed."""
    current = current_release_id(home.current_release)
    found = [path for path in home.releases.iterdir() if (path / "manifest.json").is_file()]
    newest_first = sorted(found, key=lambda path: read_manifest(path).created_at, reverse=True)
    removed = [path for path in newest_first[kept:] if path.name != current]
    for path in removed:
        shutil.rmtree(path)
    return [path.name for path in removed]


def code_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("attune")
    except PackageNotFoundError:
        return "not installed"


def _describe(champion: ModelVersion) -> dict[str, Any]:
    own = {name: value for name, value in champion.metrics.items() if "/" not in name}
    return {"version": champion.version, "run_id": champion.run_id, "metrics": own}
