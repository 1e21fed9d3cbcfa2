"""Tracking. Requests are read by `feature_repo.single_event`, for speed; these models document them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from feature_repo.events import CHANNELS, DEVICE_TYPES, EVENT_TYPES

MAX_BATCH_EVENTS = 500
PRODUCT_VIEW: dict[str, Any] = {
    "user_id": "user_123",
    "event_type": "product_view",
    "product_id": "prod_456",
    "timestamp": "2026-01-31T10:30:00Z",
    "session_id": "s_1",
    "context": {"device_type": "mobile", "location": "PT", "time_spent": 12.5, "scroll_depth": 0.8},
}
PURCHASE: dict[str, Any] = {
    "event_id": "order-881-line-1",
    "user_id": "user_123",
    "event_type": "purchase",
    "order_id": "order-881",
    "product_id": "prod_456",
    "quantity": 2,
    "price": 19.9,
    "currency": "EUR",
    "recommendation_id": "r_7f3a",
}


class EventRequest(BaseModel):
    """One act of one visitor. Fields that are not listed go into `context`."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [PRODUCT_VIEW, PURCHASE]})

    event_id: str | int | None = Field(
        default=None, description="Yours, if you may send it again: it counts once. Else one is made"
    )
    event_type: str = Field(
        description=f"One of {', '.join(EVENT_TYPES)}; other spellings such as `view` are understood"
    )
    user_id: str | int | None = Field(default=None, description="The customer; also `customer_id`")
    anonymous_id: str | int | None = Field(
        default=None, description="The visitor while nobody has signed in; with `user_id` it links the two"
    )
    item_id: str | int | None = Field(default=None, description="The product; also `product_id`")
    timestamp: str | None = Field(
        default=None,
        description="ISO 8601, UTC unless it says otherwise, at most an hour ahead; omitted: now",
    )
    session_id: str | int | None = None
    channel: str | None = Field(default=None, description=f"One of {', '.join(CHANNELS)}; omitted: web")
    device_type: str | None = Field(default=None, description=f"One of {', '.join(DEVICE_TYPES)}")
    order_id: str | int | None = Field(default=None, description="Groups the lines of a purchase")
    quantity: float | str | None = Field(default=None, description="Units, above 0")
    price: float | str | None = Field(default=None, description="Per unit, in `currency`")
    currency: str | None = Field(default=None, description="Three letters, ISO 4217")
    query: str | None = Field(default=None, description="The words of a search")
    recommendation_id: str | int | None = Field(default=None, description="Of the answer that led here")
    campaign_id: str | int | None = None
    experiment_id: str | int | None = None
    context: dict[str, Any] | None = Field(default=None, description="Whatever else the channel knows")


class TrackAnswer(BaseModel):
    """What became of an event; the same however often it is sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"event_id": "order-881-line-1", "tracked": True, "status": "accepted"}]
        }
    )

    event_id: str | None = Field(description="Null where nothing was stored")
    tracked: bool
    status: str = Field(description="accepted, or not_tracked")
    reason: str | None = Field(default=None, description="What forbids tracking, such as do_not_track")


class TrackedEvent(BaseModel):
    """What became of one event of a batch."""

    index: int
    status: str = Field(description="accepted, duplicate (it was sent before), refused or not_tracked")
    event_id: str | None
    reason: str | None = Field(default=None, description="The rule that it breaks, or what forbids tracking")
    field: str | None = None
    value: str | None = None
    remedy: str | None = None


class BatchTrackAnswer(BaseModel):
    """What became of each event, in the order sent."""

    accepted: int
    duplicate: int
    refused: int
    not_tracked: int
    results: list[TrackedEvent]


class ProcessedAnswer(TrackAnswer):
    """What became of an event, and what to show next. Other fields as `GET /api/v1/recommendations/{id}`."""

    model_config = ConfigDict(extra="allow")

    customer_id: str | None
    recommendation_id: str | None = None
    recommendations: list[dict[str, Any]]


def event_body(**changes: Any) -> dict[str, Any]:
    """The OpenAPI request body of one event; `changes` rename fields or give examples."""
    return _json_body(EventRequest.model_json_schema() | changes)


def batch_body() -> dict[str, Any]:
    """The OpenAPI request body of a batch."""
    events = {
        "type": "array",
        "items": EventRequest.model_json_schema(),
        "minItems": 1,
        "maxItems": MAX_BATCH_EVENTS,
    }
    return _json_body(
        {
            "type": "object",
            "title": "EventBatch",
            "required": ["events"],
            "properties": {"events": events},
            "examples": [{"events": [PRODUCT_VIEW, PURCHASE]}],
        }
    )


def _json_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
