"""Prices."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.commerce import PriceAnswer
from serving.api.schemas.common import CustomerId, Problem
from serving.people.permissions import Signals

router = APIRouter(prefix="/api/v1", tags=["offers"])


@router.get(
    "/pricing/{item_id}",
    response_model=PriceAnswer,
    responses={404: {"model": Problem}, 422: {"model": Problem}},
    summary="The price of an item, for everybody or for one customer",
    **access(Role.READ, "query.user_id"),
)
async def price(
    request: Request,
    item_id: Annotated[CustomerId, Path(examples=["i000042"])],
    user_id: Annotated[CustomerId | None, Query()] = None,
) -> JsonAnswer:
    """The list price, unless ENABLE_DYNAMIC_PRICING=true. Never from age, gender, location or the like."""
    core = running(request).storefront.pricing
    return JsonAnswer(await core.price(item_id, user_id, Signals.of(request.scope)))
