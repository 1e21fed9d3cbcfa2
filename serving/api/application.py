"""The FastAPI application that BentoML mounts: routes in one list, errors in one shape."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from serving.access.rate_limit import RateLimiter
from serving.access.route_rules import rules_of
from serving.access.security import BEARER, NO_SUCH_PATH, Gate
from serving.api import (
    analytics,
    behavior,
    bundles,
    campaigns,
    consent,
    content,
    customers,
    decisions,
    experience,
    experiments,
    homepage,
    messages,
    offers,
    operations,
    preferences,
    pricing,
    privacy,
    profile,
    recommendations,
    rules,
    search,
    tracking,
)
from serving.api.answers import JsonAnswer
from serving.errors import NoTables, ServingError
from serving.logs import REQUEST_ID
from serving.requests import failure_text
from serving.runtime import Runtime

logger = logging.getLogger(__name__)

DESCRIPTION = """Personalized answers for a shop's applications.

Every answer names the release and the model versions that gave it, says how old its data is, and says so when
it is a fallback. Identifiers are strings; a whole number is accepted and becomes its decimal string.

Paths under `/api/v1/` are the canonical ones; those tagged `compatible` answer the same in the words of
other documents. BentoML's native endpoints `POST /recommend`, `/recommend_batch` and `/profile` are the same
core once more. Send `Authorization: Bearer KEY` where keys are configured; `x-attune-access` names the least
role of each operation and where a request says whom it is about.
"""
SHOWN_VALUE_LENGTH = 80


def create_application() -> FastAPI:
    """The application without its state: `connect` gives it that when the process starts."""
    application = FastAPI(
        title="Attune",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        # A span and several measures for each request would cost more than most answers: ours stand instead.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    # Routes are tried in this order: what is asked most comes first.
    application.include_router(recommendations.router)
    application.include_router(tracking.router)
    application.include_router(decisions.router)
    application.include_router(rules.router)
    application.include_router(behavior.router)
    application.include_router(profile.router)
    application.include_router(customers.router)
    application.include_router(preferences.router)
    application.include_router(consent.router)
    application.include_router(privacy.router)
    application.include_router(experiments.router)
    application.include_router(analytics.router)
    application.include_router(homepage.router)
    application.include_router(content.router)
    application.include_router(experience.router)
    application.include_router(search.router)
    application.include_router(messages.router)
    application.include_router(campaigns.router)
    application.include_router(offers.router)
    application.include_router(pricing.router)
    application.include_router(bundles.router)
    application.include_router(operations.router)
    application.mount("/static", StaticFiles(directory=operations.STATIC, check_dir=False), name="static")
    application.add_exception_handler(RequestValidationError, _refuse)
    application.add_exception_handler(ServingError, _explain)
    application.add_exception_handler(HTTPException, _plain)
    application.add_exception_handler(Exception, _apologize)
    application.state.gate = Gate(rules_of(application), None, RateLimiter(0))
    application.openapi = partial(_describe, application, application.openapi)  # type: ignore[method-assign]
    return application


def connect(application: FastAPI, runtime: Runtime) -> None:
    """Give the routes what answers them."""
    application.state.runtime = runtime
    application.state.gate = Gate(application.state.gate.rules, runtime.keys, runtime.limiter)


def _describe(application: FastAPI, describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document, with the scheme that the routes' rules refer to."""
    if application.openapi_schema is None:
        schemes = describe().setdefault("components", {}).setdefault("securitySchemes", {})
        schemes[BEARER] = {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of `serving.access.keys`.",
        }
    return describe()


def problem_text(errors: Sequence[Any]) -> str:
    """What is wrong with a request, each field with its value and what is allowed, in one line."""
    return "; ".join(_one_problem(error) for error in errors)


def _one_problem(error: dict[str, Any]) -> str:
    kind, location = error["type"], [str(part) for part in error["loc"]]
    if kind == "json_invalid":
        return f"the body is not JSON: {error.get('ctx', {}).get('error', error['msg'])}"
    field = ".".join(location[1:]) or location[0]
    message = error["msg"][:1].lower() + error["msg"][1:]
    if kind == "missing":
        return f"{field} is missing: give it in the {location[0]}"
    return f"{field}={_shown(error.get('input'))} cannot be used: {message}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_VALUE_LENGTH else f"{text[:SHOWN_VALUE_LENGTH]}..."


async def _refuse(_: Request, error: Exception) -> JsonAnswer:
    assert isinstance(error, RequestValidationError)
    return JsonAnswer({"detail": problem_text(error.errors())}, status_code=422)


async def _explain(_: Request, error: Exception) -> JsonAnswer:
    assert isinstance(error, ServingError)
    if isinstance(error, NoTables):
        logger.warning("no tables are published", extra={"place": error.place})
    return JsonAnswer({"detail": str(error)}, status_code=error.status, headers=dict(error.headers))


async def _apologize(_: Request, __: Exception) -> JsonAnswer:
    return JsonAnswer({"detail": failure_text(REQUEST_ID.get())}, status_code=500)


async def _plain(request: Request, error: Exception) -> JsonAnswer:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == 404 and detail == "Not Found":
        detail = NO_SUCH_PATH
    elif error.status_code == 405:
        detail = f"{request.method} is not offered here; GET /docs lists what is"
    elif error.status_code == 400 and "parsing the body" in str(detail):
        detail = "the body cannot be read: send JSON in UTF-8"
    headers = dict(error.headers or {})
    return JsonAnswer({"detail": detail}, status_code=error.status_code, headers=headers)
