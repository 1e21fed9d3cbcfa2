"""Customers: create, change, addresses, and a profile with what to show now."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from serving.access.security import CALLER_ROLE, Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Problem
from serving.api.schemas.customers import (
    AddAddresses,
    AddressesAnswer,
    CreateCustomer,
    CustomerAnswer,
    CustomerProfileAnswer,
    NewAddresses,
    UpdateCustomer,
)
from serving.people.permissions import Signals
from serving.recommendations.ask import RecommendAsk

router = APIRouter(tags=["customers"])

RECOMMENDED = 10
COMPATIBLE: dict[str, Any] = {"tags": ["compatible"]}
CustomerPath = Annotated[CustomerId, Path()]
REFUSALS: dict[int | str, dict[str, Any]] = {422: {"model": Problem}, 503: {"model": Problem}}
OF_ONE = REFUSALS | {404: {"model": Problem}}
CREATES = REFUSALS | {409: {"model": Problem, "description": "The id is taken, or was erased"}}


@router.post(
    "/api/v1/customers",
    status_code=201,
    response_model=CustomerAnswer,
    responses=CREATES,
    summary="Create a customer",
    **access(Role.WRITE, "body.customer_id", "body.user_id"),
)
async def create(request: Request, body: CreateCustomer) -> JsonAnswer:
    """The next batch knows them. An erased id is admitted again by an administrator only."""
    fields = body.model_dump(exclude_unset=True)
    may_readmit = request.scope.get(CALLER_ROLE) is Role.ADMIN
    answer = await running(request).customers.create(fields.pop("customer_id"), fields, may_readmit)
    return JsonAnswer(answer, status_code=201)


@router.get(
    "/api/v1/customers/{customer_id}",
    response_model=CustomerProfileAnswer,
    responses=OF_ONE,
    summary="A customer, their addresses, and what to show them now",
    **access(Role.READ, "path.customer_id"),
)
async def profile(request: Request, customer_id: CustomerPath) -> JsonAnswer:
    """Recent recommendations are reused while they are fresh."""
    parts = running(request)
    customer = await parts.customers.read(customer_id)
    ask = RecommendAsk(customer_id, RECOMMENDED, signals=Signals.of(request.scope), reuse=True)
    shown = await parts.personalizer.recommend(ask)
    return JsonAnswer({**shown, **customer})


@router.put(
    "/api/v1/customers/{customer_id}",
    response_model=CustomerAnswer,
    responses=OF_ONE,
    summary="Change a customer",
    **access(Role.WRITE, "path.customer_id"),
)
async def update(request: Request, customer_id: CustomerPath, body: UpdateCustomer) -> JsonAnswer:
    """What is not named stays; null takes a value away; preferences and attributes are merged."""
    return JsonAnswer(
        await running(request).customers.update(customer_id, body.model_dump(exclude_unset=True))
    )


@router.post(
    "/api/v1/customers/{customer_id}/addresses",
    status_code=201,
    response_model=AddressesAnswer,
    responses=OF_ONE,
    summary="Add addresses to a customer",
    **access(Role.WRITE, "path.customer_id"),
)
async def add_addresses(request: Request, customer_id: CustomerPath, body: NewAddresses) -> JsonAnswer:
    """Shipping or billing. An address that is there already is not added again."""
    return await _added(request, customer_id, body.model_dump()["addresses"])


@router.post(
    "/customer/create",
    status_code=201,
    response_model=CustomerAnswer,
    responses=CREATES,
    summary="Create a customer",
    **access(Role.WRITE, "body.customer_id", "body.user_id"),
    **COMPATIBLE,
)
async def create_compatibly(request: Request, body: CreateCustomer) -> JsonAnswer:
    """Compatible spelling of `POST /api/v1/customers`."""
    return await create(request, body)


@router.post(
    "/customer/add-address",
    status_code=201,
    response_model=AddressesAnswer,
    responses=OF_ONE,
    summary="Add addresses to a customer",
    **access(Role.WRITE, "body.customer_id", "body.user_id"),
    **COMPATIBLE,
)
async def add_addresses_compatibly(request: Request, body: AddAddresses) -> JsonAnswer:
    """Compatible spelling of `POST /api/v1/customers/{customer_id}/addresses`."""
    return await _added(request, body.customer_id, body.model_dump()["addresses"])


@router.get(
    "/customer/get-profile/{customer_id}",
    response_model=CustomerProfileAnswer,
    responses=OF_ONE,
    summary="A customer, their addresses, and what to show them now",
    **access(Role.READ, "path.customer_id"),
    **COMPATIBLE,
)
async def profile_compatibly(request: Request, customer_id: CustomerPath) -> JsonAnswer:
    """Compatible spelling of `GET /api/v1/customers/{customer_id}`."""
    return await profile(request, customer_id)


async def _added(request: Request, customer_id: str, addresses: list[dict[str, Any]]) -> JsonAnswer:
    answer = await running(request).customers.add_addresses(customer_id, addresses)
    return JsonAnswer(answer, status_code=201)
