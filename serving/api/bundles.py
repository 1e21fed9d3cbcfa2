"""Bundles, in two spellings."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.commerce import AnalyticsBundleRequest, BundleAnswer, BundleRequest
from serving.api.schemas.common import CustomerId, Problem
from serving.people.permissions import Signals

router = APIRouter(tags=["offers"])


@router.post(
    "/api/v1/bundles/{user_id}",
    response_model=BundleAnswer,
    responses={422: {"model": Problem}},
    summary="Bundles for one customer",
    **access(Role.READ, "path.user_id"),
)
async def bundles(
    request: Request,
    user_id: Annotated[CustomerId, Path(examples=["42"])],
    body: BundleRequest | None = None,
) -> JsonAnswer:
    """Bought together, a step up, in season, well stocked: each kind as far as the data supports it."""
    return await _bundles(request, user_id, body or BundleRequest())


@router.post(
    "/analytics/bundles",
    response_model=BundleAnswer,
    responses={422: {"model": Problem}},
    summary="Bundles for one customer",
    tags=["compatible"],
    **access(Role.READ, "body.user_id", "body.customer_id"),
)
async def analytics_bundles(request: Request, body: AnalyticsBundleRequest) -> JsonAnswer:
    """Compatible spelling of `POST /api/v1/bundles/{user_id}`."""
    return await _bundles(request, body.user_id, body)


async def _bundles(request: Request, user_id: str, body: BundleRequest) -> JsonAnswer:
    core = running(request).storefront.bundles
    signals = Signals.of(request.scope)
    return JsonAnswer(await core.bundles(user_id, signals, body.limit, body.bundle_types, body.item_id))
