"""Consent: what a person allows, the ledger of it, opting out of all."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.consent import ConsentAnswer, ConsentRequest, ConsentState
from serving.people.consent import DATA_SHARING, Change, opt_out_changes
from serving.values import instant_text

router = APIRouter(prefix="/api/v1", tags=["consent"])

MAX_PAGE = 1000
UserId = Annotated[CustomerId, Path()]
REFUSALS: dict[int | str, dict[str, Any]] = {422: {"model": Problem}, 503: {"model": Problem}}
CHANGES = REFUSALS | {403: {"model": Problem, "description": "ALLOW_OPT_OUT is false"}}


@router.get(
    "/consent/{user_id}",
    response_model=ConsentAnswer,
    responses=REFUSALS,
    summary="What one person allows, and how that came about",
    **access(Role.READ, "path.user_id"),
)
async def read(
    request: Request,
    user_id: UserId,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next` of the page before")] = None,
) -> JsonAnswer:
    """The ledger is append-only; the last entry of a purpose counts."""
    rows = await running(request).consent.ledger(user_id, limit, before)
    entries = [
        {
            "purpose": row["purpose"],
            "granted": row["is_granted"],
            "at": instant_text(row["at"]),
            "source": row["source"],
            "text_version": row["text_version"],
        }
        for row in rows
    ]
    following = rows[-1]["sequence"] if len(rows) == limit else None
    return JsonAnswer({**_state(request, user_id), "ledger": entries, "next": following})


@router.post(
    "/consent/{user_id}",
    response_model=ConsentState,
    responses=CHANGES,
    summary="Grant or revoke one purpose",
    **access(Role.WRITE, "path.user_id"),
)
async def record(request: Request, user_id: UserId, body: ConsentRequest) -> JsonAnswer:
    """Holds for every request after this answer, at every worker."""
    change = Change(body.purpose, body.granted, body.source, body.text_version)
    await running(request).consent.record(user_id, [change])
    return JsonAnswer(_state(request, user_id))


@router.post(
    "/privacy/{user_id}/opt-out",
    response_model=ConsentState,
    responses=CHANGES,
    summary="Revoke everything at once",
    **access(Role.WRITE, "path.user_id"),
)
async def opt_out(request: Request, user_id: UserId) -> JsonAnswer:
    """Tracking, personalization, messages and data sharing end; answers are those for everybody."""
    await running(request).consent.record(user_id, opt_out_changes())
    return JsonAnswer(_state(request, user_id))


@router.post(
    "/privacy/{user_id}/do-not-sell",
    response_model=ConsentState,
    responses=CHANGES,
    summary="Do not sell or share my data (CCPA)",
    **access(Role.WRITE, "path.user_id"),
)
async def do_not_sell(request: Request, user_id: UserId) -> JsonAnswer:
    """Revokes data sharing alone."""
    await running(request).consent.record(user_id, opt_out_changes([DATA_SHARING], "do_not_sell"))
    return JsonAnswer(_state(request, user_id))


def _state(request: Request, user_id: str) -> dict[str, Any]:
    return {"user_id": user_id, "purposes": running(request).consent.state(user_id)}
