"""Published marts and predictions as Feast sources.

Paths are relative to ATTUNE_HOME and equal to those of `layout.Home`; the offline store resolves them, so one
set of definitions serves every home. Every source is a folder of flat Parquet files with one row per entity
and `feature_at`, the instant from which the row is known (event days: the end of the day).
"""

from __future__ import annotations

from pathlib import Path

from feast import FileSource, PushSource
from feast.data_format import ParquetFormat

from feature_repo.entities import OWNER
from feature_repo.layout import Home

FEATURE_AT = "feature_at"

_HERE = Home(Path())


def _source(name: str, pattern: str, description: str) -> FileSource:
    return FileSource(
        name=name,
        path=pattern,
        file_format=ParquetFormat(),
        timestamp_field=FEATURE_AT,
        description=description,
        owner=OWNER,
    )


user_features_source = _source(
    "user_features",
    _HERE.mart_glob("user_features"),
    "One row per user and active day, as known at the end of that day.",
)

item_features_source = _source(
    "item_features",
    _HERE.mart_glob("item_features"),
    "One row per item and active day, as known at the end of that day.",
)

user_predictions_source = _source(
    "user_predictions",
    _HERE.prediction_glob("user_predictions"),
    "One row per scored user and scoring instant.",
)

user_outlook_source = _source(
    "user_outlook",
    _HERE.prediction_glob("user_outlook"),
    "One row per scored user and scoring instant.",
)

user_candidates_source = _source(
    "user_candidates",
    _HERE.prediction_glob("user_candidates"),
    "One row per user with candidates and scoring instant.",
)

user_live_source = PushSource(
    name="user_live",
    batch_source=_source(
        "user_live_files",
        str(_HERE.live_features / "*.parquet"),
        "No files: rows are derived from the event log, which can derive them again.",
    ),
    description="One row per visitor and push, as known at the instant of the log that it was derived from.",
    owner=OWNER,
)
