"""Release files: write, read. Arrays, trees and JSON with a format version; never a pickle.

A release is one immutable directory `<releases>/<release_id>`:

    manifest.json        what it is made of, and the sha256 of every other file
    items.parquet        the catalogue: item_id, title, category, brand, price, stock, cost
    popularity.json      ranked lists: overall, recent, by category
    item_factors.npy     float32, one row per item; item_factors.json: ids and what fold-in needs
    item_relations.npz   similar and complementary items of each; item_relations.json: trends, segments
    tables/*.parquet     further tables: content and social_proof (training.content), bundles
                         (training.bundles) and others; each may be absent
    <kind>/...           the files of each further model (`clv`, `churn`), as the model wrote them

Format 1 had no costs and no relations: such a release is still read, as one whose items have none.

It is written beside its final place and renamed, so a reader sees all of it or none. The service imports
this module: it needs numpy and pyarrow only (xgboost when a booster is opened).
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.bundle_offer import attach_at, profit_at
from training.errors import BrokenRelease, InvalidPlan
from training.experiments.power import Plan, Question, detectable_lift, of_share, plan
from training.factors import ItemFactors, read_factors, write_factors
from training.item_relations import BY_BEHAVIOUR, Relations, read_relations, write_relations
from training.rankings import Popularity, RankedList

__all__ = [
    "BY_BEHAVIOUR",
    "FORMAT_VERSION",
    "BrokenRelease",
    "InvalidPlan",
    "ItemFactors",
    "ItemTable",
    "Manifest",
    "Plan",
    "Popularity",
    "Question",
    "RankedList",
    "Relations",
    "Release",
    "attach_at",
    "current_release_id",
    "detectable_lift",
    "load_release",
    "of_share",
    "plan",
    "point_to_release",
    "profit_at",
    "read_manifest",
    "read_withdrawn",
    "write_release",
    "write_withdrawn",
]

FORMAT_VERSION = 2
READ_VERSIONS = (1, FORMAT_VERSION)
MANIFEST = "manifest.json"
ITEMS = "items.parquet"
POPULARITY = "popularity.json"
FACTORS = "item_factors"
RELATIONS = "item_relations"
TABLES = "tables"
REQUIRED = (ITEMS, POPULARITY, f"{FACTORS}.npy", f"{FACTORS}.json")
RELATION_FILES = (f"{RELATIONS}.npz", f"{RELATIONS}.json")
ITEM_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("category", pa.string()),
        ("brand", pa.string()),
        ("price", pa.float64()),
        ("stock", pa.int64()),
        ("cost", pa.float64()),
    ]
)


@dataclass(frozen=True)
class ItemTable:
    """The catalogue of a release, one position per item.

    `price` and `cost` are in currency units and `stock` in units, all float64 with NaN where unknown; texts
    may be None.
    """

    item_ids: tuple[str, ...]
    title: list[str | None]
    category: list[str | None]
    brand: list[str | None]
    price: np.ndarray
    stock: np.ndarray
    cost: np.ndarray
    position: Mapping[str, int]

    @classmethod
    def from_table(cls, table: pa.Table) -> "ItemTable":
        """From an Arrow table with the columns of `ITEM_SCHEMA`; costs are unknown without a column."""
        ids = tuple(table["item_id"].to_pylist())
        cost = np.full(len(ids), np.nan)
        if "cost" in table.column_names:
            cost = table["cost"].cast(pa.float64()).to_numpy(zero_copy_only=False)
        return cls(
            ids,
            table["title"].to_pylist(),
            table["category"].to_pylist(),
            table["brand"].to_pylist(),
            table["price"].cast(pa.float64()).to_numpy(zero_copy_only=False),
            table["stock"].cast(pa.float64()).to_numpy(zero_copy_only=False),
            cost,
            {item_id: index for index, item_id in enumerate(ids)},
        )

    def record(self, item_id: str) -> dict[str, Any] | None:
        """One item's columns, or None if the catalogue does not have it; NaN becomes None."""
        index = self.position.get(item_id)
        if index is None:
            return None
        price, stock, cost = (float(column[index]) for column in (self.price, self.stock, self.cost))
        return {
            "item_id": item_id,
            "title": self.title[index],
            "category": self.category[index],
            "brand": self.brand[index],
            "price": None if np.isnan(price) else price,
            "stock": None if np.isnan(stock) else int(stock),
            "cost": None if np.isnan(cost) else cost,
        }

    def __len__(self) -> int:
        return len(self.item_ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self.position


@dataclass(frozen=True)
class Manifest:
    """What a release is made of.

    `models` maps a kind to {version, run_id, metrics}; `feature_services` maps a kind to the Feast service
    that it reads; `rows` counts what each file holds; `files` maps a relative path to its sha256.
    """

    release_id: str
    data_until: date
    created_at: datetime
    models: dict[str, dict[str, Any]]
    feature_services: dict[str, str]
    code_version: str
    rows: dict[str, int]
    files: dict[str, str]
    format_version: int = FORMAT_VERSION

    @property
    def model_versions(self) -> dict[str, str]:
        """Kind -> version, as every answer of the service names them."""
        return {kind: str(model["version"]) for kind, model in self.models.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            **vars(self),
            "data_until": self.data_until.isoformat(),
            "created_at": self.created_at.isoformat(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Manifest":
        """The inverse of `to_dict`; KeyError, TypeError or ValueError where a field is missing or wrong."""
        return cls(
            release_id=str(values["release_id"]),
            data_until=date.fromisoformat(values["data_until"]),
            created_at=datetime.fromisoformat(values["created_at"]),
            models=dict(values["models"]),
            feature_services=dict(values["feature_services"]),
            code_version=str(values["code_version"]),
            rows={name: int(count) for name, count in values["rows"].items()},
            files={str(name): str(digest) for name, digest in values["files"].items()},
            format_version=int(values["format_version"]),
        )


@dataclass(frozen=True)
class Release:
    """One release, read whole and verified."""

    root: Path
    manifest: Manifest
    items: ItemTable
    popularity: Popularity
    factors: ItemFactors
    relations: Relations
    _model_dirs: dict[str, Path] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)

    @property
    def release_id(self) -> str:
        """The id that every answer names."""
        return self.manifest.release_id

    @property
    def clv_dir(self) -> Path | None:
        """The CLV model's files, if the release has them."""
        return self._model_dirs.get("clv")

    @property
    def churn_dir(self) -> Path | None:
        """The churn model's files, if the release has them."""
        return self._model_dirs.get("churn")

    @property
    def next_purchase_dir(self) -> Path | None:
        """The next-purchase model's files, if the release has them."""
        return self._model_dirs.get("next_purchase")

    def model_dir(self, kind: str) -> Path:
        """The directory of one model's files; raises `BrokenRelease` if the release does not have it."""
        if kind not in self._model_dirs:
            raise BrokenRelease(self.root / kind, "is not part of this release")
        return self._model_dirs[kind]

    def booster(self, kind: str, file_name: str) -> Any:
        """An xgboost Booster read from `<kind>/<file_name>` (native .ubj)."""
        import xgboost

        path = self.model_dir(kind) / file_name
        booster = xgboost.Booster()
        try:
            booster.load_model(path)
        except (xgboost.core.XGBoostError, OSError) as error:
            raise BrokenRelease(path, f"cannot be read as trees ({error})") from error
        return booster

    def score_history(self, item_ids: list[str], weights: list[float]) -> np.ndarray:
        """Collaborative scores of every item of `factors` for a history; see `ItemFactors.score_history`."""
        return self.factors.score_history(item_ids, weights)


def write_release(
    releases: Path,
    *,
    items: pa.Table,
    popularity: Popularity,
    factors: ItemFactors,
    relations: Relations | None = None,
    tables: Mapping[str, pa.Table] | None = None,
    model_dirs: Mapping[str, Path],
    models: dict[str, dict[str, Any]],
    feature_services: dict[str, str],
    data_until: date,
    created_at: datetime,
    code_version: str,
) -> Manifest:
    """Write one release below `releases` and return its manifest; the same content gives the same id.

    `relations` are between the rows of `items`, in their order; without them the release has none. `tables`
    are further ones by name.

    A release that exists already is verified and kept, or replaced if its files are damaged. An interrupted
    write leaves a hidden `.building-*` directory that the next write removes, never half a release.
    """
    releases.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(releases)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=releases))
    try:
        rows = _write_contents(building, items, popularity, factors, relations, model_dirs)
        rows |= _write_tables(building / TABLES, tables or {})
        files = {name: _sha256(building / name) for name in _relative_files(building)}
        content = json.dumps([files, models, feature_services, code_version], sort_keys=True, default=str)
        release_id = f"{data_until:%Y%m%d}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
        manifest = Manifest(
            release_id, data_until, created_at, models, feature_services, code_version, rows, files
        )
        _write_json(building / MANIFEST, manifest.to_dict())
        return _move_into_place(building, releases / release_id, manifest)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def load_release(path: Path) -> Release:
    """Read a release directory whole, after checking the sha256 of every file.

    Raises `BrokenRelease` naming the file and the remedy if anything is missing, changed or unreadable.
    """
    manifest = read_manifest(path)
    _verify(path, manifest)
    items = _read_items(path / ITEMS)
    popularity = Popularity.from_dict(_read_json(path / POPULARITY))
    factors = read_factors(path, FACTORS)
    relations = (
        Relations.empty(len(items))
        if manifest.format_version == 1
        else read_relations(path, RELATIONS, len(items))
    )
    kinds = sorted({name.split("/", 1)[0] for name in manifest.files if "/" in name} - {TABLES})
    return Release(
        path,
        manifest,
        items,
        popularity,
        factors,
        relations,
        {kind: path / kind for kind in kinds},
        _read_tables(path, manifest),
    )


def read_manifest(path: Path) -> Manifest:
    """The manifest alone, without checking the other files."""
    values = _read_json(path / MANIFEST)
    found = values.get("format_version")
    if found not in READ_VERSIONS:
        readable = " and ".join(map(str, READ_VERSIONS))
        problem = f"has format_version {found!r}, this program reads {readable}"
        raise BrokenRelease(path / MANIFEST, problem)
    try:
        return Manifest.from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenRelease(path / MANIFEST, f"lacks or garbles a field ({error})") from error


def current_release_id(pointer: Path) -> str | None:
    """The id in the pointer file `releases/current`, or None if nothing was released yet."""
    try:
        text = pointer.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return text or None


def point_to_release(pointer: Path, release_id: str) -> None:
    """Replace the pointer file atomically, so that a reader sees the old id or the new one."""
    temporary = pointer.with_name(f".{pointer.name}-{os.getpid()}")
    _write_text(temporary, release_id + "\n")
    temporary.replace(pointer)


def read_withdrawn(path: Path) -> frozenset[str]:
    """Ids of the releases that somebody went back from; none without the file."""
    try:
        return frozenset(map(str, json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return frozenset()


def write_withdrawn(path: Path, release_ids: frozenset[str]) -> None:
    """Replace the list atomically."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    _write_text(temporary, json.dumps(sorted(release_ids)) + "\n")
    temporary.replace(path)


def _write_contents(
    root: Path,
    items: pa.Table,
    popularity: Popularity,
    factors: ItemFactors,
    relations: Relations | None,
    model_dirs: Mapping[str, Path],
) -> dict[str, int]:
    catalogue = items.select(ITEM_SCHEMA.names).cast(ITEM_SCHEMA)
    relations = relations or Relations.empty(catalogue.num_rows)
    pq.write_table(catalogue, root / ITEMS)
    _write_json(root / POPULARITY, popularity.to_dict())
    write_factors(factors, root, FACTORS)
    write_relations(relations, root, RELATIONS)
    for kind, source in model_dirs.items():
        shutil.copytree(source, root / kind)
    return {
        "items": catalogue.num_rows,
        "popular": len(popularity.overall.item_ids),
        "categories": len(popularity.by_category),
        "factor_items": len(factors.item_ids),
        **relations.counts(),
    }


def _write_tables(folder: Path, tables: Mapping[str, pa.Table]) -> dict[str, int]:
    folder.mkdir()
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    return {name: table.num_rows for name, table in tables.items()}


def _read_tables(root: Path, manifest: Manifest) -> dict[str, pa.Table]:
    names = sorted(name for name in manifest.files if name.startswith(f"{TABLES}/"))
    try:
        return {Path(name).stem: pq.read_table(root / name) for name in names}
    except (pa.ArrowException, OSError) as error:
        raise BrokenRelease(root / TABLES, f"cannot be read as Parquet ({error})") from error


def _move_into_place(building: Path, target: Path, manifest: Manifest) -> Manifest:
    if target.exists():
        try:
            return load_release(target).manifest
        except BrokenRelease:
            damaged = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent)) / "damaged"
            target.replace(damaged)
            shutil.rmtree(damaged.parent, ignore_errors=True)
    building.chmod(0o755)
    building.replace(target)
    return manifest


def _remove_abandoned(releases: Path) -> None:
    for leftover in releases.glob(".building-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _verify(root: Path, manifest: Manifest) -> None:
    required = REQUIRED if manifest.format_version == 1 else (*REQUIRED, *RELATION_FILES)
    for name in required:
        if name not in manifest.files:
            raise BrokenRelease(root / MANIFEST, f"does not list {name}")
    for name, expected in manifest.files.items():
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()):
            raise BrokenRelease(path, "lies outside the release directory")
        try:
            found = _sha256(path)
        except FileNotFoundError as error:
            raise BrokenRelease(path, "is missing") from error
        except OSError as error:
            raise BrokenRelease(path, f"cannot be read ({error.strerror})") from error
        if found != expected:
            raise BrokenRelease(path, f"was changed: sha256 {found[:12]}, the manifest says {expected[:12]}")


def _read_items(path: Path) -> ItemTable:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BrokenRelease(path, f"cannot be read as Parquet ({error})") from error
    missing = [name for name in ITEM_SCHEMA.names if name not in (*table.column_names, "cost")]
    if missing:
        raise BrokenRelease(path, f"lacks column {missing[0]!r}")
    return ItemTable.from_table(table)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BrokenRelease(path, "is missing") from error
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise BrokenRelease(path, f"cannot be read as JSON ({error})") from error
    if not isinstance(values, dict):
        raise BrokenRelease(path, "holds no JSON object")
    return values


def _write_json(path: Path, values: dict[str, Any]) -> None:
    _write_text(path, json.dumps(values, indent=1, sort_keys=True, allow_nan=True))


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _relative_files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
