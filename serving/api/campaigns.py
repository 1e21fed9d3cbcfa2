"""Campaigns and journeys: what is declared, and where messages and customers stand."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import PlainTextResponse

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.campaigns import CampaignsAnswer
from serving.api.schemas.common import Problem

router = APIRouter(prefix="/api/v1", tags=["messages"])


@router.get(
    "/campaigns",
    response_model=CampaignsAnswer,
    responses={503: {"model": Problem}},
    summary="Campaigns and journeys, and where their messages and customers stand",
    **access(Role.READ),
)
async def campaigns(request: Request) -> JsonAnswer:
    """As `campaigns.yaml` and `journeys.yaml` of the home declare them, with counts by state. What campaigns
    caused: `GET /analytics/campaign-performance`."""
    return JsonAnswer(await running(request).campaigns.describe())


@router.get(
    "/journeys/{name}/diagram",
    response_class=PlainTextResponse,
    responses={
        200: {
            "content": {
                "text/plain": {"example": "stateDiagram-v2\n    s1: hello (3)\n    [*] --> s1: signup"}
            }
        },
        404: {"model": Problem},
    },
    summary="A journey as a Mermaid diagram",
    **access(Role.READ),
)
async def diagram(
    request: Request, name: Annotated[str, Path(max_length=64, examples=["welcome"])]
) -> PlainTextResponse:
    """Each state with how many customers are in it now, or ended there."""
    return PlainTextResponse(await running(request).campaigns.diagram(name))
