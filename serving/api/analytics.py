"""Analytics and dashboards, read-only: real figures of the published tables and of what was served."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from serving.access.security import Role, access
from serving.analytics import DEFAULT_DAYS, MOST_DAYS, Analytics
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.analytics import AnalyticsAnswer
from serving.api.schemas.common import Problem

router = APIRouter(tags=["analytics"])

RESPONSES: dict[int | str, dict[str, Any]] = {422: {"model": Problem}, 503: {"model": Problem}}
Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="Days up to now, by the clock")]


def _period(
    first: Annotated[
        date | None, Query(alias="from", description="First day", examples=["2026-01-01"])
    ] = None,
    last: Annotated[
        date | None, Query(alias="to", description="Last day; without it the last day of the data")
    ] = None,
    days: Annotated[int | None, Query(ge=1, le=MOST_DAYS, description="Days, without `from`")] = None,
) -> tuple[date | None, date | None, int | None]:
    return first, last, days


Period = Annotated[tuple[date | None, date | None, int | None], Depends(_period)]
Call = Callable[[Analytics, tuple[Any, ...]], Awaitable[dict[str, Any]]]


def _of_the_tables(path: str, summary: str, call: Call, description: str, tag: str | None = None) -> None:
    """A route over a period of the tables."""

    @router.get(
        path,
        response_model=AnalyticsAnswer,
        responses=RESPONSES,
        summary=summary,
        description=description,
        tags=[tag] if tag else None,
        name=path.strip("/").replace("/", "-"),
        **access(Role.READ),
    )
    async def report(request: Request, period: Period) -> JsonAnswer:
        return JsonAnswer(await call(running(request).analytics, period))


def _of_what_was_served(path: str, summary: str, call: Call, description: str) -> None:
    """A route over the latest days by the clock."""

    @router.get(
        path,
        response_model=AnalyticsAnswer,
        responses=RESPONSES,
        summary=summary,
        description=description,
        name=path.strip("/").replace("/", "-"),
        **access(Role.READ),
    )
    async def report(request: Request, days: Days = DEFAULT_DAYS) -> JsonAnswer:
        return JsonAnswer(await call(running(request).analytics, (days,)))


_of_the_tables(
    "/dashboard/overview",
    "Key figures, their change, and the days",
    lambda analytics, period: analytics.overview(*period),
    "Revenue, orders, users, activities and conversion of a period in data time; events of the last hour.",
)
_of_the_tables(
    "/dashboard/user-analytics",
    "Customers: how many, how they behave, what is expected of them",
    lambda analytics, period: analytics.report("users", *period),
    "Total, active and new customers, sessions, retention, churn, predicted values, by channel and device.",
)
_of_the_tables(
    "/analytics/user-segments",
    "Value segments, loyalty tiers, stages of the life cycle",
    lambda analytics, period: analytics.report("segments", *period),
    "How many customers each holds, what they spent, what is expected of them. The segments are those of the"
    " latest predictions; the period only names the data.",
)
_of_the_tables(
    "/dashboard/profit-analytics",
    "Margins, stock, and value at risk",
    lambda analytics, period: analytics.report("profit", *period),
    "Gross margin by category and item, inventory turnover, predicted value at risk. What needs marketing"
    " costs is null: no source tells them.",
)
_of_the_tables(
    "/analytics/profit-optimization",
    "Margins, and what they suggest to do",
    lambda analytics, period: analytics.report("opportunities", *period),
    "The figures of `GET /dashboard/profit-analytics` and `opportunities`: items sold below cost, stock that"
    " runs out or lies, bundles, customers to win back, each with its numbers.",
)
_of_the_tables(
    "/analytics/bundle-performance",
    "Bundles: shown, clicked, added; and what is bought together",
    lambda analytics, period: analytics.bundle_performance(*period),
    "Bundles served in the last 30 days by type, their events, and the baskets of a period in data time.",
)
_of_what_was_served(
    "/analytics/recommendation-performance",
    "Recommendations: shown, clicked, bought",
    lambda analytics, days: analytics.recommendation_performance(*days),
    "Rates by algorithm and kind of answer over the latest answers; test metrics of the released models.",
)
_of_what_was_served(
    "/api/v1/personalization/analytics",
    "What is personalized, and how it does",
    lambda analytics, days: analytics.personalization(*days),
    "Share of personal answers, the rungs they rest on, clicks and purchases that came back.",
)
_of_what_was_served(
    "/dashboard/recommendation-analytics",
    "Recommendations and personalization beside each other",
    lambda analytics, days: analytics.recommendations_dashboard(*days),
    "`GET /analytics/recommendation-performance` and `GET /api/v1/personalization/analytics` in one answer.",
)
