"""What is known and expected of a customer."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.profile import ProfileAnswer
from serving.people.profile import Parts

router = APIRouter(tags=["profile"])

PROFILE = "/api/v1/personalization/profile/{customer_id}"
PROBLEMS: dict[int | str, dict[str, Any]] = {404: {"model": Problem}, 422: {"model": Problem}}
Preferences = Annotated[bool, Query(description="With interests, brands and stored preferences")]
Predictions = Annotated[bool, Query(description="With value, churn, next purchase and price sensitivity")]
Segments = Annotated[bool, Query(description="With the tiers that the customer belongs to")]


@router.get(
    PROFILE,
    response_model=ProfileAnswer,
    responses=PROBLEMS,
    summary="All that is known and expected of one customer",
    **access(Role.READ, "path.customer_id"),
)
async def profile(
    request: Request,
    customer_id: Annotated[CustomerId, Path()],
    include_preferences: Preferences = True,
    include_predictions: Predictions = True,
    include_segments: Segments = True,
) -> JsonAnswer:
    """404 for a customer of whom nothing is known; an emptier, flagged profile if a store is silent."""
    parts = Parts(include_preferences, include_predictions, include_segments)
    return JsonAnswer(await running(request).profiles.profile(customer_id, parts))


@router.get(
    "/analytics/user-profile/{user_id}",
    response_model=ProfileAnswer,
    responses=PROBLEMS,
    summary="All that is known and expected of one customer",
    description=f"Compatible spelling of `GET {PROFILE}`.",
    tags=["compatible"],
    **access(Role.READ, "path.user_id"),
)
async def user_profile(
    request: Request,
    user_id: Annotated[CustomerId, Path()],
    include_preferences: Preferences = True,
    include_predictions: Predictions = True,
    include_segments: Segments = True,
) -> JsonAnswer:
    parts = Parts(include_preferences, include_predictions, include_segments)
    return JsonAnswer(await running(request).profiles.profile(user_id, parts))
