"""Tracking: one core, under every name that the documents give it.

Bodies are parsed here and read by `feature_repo.single_event` instead of models: this path carries every act
of every visitor.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request

from feature_repo.single_event import EventRefused, read_id
from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import Problem
from serving.api.schemas.tracking import (
    MAX_BATCH_EVENTS,
    BatchTrackAnswer,
    ProcessedAnswer,
    TrackAnswer,
    batch_body,
    event_body,
)
from serving.people.permissions import Signals
from serving.recommendations.ask import RecommendAsk
from serving.tracking import (
    ACCEPTED,
    CONFLICT,
    DUPLICATE,
    NOT_TRACKED,
    REFUSED,
    Outcome,
    row_of,
)

router = APIRouter(tags=["tracking"])

TRACK, TRACK_BATCH = "/api/v1/behavior/track", "/api/v1/behavior/track/batch"
SUBJECT = ("body.user_id", "body.customer_id", "body.data.user_id", "body.data.customer_id")
BATCH_SUBJECT = tuple(place.replace("body.", "body.events[].") for place in SUBJECT)
COMPATIBLE = f"Compatible spelling of `POST {TRACK}`."
SHOWN_ITEMS = 10
PROBLEMS: dict[int | str, dict[str, Any]] = {
    202: {"model": TrackAnswer, "description": "The visitor may not be tracked: nothing was stored"},
    409: {"model": Problem, "description": "Another event has this event_id"},
    422: {"model": Problem, "description": "The event breaks the contract"},
    503: {"model": Problem, "description": "The event log is away: send it again in a second"},
}


class _BodyRefused(Exception):
    """A body of which no event can be made."""


def _documented(rule: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Access rule and request body in one `openapi_extra`."""
    return {"openapi_extra": rule["openapi_extra"] | body}


def _event_route(*required: str, **example: Any) -> dict[str, Any]:
    """What the routes of one event share; `example` in the route's own spelling."""
    changes: dict[str, Any] = {"required": list(required)}
    if example:
        changes["examples"] = [example]
    return {
        "response_model": TrackAnswer,
        "status_code": 201,
        "responses": PROBLEMS,
        **_documented(access(Role.WRITE, *SUBJECT), event_body(**changes)),
    }


@router.post(TRACK, summary="Track one act of a visitor", **_event_route("event_type"))
async def track(request: Request) -> JsonAnswer:
    """Answers once the event is durable. With an `event_id` of yours it may be sent again: it counts once.

    The same id with another body is a conflict. A visitor who may not be tracked gets 202, `tracked` false,
    and nothing is stored.
    """
    return await _track_one(request, {})


@router.post(
    TRACK_BATCH,
    summary=f"Track up to {MAX_BATCH_EVENTS} acts",
    response_model=BatchTrackAnswer,
    responses={422: {"model": Problem}, 503: {"model": Problem}},
    **_documented(access(Role.WRITE, *BATCH_SUBJECT), batch_body()),
)
async def track_batch(request: Request) -> JsonAnswer:
    """Each event by itself: what can be accepted is durable with the answer, the others say what is wrong."""
    try:
        events = _object(await request.body()).get("events")
        if type(events) is not list or not 1 <= len(events) <= MAX_BATCH_EVENTS:
            size = len(events) if type(events) is list else "no list"
            raise _BodyRefused(f"events={size} cannot be used: send a list of 1 to {MAX_BATCH_EVENTS} events")
    except _BodyRefused as problem:
        return JsonAnswer({"detail": str(problem)}, status_code=422)
    outcomes: list[Outcome | None] = []
    rows: list[dict[str, Any]] = []
    for event in events:
        try:
            rows.append(_row(event, {}))
            outcomes.append(None)
        except EventRefused as refused:
            outcomes.append(Outcome.refusal(refused))
    tracked = iter(await running(request).tracker.track(rows, Signals.of(request.scope), TRACK_BATCH))
    complete = [outcome or next(tracked) for outcome in outcomes]
    return JsonAnswer(_batch_answer(complete))


@router.post(
    "/analytics/track-activity",
    summary="Track an activity",
    description=COMPATIBLE,
    tags=["compatible"],
    **_event_route(
        "activity_type",
        user_id="user_123",
        activity_type="ADD_TO_CART",
        product_id="prod_456",
        context={"device_type": "mobile", "browser": "firefox", "scroll_depth": 0.8},
    ),
)
async def track_activity(request: Request) -> JsonAnswer:
    """`activity_type` says what was done."""
    return await _track_one(request, {})


@router.post(
    "/api/v1/interactions",
    summary="Track an interaction",
    description=COMPATIBLE,
    tags=["compatible"],
    **_event_route(
        "event_type",
        customer_id="12345",
        event_type="click",
        item_id="product_789",
        timestamp="2026-01-31T12:00:00Z",
    ),
)
async def track_interaction(request: Request) -> JsonAnswer:
    """`customer_id` and `item_id`, as the documents of interactions have it."""
    return await _track_one(request, {})


@router.post(
    "/api/v1/personalization/track-behavior",
    summary="Track a behaviour",
    description=COMPATIBLE,
    tags=["compatible"],
    **_event_route(
        "behavior_type",
        customer_id=12345,
        behavior_type="product_viewed",
        data={"product_id": "prod_456"},
    ),
)
async def track_behavior(request: Request) -> JsonAnswer:
    """`data` holds the other fields of the event."""
    return await _track_one(request, {})


@router.post(
    "/customer/update-behavior",
    summary="Track browsing or a purchase of a customer",
    description=COMPATIBLE,
    tags=["compatible"],
    **_event_route("behavior_type", customer_id="12345", behavior_type="browsing", item_id="prod_456"),
)
async def update_behavior(request: Request) -> JsonAnswer:
    """`behavior_type` is `browsing`, `purchase` or any other event type."""
    return await _track_one(request, {})


def _processing_route(**example: Any) -> dict[str, Any]:
    documented = _event_route("customer_id", **example)
    return documented | {"response_model": ProcessedAnswer, "tags": ["compatible"]}


@router.post(
    "/recommendations/process-browsing",
    summary="Track what a customer looked at, and recommend",
    description=f"{COMPATIBLE} Answers what to show next, which knows the event already.",
    **_processing_route(customer_id="12345", product_id="prod_456", category="electronics"),
)
async def process_browsing(request: Request) -> JsonAnswer:
    """A product view, or a visit of a category where no product is named."""
    return await _track_one(request, {"event_type": "product_view"}, answers_items=True)


@router.post(
    "/recommendations/process-purchase",
    summary="Track a purchase, and recommend",
    description=f"{COMPATIBLE} Answers what to show next, which knows the event already.",
    **_processing_route(customer_id="12345", product_id="prod_456", quantity=1, price=19.9),
)
async def process_purchase(request: Request) -> JsonAnswer:
    """One line of an order; the quantity is 1 if it is not given."""
    return await _track_one(request, {"event_type": "purchase", "quantity": 1}, answers_items=True)


async def _track_one(
    request: Request, defaults: Mapping[str, Any], answers_items: bool = False
) -> JsonAnswer:
    signals = Signals.of(request.scope)
    try:
        row = _row(_object(await request.body()), defaults)
    except (_BodyRefused, EventRefused) as problem:
        return JsonAnswer({"detail": str(problem)}, status_code=422)
    runtime = running(request)
    [outcome] = await runtime.tracker.track([row], signals, request.scope["route"].path)
    if outcome.status == REFUSED:
        return JsonAnswer({"detail": outcome.detail}, status_code=409 if outcome.reason == CONFLICT else 422)
    answer: dict[str, Any] = {
        "event_id": outcome.event_id,
        "tracked": outcome.status != NOT_TRACKED,
        "status": NOT_TRACKED if outcome.status == NOT_TRACKED else ACCEPTED,
    }
    if outcome.reason is not None:
        answer["reason"] = outcome.reason
    if answers_items:
        ask = RecommendAsk(_visitor_of(row), SHOWN_ITEMS, signals=signals)
        answer = await runtime.personalizer.recommend(ask) | answer
    return JsonAnswer(answer, status_code=202 if outcome.status == NOT_TRACKED else 201)


def _visitor_of(row: Mapping[str, Any]) -> str | None:
    """Who acted, of an event that keeps the contract."""
    return read_id("user_id", row.get("user_id")) or read_id("anonymous_id", row.get("anonymous_id"))


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _BodyRefused(f"the body is not JSON: {error.msg}") from None
    if type(parsed) is not dict:
        raise _BodyRefused("the body is no JSON object: send one with the fields of the event")
    return parsed


def _row(event: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The contract's fields of one event, with what its route takes for granted."""
    if type(event) is not dict:
        raise EventRefused("bad_event", "event", event, "send an object with the fields of the event")
    row = row_of(event)
    for name, value in defaults.items():
        if row.get(name) is None:
            row[name] = value
    if row.get("item_id") is None and row.get("event_type") == "product_view" and "event_type" in defaults:
        row["event_type"] = "category_browse"
    return row


def _batch_answer(outcomes: list[Outcome]) -> dict[str, Any]:
    counts = Counter(outcome.status for outcome in outcomes)
    return {
        "accepted": counts[ACCEPTED],
        "duplicate": counts[DUPLICATE],
        "refused": counts[REFUSED],
        "not_tracked": counts[NOT_TRACKED],
        "results": [_batch_line(index, outcome) for index, outcome in enumerate(outcomes)],
    }


def _batch_line(index: int, outcome: Outcome) -> dict[str, Any]:
    line: dict[str, Any] = {"index": index, "status": outcome.status, "event_id": outcome.event_id}
    if outcome.reason is not None:
        line["reason"] = outcome.reason
    if outcome.field is not None:
        line |= {"field": outcome.field, "value": outcome.value, "remedy": outcome.remedy}
    return line
