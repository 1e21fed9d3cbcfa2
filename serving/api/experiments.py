"""Experiments: which variant a visitor gets, what they did, and the definitions; flags."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.experiments import (
    Definition,
    DefinitionChange,
    ExperimentAnswer,
    ExperimentEvent,
    ExperimentEventAnswer,
    ExperimentList,
    FlagList,
    LiftAnswer,
    Name,
    PlanAnswer,
    PlanQuestion,
    ResultAnswer,
    VariantAnswer,
)
from serving.decisions.parameters import PARAMETERS
from serving.experiments.results import answer_plan
from serving.people.permissions import Signals

router = APIRouter(tags=["experiments"])

REFUSED: dict[int | str, dict[str, Any]] = {422: {"model": Problem}}
UNKNOWN = {**REFUSED, 404: {"model": Problem}}
STORED = {**REFUSED, 503: {"model": Problem}}
CHANGED = {**STORED, 404: {"model": Problem}, 409: {"model": Problem}}
ExperimentName = Annotated[Name, Path(examples=["collaborative-or-hybrid"])]


@router.get(
    "/api/v1/ab-test/{user_id}/variant",
    response_model=VariantAnswer,
    responses=UNKNOWN,
    summary="The variant of one visitor",
    **access(Role.READ, "path.user_id"),
)
async def variant(
    request: Request,
    user_id: Annotated[CustomerId, Path(examples=["42"])],
    experiment: Annotated[
        Name | None,
        Query(
            description="Without it: the oldest running one that the visitor takes part in, else `default`"
        ),
    ] = None,
    device_type: Annotated[str | None, Query(max_length=64, examples=["mobile"])] = None,
    channel: Annotated[str | None, Query(max_length=64)] = None,
    page: Annotated[str | None, Query(max_length=64)] = None,
    traffic_source: Annotated[str | None, Query(max_length=64)] = None,
) -> JsonAnswer:
    """The same answer for ever, while the experiment runs; asking counts as exposure.

    Whoever is not assigned (no consent, holdout, outside the share or segment) gets the control, uncounted.
    """
    runtime = running(request)
    attributes = {
        "device_type": device_type,
        "channel": channel,
        "page": page,
        "traffic_source": traffic_source,
    }
    permissions = runtime.consent.permissions(user_id, Signals.of(request.scope))
    return JsonAnswer(runtime.experiments.variant(user_id, experiment, permissions, attributes))


@router.post(
    "/api/v1/ab-test/track",
    status_code=202,
    response_model=ExperimentEventAnswer,
    responses={**STORED, 404: {"model": Problem}, 409: {"model": Problem}},
    summary="Something that a visitor of an experiment did",
    **access(Role.WRITE, "body.user_id", "body.customer_id"),
)
async def track(request: Request, body: ExperimentEvent) -> JsonAnswer:
    """Stored as an `experiment_conversion` event of each experiment that it counts for."""
    answer = await running(request).experiments.record(body, Signals.of(request.scope))
    return JsonAnswer(answer, status_code=202)


@router.get(
    "/api/v1/experiments",
    response_model=ExperimentList,
    summary="Every experiment, and what experiments may set",
    **access(Role.READ),
)
async def list_experiments(request: Request) -> JsonAnswer:
    """Those of the API, of experiments.yaml, and the built-in one."""
    known = {
        key: {"meaning": each.meaning, "allowed": each.allowed, "example": each.example}
        for key, each in PARAMETERS.items()
    }
    return JsonAnswer({**running(request).experiments.list(), "parameters": known})


@router.post(
    "/api/v1/experiments",
    status_code=201,
    response_model=ExperimentAnswer,
    responses={**STORED, 409: {"model": Problem}},
    summary="Define an experiment",
    **access(Role.ADMIN),
)
async def create(request: Request, body: Definition) -> JsonAnswer:
    """Runs from its start on, or at once. 409 where its visitors or parameters are taken by another one."""
    return JsonAnswer(await running(request).experiments.create(body), status_code=201)


@router.get(
    "/api/v1/experiments/plan",
    response_model=PlanAnswer,
    responses=REFUSED,
    summary="How many visitors and days an experiment needs",
    **access(Role.READ),
)
async def read_plan(asked: Annotated[PlanQuestion, Query()]) -> JsonAnswer:
    """For a two-sided comparison of each variant with the control, visitors dealt evenly."""
    return JsonAnswer(answer_plan(asked))


@router.post(
    "/api/v1/experiments/plan",
    response_model=PlanAnswer,
    responses=REFUSED,
    summary="The same, asked in a body",
    **access(Role.READ),
)
async def ask_plan(body: PlanQuestion) -> JsonAnswer:
    """Nothing is stored."""
    return JsonAnswer(answer_plan(body))


@router.get(
    "/api/v1/personalization/lift",
    response_model=LiftAnswer,
    summary="What personalization brings, against the permanent holdout",
    **access(Role.READ),
)
async def lift(
    request: Request,
    period: Annotated[
        Literal["all", "30_days"],
        Query(description="`all` since each visitor's first exposure, or what all did in the last days"),
    ] = "all",
) -> JsonAnswer:
    """Over all time every interval holds however often one looks, over a period for one look at that period;
    segments are adjusted for their number."""
    return JsonAnswer(await running(request).results.lift(period))


@router.get(
    "/api/v1/experiments/{experiment_id}/results",
    response_model=ResultAnswer,
    responses={404: {"model": Problem}},
    summary="What an experiment shows, and whether that may be believed",
    **access(Role.READ),
)
async def results(request: Request, experiment_id: ExperimentName) -> JsonAnswer:
    """As the last run published it. `default` is the built-in A/A test, `holdout` the permanent holdout."""
    running(request).experiments.check_known(experiment_id)
    return JsonAnswer(await running(request).results.of(experiment_id))


@router.get(
    "/api/v1/experiments/{experiment_id}",
    response_model=ExperimentAnswer,
    responses={**STORED, 404: {"model": Problem}},
    summary="One experiment, its versions, and how many met each variant",
    **access(Role.READ),
)
async def read(request: Request, experiment_id: ExperimentName) -> JsonAnswer:
    """`default` is the built-in A/A test."""
    return JsonAnswer(await running(request).experiments.read(experiment_id))


@router.patch(
    "/api/v1/experiments/{experiment_id}",
    response_model=ExperimentAnswer,
    responses=CHANGED,
    summary="Change an experiment",
    **access(Role.ADMIN),
)
async def change(request: Request, experiment_id: ExperimentName, body: DefinitionChange) -> JsonAnswer:
    """Anything before the start; while it runs only name, hypothesis, end and sample_size, else 409."""
    return JsonAnswer(await running(request).experiments.change(experiment_id, body))


@router.post(
    "/api/v1/experiments/{experiment_id}/stop",
    response_model=ExperimentAnswer,
    responses=CHANGED,
    summary="End an experiment now",
    **access(Role.ADMIN),
)
async def stop(request: Request, experiment_id: ExperimentName) -> JsonAnswer:
    """Everybody gets the control from now on; its share of the layer is free again."""
    return JsonAnswer(await running(request).experiments.stop(experiment_id))


@router.get(
    "/api/v1/flags",
    response_model=FlagList,
    summary="Which features are on",
    tags=["flags"],
    **access(Role.READ),
)
async def flags(request: Request) -> JsonAnswer:
    """Feature flags as they were evaluated at the start, and the setting of each."""
    shown = [
        {
            "name": flag.name,
            "enabled": flag.is_enabled,
            "setting": flag.setting,
            "reason": flag.reason,
            "switches": flag.switches,
        }
        for flag in running(request).flags.all
    ]
    return JsonAnswer({"flags": shown})
