"""Receipts: what a decision saw and gave, computed again."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.decisions import DecisionAnswer

EXAMPLE_ID = "0191d2c0a1b2c3d4e5f60718293a4b5c"

router = APIRouter(prefix="/api/v1/decisions", tags=["decisions"])


@router.get(
    "/{decision_id}",
    response_model=DecisionAnswer,
    responses={404: {"model": Problem}, 422: {"model": Problem}, 503: {"model": Problem}},
    summary="What a decision saw and gave, and whether it comes out the same again",
    **access(Role.READ, "query.customer_id"),
)
async def explain(
    request: Request,
    decision_id: Annotated[str, Path(min_length=1, max_length=64, examples=[EXAMPLE_ID])],
    customer_id: Annotated[
        CustomerId | None,
        Query(description="Only if the decision was made for this customer; a key bound to one must name it"),
    ] = None,
) -> JsonAnswer:
    """The `decision_id` of any answer (also its `recommendation_id`). Kept as long as retention says."""
    return JsonAnswer(await running(request).decision_log.explain(decision_id, customer_id))
