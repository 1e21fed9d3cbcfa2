"""What somebody did, what that says, and who an anonymous visitor is."""

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from serving.api.schemas.closed import Closed
from serving.api.schemas.common import CustomerId, Provenance

MAX_PAGE = 500


class PastEvent(BaseModel):
    """One event; fields of the contract that it does not have are left out."""

    model_config = ConfigDict(extra="allow")

    event_id: str
    event_type: str
    timestamp: str = Field(description="When it happened, UTC")
    item_id: str | None = None
    anonymous_id: str | None = Field(default=None, description="Given if it was done before signing in")
    context: dict[str, Any] | None = None


class HistoryAnswer(BaseModel):
    """A page of somebody's events, latest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "user_id": "u1",
                "events": [
                    {
                        "event_id": "0190b0c4-5a3e-7000-8000-000000000001",
                        "event_type": "product_view",
                        "timestamp": "2026-11-20T18:03:11.250000+00:00",
                        "item_id": "p42",
                        "channel": "web",
                    }
                ],
                "next_cursor": None,
                "since": "2025-03-01T00:00:00+00:00",
                "sources": ["event_log", "batch"],
            }
        }
    )

    user_id: str
    events: list[PastEvent]
    next_cursor: str | None = Field(description="Ask for the next page with it; null on the last one")
    since: str | None = Field(description="From this instant on nothing is missing")
    sources: list[str] = Field(description="What was read: event_log, and batch if landed events are here")


class Identify(Closed):
    """Who an anonymous visitor turned out to be."""

    model_config = ConfigDict(json_schema_extra={"example": {"anonymous_id": "a-7f3", "user_id": "u1"}})

    anonymous_id: CustomerId = Field(description="The id that the application gave the browser or device")
    user_id: CustomerId = Field(validation_alias=AliasChoices("user_id", "customer_id"))


class IdentifyAnswer(BaseModel):
    """What became of the link."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "anonymous_id": "a-7f3",
                "user_id": "u1",
                "linked": True,
                "is_new": True,
                "reason": None,
            }
        }
    )

    anonymous_id: str
    user_id: str
    linked: bool = Field(description="Whether both are one person from now on")
    is_new: bool = Field(description="False if they were joined before")
    reason: str | None = Field(description="Why they are not joined: what forbids tracking")


class Share(BaseModel):
    """How often one value occurs."""

    value: str
    share: float
    count: int | None = None


class Shares(BaseModel):
    """The most frequent values, at most five; empty with the reason why."""

    top: list[Share]
    reason: str | None


class Frequency(BaseModel):
    """How often somebody comes and orders; null where it cannot be known."""

    event_count: int
    active_days: int
    sessions: int
    order_count: int
    events_per_active_day: float | None
    mean_days_between_visits: float | None
    mean_days_between_orders: float | None
    reason: str | None


class PriceSensitivity(BaseModel):
    """What was chosen, not why: shares of purchases at a discount and from the cheapest third."""

    level: str | None = Field(description="budget, regular or premium")
    discounted_share: float | None = Field(description="Bought at less than 97 % of the list price")
    low_price_share: float | None = Field(description="List price in the lowest third of the catalogue")
    purchases: int
    reason: str | None


class Trend(BaseModel):
    """The last seven days against the mean week of the four before."""

    direction: str | None = Field(description="rising, steady or falling")
    last_week: int
    mean_week_before: float
    reason: str | None


class Engagement(BaseModel):
    """The larger of the live score (feature_repo/live.py) and the batch's, 0 to 1, and where it is going."""

    score: float | None
    reason: str | None
    trend: Trend


class Anomaly(BaseModel):
    """A day unlike the customer's own past."""

    measure: str = Field(description="acts_a_day, items_a_day, spend_a_day or new_device")
    day: str
    value: float | str
    typical: float | None
    z: float | None = Field(description="Robust z-score against the days before; beyond 3.5 it is shown")


class Anomalies(BaseModel):
    """What was found; none with the reason why if nothing can be said."""

    found: list[Anomaly]
    reason: str | None


class LiveItem(BaseModel):
    """One recent act on an item."""

    item_id: str
    event_type: str
    timestamp: str


class LiveSession(BaseModel):
    """The latest session; it ends after half an hour without an act."""

    session_id: str | None
    started_at: str | None
    event_count: int


class Live(BaseModel):
    """What was done since the last batch."""

    recent: list[LiveItem]
    session: LiveSession
    counts: dict[str, int] = Field(description="Acts by type since `counts_since`")
    counts_since: str
    searches: list[str]
    categories: list[str]
    last_event_at: str
    engagement_score: float
    significance: float = Field(description="Of the latest act; above 0.8 it changes what is shown")


class InsightsAnswer(Provenance):
    """Habits of one person. What cannot be known is null or empty, with the reason."""

    user_id: str
    is_known: bool
    as_of: str = Field(description="The instant that recent means: the end of the data, or the latest act")
    frequency: Frequency
    preferred_hours: Shares
    preferred_weekdays: Shares
    devices: Shares
    channels: Shares
    categories: Shares
    brands: Shares
    price_sensitivity: PriceSensitivity
    engagement: Engagement
    anomalies: Anomalies
    live: Live | None
    totals: dict[str, Any] | None = Field(description="What the batch counted; null if it does not know them")
    events_considered: int
    since: str | None
    sources: list[str]
    degraded: list[str] = Field(description="What could not be read, and is missing here")
