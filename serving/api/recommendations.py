"""Recommendations, for one customer or many."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Limit, Problem
from serving.api.schemas.recommendations import BatchAnswer, BatchRequest, RecommendationAnswer

router = APIRouter(prefix="/api/v1/recommendations", tags=["recommendations"])


@router.get(
    "/{customer_id}",
    response_model=RecommendationAnswer,
    responses={422: {"model": Problem}},
    summary="Items for one customer",
)
async def recommend(
    request: Request,
    customer_id: Annotated[CustomerId, Path()],
    limit: Annotated[Limit, Query()] = 10,
    exclude_seen: Annotated[bool, Query(description="Leave out what the customer has bought")] = False,
) -> JsonAnswer:
    """Items best first. Newcomers and a silent online store get a fallback that says so, never an error."""
    return JsonAnswer(await running(request).personalizer.recommend(customer_id, limit, exclude_seen))


@router.post(
    "/batch",
    response_model=BatchAnswer,
    responses={422: {"model": Problem}},
    summary="Items for up to a thousand customers",
)
async def recommend_batch(request: Request, body: BatchRequest) -> JsonAnswer:
    """The same answer as one request each, from batched reads."""
    answer = await running(request).personalizer.recommend_batch(
        body.customer_ids, body.limit, body.exclude_seen
    )
    return JsonAnswer(answer)
