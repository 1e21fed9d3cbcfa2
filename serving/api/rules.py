"""Business rules: read and replaced as a whole, each time as a new version."""

from fastapi import APIRouter, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import Problem
from serving.api.schemas.rules import RulesAnswer
from serving.decisions.rules import RuleSet

router = APIRouter(prefix="/api/v1/rules", tags=["decisions"])


@router.get(
    "",
    response_model=RulesAnswer,
    responses={503: {"model": Problem}},
    summary="The business rules in force, and their versions",
    **access(Role.READ),
)
async def read_rules(request: Request) -> JsonAnswer:
    """In the form that PUT takes."""
    return JsonAnswer(await running(request).rules.describe())


@router.put(
    "",
    response_model=RulesAnswer,
    responses={422: {"model": Problem}, 503: {"model": Problem}},
    summary="Replace the business rules",
    **access(Role.ADMIN),
)
async def replace_rules(request: Request, body: RuleSet) -> JsonAnswer:
    """All rules at once: they hold from this answer on, in other processes within two seconds."""
    rules = running(request).rules
    await rules.replace(body)
    return JsonAnswer(await rules.describe())
