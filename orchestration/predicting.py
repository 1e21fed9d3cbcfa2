"""Score every customer with the champions, and put the result where Feast reads it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.erasure import NOBODY, Erased
from feature_repo.layout import Home
from feature_repo.materialization import materialize
from orchestration.releasing import built_release
from orchestration.resources import Features, Models
from orchestration.settings import Settings
from orchestration.training_runs import Data
from training.artifacts import Release
from training.candidates import candidate_tables
from training.churn import read_churn, score_churn
from training.clv import read_clv, score_clv
from training.config import BlendConfig
from training.dataset import scoring_frame
from training.interactions import read_interactions
from training.recommenders import load_recommender
from training.segments import value_segment

KEPT_PREDICTIONS = 30
VALUE_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("feature_at", pa.timestamp("us", tz="UTC")),
        ("clv_90d", pa.float64()),
        ("clv_90d_low", pa.float64()),
        ("clv_90d_high", pa.float64()),
        ("churn_probability", pa.float64()),
        ("value_segment", pa.string()),
        ("clv_version", pa.string()),
        ("churn_version", pa.string()),
    ]
)


@dataclass(frozen=True)
class Prediction:
    """`values`: a row per customer with an order; `candidates`: one per known user; `checked` joins them."""

    as_of: datetime
    release_id: str
    values: pd.DataFrame
    candidates: pa.Table
    checked: pd.DataFrame


def predict(data: Data, settings: Settings, features: Features, models: Models) -> Prediction:
    """Values and candidates as of the end of the data, by the models of the release that waits."""
    return predict_with(built_release(data), data, features, models)


def predict_with(release: Release, data: Data, features: Features, models: Models) -> Prediction:
    """The same, by the models of any release that is kept."""
    values = score_values(data, release, features)
    candidates = rank_candidates(data, release, models)
    return Prediction(
        data.as_of, release.release_id, values, candidates, checked_frame(values, candidates, release)
    )


def score_values(data: Data, release: Release, features: Features) -> pd.DataFrame:
    """Columns of VALUE_SCHEMA; what no champion predicts is null."""
    frame = scoring_frame(features.open(), data.home.current_marts, data.as_of)
    versions = release.manifest.model_versions
    values = pd.DataFrame({"user_id": frame["user_id"], "feature_at": pd.Timestamp(data.as_of)})
    for column in ("clv_90d", "clv_90d_low", "clv_90d_high", "churn_probability"):
        values[column] = np.nan
    if release.clv_dir is not None:
        scored = score_clv(read_clv(release.clv_dir), frame)
        for column, name in (("clv_90d", "clv"), ("clv_90d_low", "clv_low"), ("clv_90d_high", "clv_high")):
            values[column] = scored[name].to_numpy()
    if release.churn_dir is not None:
        scored = score_churn(read_churn(release.churn_dir), frame)
        values["churn_probability"] = scored["churn_probability"].to_numpy()
    values["value_segment"] = None
    if release.clv_dir is not None and release.churn_dir is not None:
        values["value_segment"] = value_segment(values["clv_90d"], values["churn_probability"])
    values["clv_version"] = versions.get("clv")
    values["churn_version"] = versions.get("churn")
    return values


def rank_candidates(data: Data, release: Release, models: Models) -> pa.Table:
    """Rows of CANDIDATE_SCHEMA: every user with interactions, ranked by the champion on all they did."""
    registry = models.open()
    version = registry.version("collaborative", release.manifest.model_versions["collaborative"])
    with tempfile.TemporaryDirectory(prefix="attune-champion-") as place:
        recommender = load_recommender(registry.download(version, Path(place)))
    interactions = read_interactions(data.home.mart_glob("interactions_daily"), data.as_of.date())
    tables = candidate_tables(
        interactions,
        recommender.scorer(interactions),
        BlendConfig(),
        feature_at=data.as_of,
        release_id=release.release_id,
        generated_at=datetime.now(UTC),
    )
    return pa.concat_tables(tables)


def checked_frame(values: pd.DataFrame, candidates: pa.Table, release: Release) -> pd.DataFrame:
    """What the suite looks at: the values, and per customer how many candidates and how many twice."""
    lengths = pc.list_value_length(candidates["item_ids"]).to_numpy()
    repeated = [len(items) - len(set(items)) for items in candidates["item_ids"].to_pylist()]
    counted = pd.DataFrame(
        {
            "user_id": candidates["user_id"].to_pandas(),
            "candidate_count": lengths,
            "repeated_candidates": repeated,
        }
    )
    joined = values.merge(counted, on="user_id", how="left", validate="one_to_one")
    joined[["candidate_count", "repeated_candidates"]] = joined[
        ["candidate_count", "repeated_candidates"]
    ].fillna(0)
    joined["has_candidates"] = (joined["candidate_count"] > 0).astype(int)
    expected = [
        *(["clv_90d", "clv_90d_low", "clv_90d_high"] if release.clv_dir else []),
        *(["churn_probability"] if release.churn_dir else []),
    ]
    joined["unanswered"] = joined[expected].isna().any(axis=1).astype(int) if expected else 0
    return joined


def publish_predictions(
    home: Home, features: Features, prediction: Prediction, erased: Erased = NOBODY
) -> dict[str, int]:
    """Replaces the files of this instant, then the online rows; returns the rows written for each view.

    Nothing is written of whoever was `erased` while this run was under way.
    """
    name = f"{prediction.as_of:%Y-%m-%d}.parquet"
    values = pa.Table.from_pandas(prediction.values, VALUE_SCHEMA, preserve_index=False)
    values = values.filter(pa.array(~erased.mask(values["user_id"])))
    candidates = prediction.candidates
    candidates = candidates.filter(pa.array(~erased.mask(candidates["user_id"])))
    _write(home.prediction("user_predictions") / name, values, KEPT_PREDICTIONS)
    # Only the newest: candidates of the past serve nobody, and are the largest file of all.
    _write(home.prediction("user_candidates") / name, candidates, 1)
    views = ["user_predictions", "user_candidates"]
    return materialize(features.open(), home, prediction.as_of, prediction.as_of, views, erased)


def _write(path: Path, table: pa.Table, kept: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    pq.write_table(table, temporary)
    temporary.replace(path)
    others = sorted(other for other in path.parent.glob("*.parquet") if other != path)
    for old in others[: max(0, len(others) + 1 - kept)]:
        old.unlink()
