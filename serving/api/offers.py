"""Offers, loyalty offers, and what became of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.commerce import (
    LoyaltyRequest,
    OfferAnswer,
    OfferPerformanceAnswer,
    OfferPerformanceRequest,
    OfferRequest,
)
from serving.api.schemas.common import CustomerId, Problem
from serving.pages.offers import LOYALTY_KIND
from serving.people.permissions import Signals

router = APIRouter(prefix="/api/v1", tags=["offers"])

STORED: dict[int | str, dict[str, Any]] = {422: {"model": Problem}, 503: {"model": Problem}}


@router.post(
    "/offers/{user_id}",
    response_model=OfferAnswer,
    responses={422: {"model": Problem}},
    summary="Offers for one customer",
    **access(Role.READ, "path.user_id"),
)
async def offers(
    request: Request,
    user_id: Annotated[CustomerId, Path(examples=["42"])],
    body: OfferRequest | None = None,
) -> JsonAnswer:
    """Discounts keep the margin floor and need a known cost. Without personalization there are none."""
    body = body or OfferRequest()
    core = running(request).storefront.offers
    answer = await core.offers(
        user_id,
        Signals.of(request.scope),
        body.offer_types,
        body.personalization_factors.model_dump(),
        body.limit,
    )
    return JsonAnswer(answer)


@router.post(
    "/loyalty/offers/{user_id}",
    response_model=OfferAnswer,
    responses={422: {"model": Problem}},
    summary="Loyalty offers for one customer",
    **access(Role.READ, "path.user_id"),
)
async def loyalty_offers(
    request: Request,
    user_id: Annotated[CustomerId, Path(examples=["42"])],
    body: LoyaltyRequest | None = None,
) -> JsonAnswer:
    """Discounts, category bonuses, rewards and early access, by the customer's tier."""
    body = body or LoyaltyRequest()
    core = running(request).storefront.offers
    answer = await core.offers(
        user_id,
        Signals.of(request.scope),
        body.offer_types,
        body.personalization_factors.model_dump(),
        body.limit,
        body.customer_tier,
        LOYALTY_KIND,
    )
    return JsonAnswer(answer)


@router.post(
    "/offers/{offer_id}/performance",
    status_code=202,
    response_model=OfferPerformanceAnswer,
    responses=STORED,
    summary="What a customer did with an offer",
    **access(Role.WRITE, "body.customer_id", "body.user_id"),
)
async def performance(
    request: Request, offer_id: Annotated[CustomerId, Path()], body: OfferPerformanceRequest
) -> JsonAnswer:
    """Stored as an `offer_view`, `offer_click` or `offer_redeem` event; the same again counts once."""
    core = running(request).storefront.offers
    answer = await core.performance(
        offer_id, body.customer_id, body.event, body.offer_type, body.value, Signals.of(request.scope)
    )
    return JsonAnswer(answer, status_code=202)
