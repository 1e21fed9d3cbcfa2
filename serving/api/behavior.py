"""What somebody did, what that says, and who an anonymous visitor is."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from feature_repo.events import UnknownEventType, canonical_event_type
from feature_repo.online_store import microseconds_of
from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.behavior import MAX_PAGE, HistoryAnswer, Identify, IdentifyAnswer, InsightsAnswer
from serving.api.schemas.common import CustomerId, Problem
from serving.errors import InvalidField
from serving.people.permissions import Signals

router = APIRouter(prefix="/api/v1", tags=["behavior"])

PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem},
    503: {"model": Problem, "description": "The operational store is away: come again in a second"},
}
UserPath = Annotated[CustomerId, Path(examples=["u1"])]


@router.get(
    "/behavior/{user_id}/history",
    response_model=HistoryAnswer,
    response_model_exclude_none=True,
    responses=PROBLEMS,
    summary="What somebody did, latest first",
    **access(Role.READ, "path.user_id"),
)
async def history(
    request: Request,
    user_id: UserPath,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Events on a page")] = 100,
    cursor: Annotated[str | None, Query(max_length=600, description="`next_cursor` of the last page")] = None,
    event_type: Annotated[
        list[str] | None, Query(max_length=20, description="Only these types", examples=[["product_view"]])
    ] = None,
    start: Annotated[datetime | None, Query(alias="from", description="From this instant on")] = None,
    end: Annotated[datetime | None, Query(alias="to", description="Before this instant")] = None,
) -> JsonAnswer:
    """Includes what was done before signing in, and for known customers what the batch has landed.

    A page of nothing is no error: of a stranger, nothing is known.
    """
    types = [_event_type(name) for name in event_type or ()]
    answer = await running(request).history.page(
        user_id, limit, cursor, types, _micros("from", start), _micros("to", end)
    )
    return JsonAnswer(answer)


@router.get(
    "/behavior/{user_id}/insights",
    response_model=InsightsAnswer,
    responses=PROBLEMS,
    summary="Habits: when, how often, on what, and what is unusual",
    **access(Role.READ, "path.user_id"),
)
async def insights(request: Request, user_id: UserPath) -> JsonAnswer:
    """Nothing is invented: what cannot be known is empty and says why. Hours and weekdays are UTC."""
    return JsonAnswer(await running(request).insights.insights(user_id))


@router.post(
    "/identify",
    response_model=IdentifyAnswer,
    responses=PROBLEMS | {409: {"model": Problem, "description": "The visitor is another customer already"}},
    summary="Join an anonymous visitor with the customer they turned out to be",
    **access(Role.WRITE, "body.user_id", "body.customer_id"),
)
async def identify(request: Request, body: Identify) -> JsonAnswer:
    """Once, and the same again changes nothing; from then on the visitor's acts are the customer's.

    The first link stands: on a shared device, give the browser a new anonymous id when somebody signs out.
    Who may not be tracked is not joined, and the answer says why.
    """
    if body.anonymous_id == body.user_id:
        raise InvalidField("anonymous_id", body.anonymous_id, "it is the user_id; give the visitor's own id")
    parts, signals = running(request), Signals.of(request.scope)
    for visitor_id in (body.user_id, body.anonymous_id):
        permissions = parts.consent.permissions(visitor_id, signals)
        if not permissions.tracking:
            return JsonAnswer(_identified(body, linked=False, is_new=False, reason=permissions.reason))
    link = await parts.identities.link(body.anonymous_id, body.user_id)
    return JsonAnswer(_identified(body, linked=True, is_new=link.is_new, reason=None))


def _identified(body: Identify, *, linked: bool, is_new: bool, reason: str | None) -> dict[str, Any]:
    return {
        "anonymous_id": body.anonymous_id,
        "user_id": body.user_id,
        "linked": linked,
        "is_new": is_new,
        "reason": reason,
    }


def _event_type(name: str) -> str:
    try:
        return canonical_event_type(name)
    except UnknownEventType as error:
        raise InvalidField("event_type", name[:80], str(error)) from None


def _micros(name: str, at: datetime | None) -> int | None:
    if at is None:
        return None
    try:
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        raise InvalidField(name, at.isoformat(), "use an instant between the years 1970 and 9999") from None
    return min(max(0, microseconds_of(at)), 253_402_214_400_000_000)
