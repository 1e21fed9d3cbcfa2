"""Articles, videos, customers' content and social proof."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.pages import ContentAnswer, ContentRequest
from serving.people.permissions import Signals

router = APIRouter(prefix="/api/v1/personalize", tags=["pages"])


@router.get(
    "/content/{user_id}",
    response_model=ContentAnswer,
    responses={422: {"model": Problem}},
    summary="Content for one customer, in the documented numbers",
    **access(Role.READ, "path.user_id"),
)
async def content(request: Request, user_id: Annotated[CustomerId, Path(examples=["42"])]) -> JsonAnswer:
    """Three articles, two videos, four facts of social proof, two pieces by customers."""
    return await _content(request, user_id, ContentRequest())


@router.post(
    "/content/{user_id}",
    response_model=ContentAnswer,
    responses={422: {"model": Problem}},
    summary="Content for one customer, numbers and weights as asked",
    **access(Role.READ, "path.user_id"),
)
async def content_as_asked(
    request: Request, user_id: Annotated[CustomerId, Path(examples=["42"])], body: ContentRequest
) -> JsonAnswer:
    """Only the kinds that are named; a factor that is left out keeps its default weight."""
    return await _content(request, user_id, body)


async def _content(request: Request, user_id: str, body: ContentRequest) -> JsonAnswer:
    core = running(request).storefront.content
    weights = body.personalization_factors.model_dump()
    return JsonAnswer(await core.content(user_id, Signals.of(request.scope), body.counts(), weights))
