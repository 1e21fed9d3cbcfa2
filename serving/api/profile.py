"""What is known and expected of a customer."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.profile import ProfileAnswer

router = APIRouter(prefix="/api/v1/personalization", tags=["profile"])


@router.get(
    "/profile/{customer_id}",
    response_model=ProfileAnswer,
    responses={404: {"model": Problem}, 422: {"model": Problem}},
    summary="Features, predictions and tiers of one customer",
)
async def profile(request: Request, customer_id: Annotated[CustomerId, Path()]) -> JsonAnswer:
    """404 for a customer of whom nothing is stored; an empty, flagged profile if the store is silent."""
    return JsonAnswer(await running(request).personalizer.profile(customer_id))
