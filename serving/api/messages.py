"""E-mails and the time to send messages."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.commerce import (
    Channel,
    EmailAnswer,
    EmailRequest,
    SegmentEmailAnswer,
    SendTimeAnswer,
    TimeZone,
)
from serving.api.schemas.common import CustomerId, Problem
from serving.people.permissions import Signals

router = APIRouter(prefix="/api/v1/personalize", tags=["messages"])


@router.post(
    "/email/segments/{segment_id}",
    response_model=SegmentEmailAnswer,
    responses={422: {"model": Problem}},
    summary="The e-mail for a value segment",
    **access(Role.READ),
)
async def segment_email(
    request: Request,
    segment_id: Annotated[CustomerId, Path(examples=["at_risk"])],
    body: EmailRequest | None = None,
) -> JsonAnswer:
    """Composed of what the segment buys. Ask for each recipient's consent when sending it."""
    body = body or EmailRequest()
    core = running(request).storefront.messages
    return JsonAnswer(await core.segment_email(segment_id, body.rules(), body.grid_items, body.articles))


@router.post(
    "/email/{user_id}",
    response_model=EmailAnswer,
    responses={422: {"model": Problem}},
    summary="The e-mail for one customer",
    **access(Role.READ, "path.user_id"),
)
async def email(
    request: Request,
    user_id: Annotated[CustomerId, Path(examples=["42"])],
    body: EmailRequest | None = None,
) -> JsonAnswer:
    """Subject, hero, grid, articles and social proof. Without consent `send` is false and there is none."""
    body = body or EmailRequest()
    core = running(request).storefront.messages
    signals = Signals.of(request.scope)
    return JsonAnswer(await core.email(user_id, signals, body.rules(), body.grid_items, body.articles))


@router.get(
    "/send-time/{user_id}",
    response_model=SendTimeAnswer,
    responses={422: {"model": Problem}},
    summary="When to send one customer a message",
    **access(Role.READ, "path.user_id"),
)
async def send_time(
    request: Request,
    user_id: Annotated[CustomerId, Path(examples=["42"])],
    channel: Annotated[Channel, Query()] = "email",
    timezone: Annotated[TimeZone | None, Query(examples=["Europe/Lisbon"])] = None,
) -> JsonAnswer:
    """The best hour of the next day, outside quiet hours and below the weekly cap; consent comes first."""
    core = running(request).storefront.messages
    return JsonAnswer(await core.send_time(user_id, Signals.of(request.scope), channel, timezone))
