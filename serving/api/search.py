"""Re-ranking of search results."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.commerce import SearchAnswer, SearchRequest
from serving.api.schemas.common import CustomerId, Problem
from serving.people.permissions import Signals

router = APIRouter(prefix="/api/v1/personalize", tags=["search"])


@router.post(
    "/search/{user_id}",
    response_model=SearchAnswer,
    responses={422: {"model": Problem}},
    summary="Search results in the order that suits one customer",
    **access(Role.READ, "path.user_id"),
)
async def search(
    request: Request, user_id: Annotated[CustomerId, Path(examples=["42"])], body: SearchRequest
) -> JsonAnswer:
    """The same ids, none added and none left out; each stays near its place."""
    core = running(request).storefront.search
    return JsonAnswer(
        await core.rerank(user_id, Signals.of(request.scope), body.query, body.item_ids, body.scores)
    )
