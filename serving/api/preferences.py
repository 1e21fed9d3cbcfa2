"""Preferences of one user: read, change, back to the defaults."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.preferences import PreferencesAnswer, PreferencesPatch
from serving.people.preferences import DEFAULTS

router = APIRouter(prefix="/api/v1/preferences", tags=["preferences"])

FLAG, SETTING = "preference_center", "ENABLE_PREFERENCE_CENTER"
UserId = Annotated[CustomerId, Path()]
REFUSALS: dict[int | str, dict[str, Any]] = {422: {"model": Problem}, 503: {"model": Problem}}
CHANGES = REFUSALS | {403: {"model": Problem, "description": "ALLOW_OPT_OUT is false"}}


@router.get(
    "/{user_id}",
    response_model=PreferencesAnswer,
    responses=REFUSALS,
    summary="Preferences of one user",
    **access(Role.READ, "path.user_id"),
)
async def read(request: Request, user_id: UserId) -> JsonAnswer:
    """Defaults for whoever never changed one, known or not."""
    return JsonAnswer(_noted(request, await running(request).preferences.read(user_id)))


@router.put(
    "/{user_id}",
    response_model=PreferencesAnswer,
    responses=CHANGES,
    summary="Change preferences",
    **access(Role.WRITE, "path.user_id"),
)
async def update(request: Request, user_id: UserId, body: PreferencesPatch) -> JsonAnswer:
    """Merged into what is stored, field by field. Messages and privacy are recorded as consent."""
    patch = body.model_dump(exclude_none=True)
    parts = running(request)
    answer = await parts.preferences.update(user_id, patch, parts.flags.enabled(FLAG))
    return JsonAnswer(_noted(request, answer))


@router.post(
    "/{user_id}/reset",
    response_model=PreferencesAnswer,
    responses=REFUSALS,
    summary="Back to the defaults",
    **access(Role.WRITE, "path.user_id"),
)
async def reset(request: Request, user_id: UserId) -> JsonAnswer:
    """What the user revoked stays revoked: a default is no consent."""
    parts = running(request)
    return JsonAnswer(_noted(request, await parts.preferences.reset(user_id, parts.flags.enabled(FLAG))))


def _noted(request: Request, answer: dict[str, Any]) -> dict[str, Any]:
    """With the preference center off: how everybody is shown things, and which setting says so."""
    if running(request).flags.enabled(FLAG):
        return {**answer, "disabled": None}
    return {**answer, **DEFAULTS, "disabled": SETTING}
