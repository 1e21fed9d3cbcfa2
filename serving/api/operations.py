"""Health, metrics and documentation pages."""

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.operations import HealthAnswer, ProbeAnswer
from serving.metrics import CONTENT_TYPE

STATIC = Path(__file__).resolve().parent.parent / "static"
# Pages load from this host alone. ReDoc's search runs in a worker made of a blob; both pages style inline.
PAGE_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
    " worker-src 'self' blob:; frame-ancestors 'none'"
)
# The dashboard has scripts and styles in files only, and asks this host alone.
DASHBOARD_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(tags=["operations"])


@router.get(
    "/health",
    response_model=HealthAnswer,
    summary="What is loaded, and whether the store answers",
    **access(Role.PUBLIC),
)
async def health(request: Request) -> JsonAnswer:
    """Always 200 while the process answers; read `status`."""
    return JsonAnswer(await running(request).operations.health())


@router.get(
    "/health/live", response_model=ProbeAnswer, summary="Does the process answer?", **access(Role.PUBLIC)
)
async def live() -> JsonAnswer:
    """For a liveness probe: restart if this fails."""
    return JsonAnswer({"status": "ok"})


@router.get(
    "/health/ready",
    response_model=ProbeAnswer,
    responses={503: {"model": ProbeAnswer}},
    summary="Can it answer for customers?",
    **access(Role.PUBLIC),
)
async def ready(request: Request) -> JsonAnswer:
    """For a readiness probe: 503 until a release is loaded. Without its store the service still answers."""
    is_ready = hasattr(request.app.state, "runtime")
    status = "ok" if is_ready else "starting"
    return JsonAnswer({"status": status}, status_code=200 if is_ready else 503)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    summary="Prometheus metrics",
    **access(Role.READ),  # how much a shop sells is not for everybody: give the scraper a read key
)
async def exposition(request: Request) -> Response:
    """Counters and histograms of this service, with route templates as labels."""
    return Response(running(request).metrics.exposition(), headers={"content-type": CONTENT_TYPE})


@router.get("/", include_in_schema=False, **access(Role.PUBLIC))
async def index() -> RedirectResponse:
    """Instead of BentoML's index page, which loads scripts from other hosts."""
    return RedirectResponse("/docs")


@router.get("/docs", include_in_schema=False, **access(Role.PUBLIC))
async def swagger_ui() -> FileResponse:
    """Swagger UI from our own files."""
    return _page("swagger.html")


@router.get("/redoc", include_in_schema=False, **access(Role.PUBLIC))
async def redoc() -> FileResponse:
    """ReDoc from our own files."""
    return _page("redoc.html")


@router.get("/dashboard", include_in_schema=False, **access(Role.PUBLIC))
async def dashboard() -> FileResponse:
    """The dashboard's page; its figures ask for a key where keys are configured."""
    return _page("dashboard/index.html", DASHBOARD_POLICY)


def _page(name: str, policy: str = PAGE_POLICY) -> FileResponse:
    headers = {"content-security-policy": policy, "cache-control": "no-cache"}
    return FileResponse(STATIC / name, headers=headers)
