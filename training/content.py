"""What a release says of editorial content and of goods' reputation: counts, none of them invented.

    content.parquet        the catalogue of pieces with their views and likes
    social_proof.parquet   for each item its buyers of the last 30 days and its ratings

Counts are of distinct visitors where the visitor is known. Both are as of the end of the data.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

CONTENT, SOCIAL_PROOF = "content", "social_proof"
"""Names of the two tables in a release."""

PROOF_DAYS, TREND_DAYS, RATING_DAYS = 30, 7, 365
CONTENT_COLUMNS = (
    "content_id",
    "kind",
    "title",
    "category",
    "tags",
    "published_at",
    "popularity",
    "season_month",
    "item_id",
    "author",
    "url",
)
_EVENTS = """
select event_type, user_id, item_id, event_at,
       coalesce(user_id, 'anonymous:' || anonymous_id, event_id) as visitor,
       json_extract_string(context, '$.content_id') as content_id,
       try_cast(json_extract_string(context, '$.rating') as double) as rating
from read_parquet($files, hive_partitioning = false)
where event_at >= $since and event_at < $until
  and event_type in ('purchase', 'rating', 'review', 'content_view', 'content_click', 'like')
"""
_COUNTED = """
select content_id,
       count(distinct visitor) filter (event_type <> 'like' and event_at >= $month) as views,
       count(distinct visitor) filter (event_type = 'like' and event_at >= $month) as likes,
       count(distinct visitor) filter (event_type <> 'like' and event_at >= $week) as recent_views
from acts where content_id is not null group by content_id
"""
_PROOF = """
select item_id,
       count(distinct user_id) filter (event_type = 'purchase' and event_at >= $month) as buyers,
       count(rating) filter (event_type in ('rating', 'review') and rating between 1 and 5) as ratings,
       avg(rating) filter (event_type in ('rating', 'review') and rating between 1 and 5) as rating
from acts where item_id is not null group by item_id
having buyers > 0 or ratings > 0 order by item_id
"""


def content_tables(content_file: Path, event_files: Sequence[Path], as_of: datetime) -> dict[str, pa.Table]:
    """The tables of a release, by name: content if there is a catalogue, social proof if there are events.

    `event_files`: landed days; those of the `RATING_DAYS` before `as_of` are enough.
    """
    tables: dict[str, pa.Table] = {}
    pieces = pq.read_table(content_file, columns=list(CONTENT_COLUMNS)) if content_file.is_file() else None
    with duckdb.connect() as database:
        database.execute("set TimeZone = 'UTC'")
        _read_acts(database, event_files, as_of)
        month, week = as_of - timedelta(days=PROOF_DAYS), as_of - timedelta(days=TREND_DAYS)
        proof = database.execute(_PROOF, {"month": month}).to_arrow_table()
        if proof.num_rows:
            tables[SOCIAL_PROOF] = proof
        if pieces is not None and pieces.num_rows:
            database.register("pieces", pieces)
            tables[CONTENT] = database.execute(
                "select pieces.*, coalesce(views, 0) as views, coalesce(likes, 0) as likes,"
                " coalesce(recent_views, 0) as recent_views"
                f" from pieces left join ({_COUNTED}) using (content_id)"
                " where published_at is null or published_at < $until order by content_id",
                {"month": month, "week": week, "until": as_of},
            ).to_arrow_table()
    return tables


def recent_event_files(events: Path, as_of: datetime, days: int = RATING_DAYS) -> list[Path]:
    """The landed files of the days before `as_of`, as landing names them."""
    first, last = (as_of - timedelta(days=days)).date(), as_of.date()
    return [
        path
        for path in sorted(events.glob("event_date=*/*.parquet"))
        if str(first) <= path.parent.name.removeprefix("event_date=") <= str(last)
    ]


def _read_acts(database: duckdb.DuckDBPyConnection, files: Sequence[Path], as_of: datetime) -> None:
    if not files:
        database.execute(
            "create temp table acts (event_type varchar, user_id varchar, visitor varchar, item_id varchar,"
            " event_at timestamptz, content_id varchar, rating double)"
        )
        return
    database.execute(
        f"create temp table acts as {_EVENTS}",
        {
            "files": [str(path) for path in files],
            "since": as_of - timedelta(days=RATING_DAYS),
            "until": as_of,
        },
    )
