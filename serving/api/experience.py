"""Experiences: variants of a page's elements, and what became of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.pages import (
    ExperienceAnswer,
    ExperienceRequest,
    PerformanceAnswer,
    PerformanceRequest,
)
from serving.people.permissions import Signals

router = APIRouter(prefix="/api/v1/personalization/experience", tags=["pages"])

STORED: dict[int | str, dict[str, Any]] = {422: {"model": Problem}, 503: {"model": Problem}}


@router.post(
    "",
    response_model=ExperienceAnswer,
    responses={422: {"model": Problem}},
    summary="A variant for each element of a page",
    **access(Role.READ, "body.customer_id", "body.user_id"),
)
async def experience(request: Request, body: ExperienceRequest) -> JsonAnswer:
    """The default variant until another one has proved better: by the evidence, never by assertion.

    What is served is logged as an `experience_served` event where tracking is allowed.
    """
    core = running(request).storefront.experience
    answer = await core.serve(
        body.customer_id,
        Signals.of(request.scope),
        body.page_type,
        body.context,
        {str(goal): weight for goal, weight in body.personalization_goals.items()},
        body.elements_to_personalize,
    )
    return JsonAnswer(answer)


@router.post(
    "/{experience_id}/performance",
    status_code=202,
    response_model=PerformanceAnswer,
    responses=STORED,
    summary="Interactions and conversions of an experience",
    **access(Role.WRITE, "body.customer_id", "body.user_id"),
)
async def performance(
    request: Request, experience_id: Annotated[CustomerId, Path()], body: PerformanceRequest
) -> JsonAnswer:
    """Stored as `experience_interaction` and `conversion_achieved` events; the same again counts once."""
    core = running(request).storefront.experience
    given = {"mode": "json", "exclude_none": True}
    answer = await core.performance(
        experience_id,
        body.customer_id,
        [each.model_dump(**given) for each in body.interactions],  # type: ignore[arg-type]
        [each.model_dump(**given) for each in body.conversion_events],  # type: ignore[arg-type]
        Signals.of(request.scope),
    )
    return JsonAnswer(answer, status_code=202)
