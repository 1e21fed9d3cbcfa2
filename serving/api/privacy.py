"""The rights of a person: everything that is held about them, and to be forgotten."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import StreamingResponse

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.privacy import ExportAnswer, Receipt

router = APIRouter(prefix="/api/v1/privacy", tags=["privacy"])

UserId = Annotated[CustomerId, Path()]
REFUSALS: dict[int | str, dict[str, Any]] = {422: {"model": Problem}, 503: {"model": Problem}}


@router.get(
    "/{user_id}/export",
    response_model=ExportAnswer,
    responses=REFUSALS,
    summary="Everything that is held about a person",
    **access(Role.ADMIN, "path.user_id", own=Role.READ),
)
async def export(request: Request, user_id: UserId) -> StreamingResponse:
    """One JSON document over every store, streamed. For an administrator, or a key of this very person."""
    pieces = await running(request).export.document(user_id)
    headers = {"content-disposition": 'attachment; filename="export.json"'}
    return StreamingResponse(pieces, media_type="application/json", headers=headers)


@router.delete(
    "/{user_id}",
    response_model=Receipt,
    responses=REFUSALS,
    summary="Forget a person",
    **access(Role.ADMIN, "path.user_id", own=Role.WRITE),
)
async def erase(request: Request, user_id: UserId) -> JsonAnswer:
    """Gone at once from everything that answers; the receipt says what the batch's files hold until when."""
    return JsonAnswer(await running(request).privacy.erase(user_id))
