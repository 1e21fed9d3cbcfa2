"""The view that the service pushes to: what a visitor did since the last batch.

Rows come from the event log alone (`live`), never from a file: materializing skips this view, training does
not read it. `feature_at` is the instant of the log that a row was derived from, so of two writers the one
that saw more wins. Instants that must be exact are microseconds since 1970: Feast's are whole seconds.
"""

from __future__ import annotations

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Array, Float64, Int64, String, UnixTimestamp

from feature_repo.entities import OWNER, USER_ID, user
from feature_repo.sources import FEATURE_AT, user_live_source

# What a visitor did weeks ago is in the batch, or was an anonymous visit that nobody came back to.
LIVE_EXPIRES = timedelta(days=30)

user_live = FeatureView(
    name="user_live",
    entities=[user],
    ttl=LIVE_EXPIRES,
    source=user_live_source,
    schema=[
        Field(name=USER_ID, dtype=String),
        Field(name=FEATURE_AT, dtype=UnixTimestamp, description="Instant of the log that the row is of."),
        Field(name="recent_items", dtype=Array(String), description="At most 50 items, latest first."),
        Field(name="recent_types", dtype=Array(String), description="Type of the act on each of them."),
        Field(name="recent_us", dtype=Array(Int64), description="Instant of each act, microseconds."),
        Field(name="session_id", dtype=String, description="Of the latest session, given or derived."),
        Field(name="session_started_us", dtype=Int64, description="Microseconds."),
        Field(name="session_event_count", dtype=Int64, description="Acts of the latest session."),
        Field(name="count_types", dtype=Array(String), description="Types acted since the batch."),
        Field(name="count_values", dtype=Array(Int64), description="Acts of each of these types."),
        Field(name="counts_since_us", dtype=Int64, description="End of the batch, microseconds."),
        Field(name="searches", dtype=Array(String), description="At most 10 queries, latest first."),
        Field(name="categories", dtype=Array(String), description="At most 10, latest first."),
        Field(name="last_event_us", dtype=Int64, description="Instant of the latest act, microseconds."),
        Field(name="engagement_score", dtype=Float64, description="0 to 1; formula in feature_repo/live.py."),
        Field(name="significance", dtype=Float64, description="Of the latest act; formula as above."),
        Field(name="sequence", dtype=Int64, description="Largest sequence of the log among the acts."),
    ],
    description="What a visitor did since the last batch, within a second of the act.",
    tags={"ttl_reason": "by then the batch knows, or the visitor is gone"},
    owner=OWNER,
)
