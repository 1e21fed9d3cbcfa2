"""The homepage, and how pages are arranged."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.pages import HomepageAnswer, LayoutAnswer
from serving.people.permissions import Signals

router = APIRouter(prefix="/api/v1/personalize", tags=["pages"])

Device = Annotated[
    Literal["desktop", "mobile", "tablet", "other"] | None,
    Query(description="mobile without a chosen layout gets a list"),
]


@router.get(
    "/homepage/{user_id}",
    response_model=HomepageAnswer,
    responses={422: {"model": Problem}},
    summary="Sections, layout and theme of the homepage",
    **access(Role.READ, "path.user_id"),
)
async def homepage(
    request: Request,
    user_id: Annotated[CustomerId, Path(examples=["42"])],
    device: Device = None,
    products_per_section: Annotated[int, Query(ge=1, le=50)] = 12,
) -> JsonAnswer:
    """Sections in the order that this visitor responds to. Always answers: newcomers get what is popular."""
    core = running(request).storefront.homepage
    return JsonAnswer(await core.homepage(user_id, Signals.of(request.scope), device, products_per_section))


@router.get(
    "/layout/{user_id}",
    response_model=LayoutAnswer,
    responses={422: {"model": Problem}},
    summary="Navigation, layout, theme and language",
    **access(Role.READ, "path.user_id"),
)
async def arrangement(
    request: Request, user_id: Annotated[CustomerId, Path(examples=["42"])], device: Device = None
) -> JsonAnswer:
    """Categories in the order of this visitor's interest; the shop's order if nothing is known."""
    core = running(request).storefront.homepage
    return JsonAnswer(await core.arrangement(user_id, Signals.of(request.scope), device))
