"""Score every customer with the champions, and put the result where Feast reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.erasure import NOBODY, Erased
from feature_repo.layout import Home
from feature_repo.materialization import materialize
from feature_repo.predictions import write_predictions
from orchestration.completion import Scored, end_of, forget_scored, last_scored, note_scored
from orchestration.data import Data
from orchestration.interleaving import are_drafted, interleave
from orchestration.outlook import VIEW, Outlook, build_outlook, keep_clusters
from orchestration.releasing import built_release
from orchestration.resources import Features, Models
from orchestration.settings import Settings
from orchestration.training_runs import stored_recommender
from training.artifacts import Release
from training.candidates import CANDIDATE_SCHEMA, candidate_tables
from training.churn import read_churn, score_churn
from training.clv import read_clv, score_clv
from training.config import BlendConfig
from training.errors import NotEnoughData
from training.hybrid import HybridScorer
from training.interactions import Interactions
from training.recommenders import Recommender
from training.segments import value_segment
from training.updates import fingerprints, known_before, of_items, of_users
from training.value_config import SegmentConfig

KEPT_PREDICTIONS = 30
REFIT_DAYS = 7
"""So long a champion's sources stay as they were fitted, and only who did something is scored again."""
MARK = "fingerprint"
MARKS = "user_fingerprints"
COMPARED_EVERY_DAYS, COMPARED_DAYS = 10, 200
"""Predictions of a day in so many outlive the others, until what they foretold has come (`drifting`)."""
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
    ranked: Ranked
    checked: pd.DataFrame
    outlook: Outlook

    @property
    def candidates(self) -> pa.Table:
        return self.ranked.candidates


@dataclass(frozen=True)
class Ranked:
    """`candidates` of every user, of whom `rescored` were ranked in this run; `marks`: user_id, fingerprint.

    `scored` tells by which model, for the run that comes next.
    """

    candidates: pa.Table
    marks: pa.Table
    rescored: int
    scored: Scored


def predict(data: Data, settings: Settings, features: Features, models: Models) -> Prediction:
    """Values and candidates as of the end of the data, by the models of the release that waits."""
    return predict_with(built_release(data), data, settings, features, models)


def predict_with(
    release: Release, data: Data, settings: Settings, features: Features, models: Models
) -> Prediction:
    """The same, by the models of any release that is kept."""
    with ThreadPoolExecutor(1) as pool:  # neither needs anything of the other
        ranking = pool.submit(rank_and_interleave, data, settings, release, models)
        frame = features.scoring_frame(data.as_of)
        values = score_values(data, release, frame, settings.value_segments)
        outlook = build_outlook(data, settings, release, frame, values)
        ranked = ranking.result()
    checked = checked_frame(values, ranked.candidates, release)
    return Prediction(data.as_of, release.release_id, values, ranked, checked, outlook)


def score_values(
    data: Data, release: Release, frame: pd.DataFrame, limits: SegmentConfig | None = None
) -> pd.DataFrame:
    """Columns of VALUE_SCHEMA for each row of the scoring frame; what no champion predicts is null."""
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
        values["value_segment"] = value_segment(values["clv_90d"], values["churn_probability"], limits)
    values["clv_version"] = versions.get("clv")
    values["churn_version"] = versions.get("churn")
    return values


def rank_and_interleave(data: Data, settings: Settings, release: Release, models: Models) -> Ranked:
    """Every user's candidates; of some, drafted together with a refused challenger."""
    ranked = rank_candidates(data, release, models)
    share, seed = settings.interleaved_share, settings.seed
    return replace(ranked, candidates=interleave(ranked.candidates, data, models, share, seed))


def rank_candidates(data: Data, release: Release, models: Models) -> Ranked:
    """Every user with interactions, ranked by the champion on all they did.

    While the champion is the one that ranked last, and its sources were fitted at most `REFIT_DAYS` ago, only
    users whose interactions changed are ranked again; see `training.updates`.
    """
    registry = models.open()
    number = release.manifest.model_versions["collaborative"]
    version = registry.version("collaborative", number)
    recommender = stored_recommender(registry, version)
    interactions = data.interactions()
    marks = pa.table({"user_id": list(interactions.users.ids), MARK: fingerprints(interactions)})
    last = last_scored(data.home)
    if last is not None and last.version == number and recommender.recipe.plan is not None:
        before = _last_candidates(data.home, last)
        if before is not None and 0 <= (data.until - last.fitted_until).days <= REFIT_DAYS:
            with suppress(NotEnoughData):  # if none of the changed ever bought, everybody is ranked again
                return rank_changed(interactions, recommender, data, release.release_id, last, marks, *before)
    tables = candidate_tables(
        interactions,
        recommender.scorer(interactions, data.home.item_matrices),
        BlendConfig(),
        feature_at=data.as_of,
        release_id=release.release_id,
        generated_at=datetime.now(UTC),
    )
    candidates = pa.concat_tables(tables)
    return Ranked(candidates, marks, candidates.num_rows, Scored(number, data.until, data.until))


def rank_changed(
    interactions: Interactions,
    recommender: Recommender,
    data: Data,
    release_id: str,
    last: Scored,
    marks: pa.Table,
    candidates: pa.Table,
    old_marks: pa.Table,
) -> Ranked:
    """`candidates` as they were for whose mark is the old one, with new ones for everybody else.

    A list that two versions drafted is not kept: it is not the champion's.
    """
    old = dict(zip(old_marks["user_id"].to_pylist(), old_marks[MARK].to_pylist(), strict=True))
    known = set(candidates["user_id"].filter(pa.array(~are_drafted(candidates))).to_pylist())
    pairs = zip(marks["user_id"].to_pylist(), marks[MARK].to_pylist(), strict=True)
    is_same = np.array([user in known and old.get(user) == mark for user, mark in pairs], dtype=bool)
    same = marks["user_id"].filter(pa.array(is_same))
    kept = candidates.filter(pc.is_in(candidates["user_id"], same.combine_chunks()))
    for name, value in (("feature_at", data.as_of), ("release_id", release_id)):
        at = kept.schema.get_field_index(name)
        column = pa.array([value] * len(kept), type=kept.schema.field(at).type)
        kept = kept.set_column(at, kept.schema.field(at), column)
    tables = [kept.cast(CANDIDATE_SCHEMA)]
    changed = np.flatnonzero(~is_same)
    if len(changed):
        days = (data.until - last.fitted_until).days
        scorer = recommender.scorer(known_before(interactions, days), data.home.item_matrices)
        assert isinstance(scorer, HybridScorer)
        part = of_users(interactions, changed, days)
        part_known = of_items(part, scorer.interactions.items)
        tables += candidate_tables(
            part,
            scorer.for_users(part_known),
            BlendConfig(),
            feature_at=data.as_of,
            release_id=release_id,
            generated_at=datetime.now(UTC),
            known=part_known,
        )
    scored_now = Scored(last.version, last.fitted_until, data.until)
    return Ranked(pa.concat_tables(tables), marks, len(changed), scored_now)


def _last_candidates(home: Home, last: Scored) -> tuple[pa.Table, pa.Table] | None:
    """Candidates and marks of the last run, or None where erasure or a person removed the files."""
    name = f"{end_of(last.until):%Y-%m-%d}.parquet"
    paths = [home.prediction(table) / name for table in ("user_candidates", MARKS)]
    if not all(path.exists() for path in paths):
        return None
    return pq.read_table(paths[0], schema=CANDIDATE_SCHEMA), pq.read_table(paths[1])


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
    _write(home.prediction("user_predictions") / name, values, outdated_predictions)
    marks = prediction.ranked.marks
    marks = marks.filter(pa.array(~erased.mask(marks["user_id"])))
    # Without the note everybody is scored again: it speaks of files that are there whole, or is not there.
    forget_scored(home)
    # Only the newest: candidates of the past serve nobody, and are the largest file of all.
    _write(home.prediction("user_candidates") / name, candidates, all_but_the_newest)
    _write(home.prediction(MARKS) / name, marks, all_but_the_newest)
    note_scored(home, prediction.ranked.scored)
    outlook = prediction.outlook
    rows = outlook.rows.filter(pa.array(~erased.mask(outlook.rows["user_id"])))
    write_predictions(home, VIEW, rows, prediction.as_of, KEPT_PREDICTIONS)
    for kind, table in outlook.tables.items():
        if "user_id" in table.column_names:
            table = table.filter(pa.array(~erased.mask(table["user_id"])))
        _write(home.prediction(kind) / name, table, all_but_the_newest)
    keep_clusters(home, outlook)
    views = ["user_predictions", VIEW, "user_candidates"]
    return materialize(features.open(), home, prediction.as_of, prediction.as_of, views, erased)


def outdated_predictions(days: Collection[date]) -> list[date]:
    """The days whose predictions are no longer needed: neither recent nor kept for comparison."""
    older = sorted(days)[:-KEPT_PREDICTIONS]
    oldest = max(days) - timedelta(days=COMPARED_DAYS)
    return [day for day in older if day.toordinal() % COMPARED_EVERY_DAYS or day < oldest]


def all_but_the_newest(days: Collection[date]) -> list[date]:
    """Of what serves nobody once there is something newer."""
    return sorted(days)[:-1]


def _write(path: Path, table: pa.Table, outdated: Callable[[Collection[date]], list[date]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    pq.write_table(table, temporary)
    temporary.replace(path)
    for day in outdated({date.fromisoformat(each.stem) for each in path.parent.glob("[!.]*.parquet")}):
        path.with_name(f"{day.isoformat()}.parquet").unlink()
