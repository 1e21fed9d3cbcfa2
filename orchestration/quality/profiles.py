"""What a suite looks at where looking at every row would cost too much: one row of counts per day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import duckdb
import pandas as pd

from feature_repo.events import EVENT_TYPES
from feature_repo.layout import Home
from orchestration.landed import events_path
from orchestration.landing import LandedDay

_PROFILE = """
    select
        cast(event_date as varchar) as event_date,
        count(*) as row_count,
        count(*) filter (
            event_id is null or event_type is null or event_at is null or received_at is null
            or channel is null
        ) as null_keys,
        count(*) - count(distinct event_id) as duplicate_ids,
        count(*) filter (not list_contains($types, event_type)) as unknown_types,
        count(*) filter (cast(event_at at time zone 'UTC' as date) <> cast(event_date as date)) as misplaced,
        count(*) filter (quantity <= 0 or price < 0 or isnan(price) or isinf(price)) as bad_amounts,
        count(*) filter (
            event_type = 'purchase' and (item_id is null or quantity is null or price is null)
        ) as incomplete_purchases
    from read_parquet($files, hive_partitioning = true, hive_types = {'event_date': varchar})
    group by all
    order by event_date
"""
COUNTS = ("null_keys", "duplicate_ids", "unknown_types", "misplaced", "bad_amounts", "incomplete_purchases")


def profile_events(home: Home, landed: Sequence[LandedDay]) -> pd.DataFrame:
    """One row per landed day: counts of broken rows, share quarantined, size against the median day.

    Counting is done on the files by DuckDB, so memory does not grow with the number of events.
    """
    files = [events_path(home, day.source, day.day) for day in landed]
    present = [str(path) for path in files if path.is_file()]
    if not present:
        return pd.DataFrame(
            columns=["event_date", "row_count", *COUNTS, "quarantined_share", "share_of_median"]
        )
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; set threads = 2")
        found = connection.execute(_PROFILE, {"types": sorted(EVENT_TYPES), "files": present}).df()
    frame = _days_frame(landed).merge(found, on="event_date", how="left")
    counts = ["row_count", *COUNTS]
    frame[counts] = frame[counts].fillna(0).astype("int64")
    seen = (frame["row_count"] + frame["quarantined"]).clip(lower=1)
    frame["quarantined_share"] = frame["quarantined"] / seen
    frame["share_of_median"] = frame["row_count"] / max(float(frame["row_count"].median()), 1.0)
    return frame


def _days_frame(landed: Sequence[LandedDay]) -> pd.DataFrame:
    rows: list[tuple[str, date, int]] = [
        (str(day.day), day.day, day.quarantined) for day in landed if not day.empty
    ]
    frame = pd.DataFrame(rows, columns=["event_date", "day", "quarantined"])
    return frame.groupby(["event_date", "day"], as_index=False).agg({"quarantined": "sum"})
