"""Analytics and dashboards, read-only: figures of the published tables, and of what was served since."""

import csv
import io
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from serving.access.security import Role, access
from serving.analytics import MOST_DAYS, Analytics, Question, read_segment
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.analytics import DashboardAnswer, ExperimentResults
from serving.api.schemas.common import Problem
from serving.errors import InvalidField
from serving.sheets import part_rows, parts_of

router = APIRouter(tags=["analytics"])

CSV_TYPE = "text/csv"
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {CSV_TYPE: {"schema": {"type": "string"}}}},
    422: {"model": Problem},
    503: {"model": Problem},
}
FIGURES = "figures"
Format = Annotated[
    Literal["json", "csv"] | None, Query(alias="format", description="Default: what `Accept` asks for")
]
Part = Annotated[
    str, Query(description="Of CSV: figures, series, or the name of a table", examples=["by_channel"])
]


def _question(
    first: Annotated[
        date | None, Query(alias="from", description="First day", examples=["2026-01-01"])
    ] = None,
    last: Annotated[
        date | None, Query(alias="to", description="Last day; without it the last day of the data")
    ] = None,
    days: Annotated[
        int | None, Query(ge=1, le=MOST_DAYS, description="Days, without `from`; 30 by default")
    ] = None,
    compare: Annotated[
        Literal["previous_period", "previous_year", "none"],
        Query(description="The days before, the same weekdays 52 weeks earlier, or nothing"),
    ] = "previous_period",
    segment: Annotated[
        str | None,
        Query(max_length=200, description="dimension:member", examples=["channel:web"]),
    ] = None,
) -> Question:
    return Question(first, last, days, compare, read_segment(segment))


Asked = Annotated[Question, Depends(_question)]
Call = Callable[[Analytics, Question], Awaitable[dict[str, Any]]]


def _answer(request: Request, answer: dict[str, Any], given: str | None, part: str) -> Response:
    """JSON, or one part as CSV; raises InvalidField for a part that the answer does not have."""
    accepted = request.headers.get("accept", "")
    if given == "json" or (given is None and not accepted.startswith(CSV_TYPE)):
        return JsonAnswer(answer)
    known = parts_of(answer)
    if part == FIGURES and not answer[FIGURES]:
        part = known[0]
    if part not in known:
        raise InvalidField("part", part, f"write one of {', '.join(known)}")
    header, rows = part_rows(answer, part)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    name = f"{request.url.path.strip('/').replace('/', '-')}-{part}.csv"
    return Response(
        text.getvalue(),
        media_type=CSV_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _of_a_period(path: str, summary: str, call: Call, description: str) -> None:
    """A route over a period, a comparison and a segment of the tables."""

    @router.get(
        path,
        response_model=DashboardAnswer,
        responses=RESPONSES,
        summary=summary,
        description=description,
        name=path.strip("/").replace("/", "-"),
        **access(Role.READ),
    )
    async def dashboard(
        request: Request, question: Asked, given: Format = None, part: Part = FIGURES
    ) -> Response:
        answer = await call(running(request).analytics, question)
        return _answer(request, answer, given, part)


def _of_now(
    path: str, summary: str, call: Callable[[Analytics], Awaitable[dict[str, Any]]], description: str
) -> None:
    """A route over the state of now."""

    @router.get(
        path,
        response_model=DashboardAnswer,
        responses=RESPONSES,
        summary=summary,
        description=description,
        name=path.strip("/").replace("/", "-"),
        **access(Role.READ),
    )
    async def state(request: Request, given: Format = None, part: Part = FIGURES) -> Response:
        return _answer(request, await call(running(request).analytics), given, part)


def _table(name: str) -> Call:
    return lambda analytics, question: analytics.dashboard(name, question)


_of_a_period(
    "/dashboard/overview",
    "Key figures, their change, and the days",
    lambda analytics, question: analytics.overview(question),
    "Revenue, orders, users, activities, conversion, margin; by channel, device and type of customer. `live`"
    " counts events of the last hour and day.",
)
_of_a_period(
    "/dashboard/user-analytics",
    "Customers: how many, how they behave, whether they stay, what is expected of them",
    _table("users"),
    "Total, active and new customers, sessions, retention, churn, cohorts by month, the funnel, predictions.",
)
for _path in ("/analytics/user-segments", "/dashboard/segments"):
    _of_a_period(
        _path,
        "Value segments, loyalty tiers, stages of the life cycle",
        _table("segments"),
        "How many customers each holds, what they spent, what is expected of them, and who moved. As of the"
        " latest predictions; the period only names the data.",
    )
_of_a_period(
    "/dashboard/profit-analytics",
    "Margins, channels, stock, and value at risk",
    _table("profit"),
    "Gross margin by category and item; acquisition cost, credited and incremental revenue by channel;"
    " inventory turnover and cover; predicted value at risk.",
)
_of_a_period(
    "/analytics/profit-optimization",
    "Margins, and what they suggest to do",
    _table("opportunities"),
    "The parts of `GET /dashboard/profit-analytics` and the table `opportunities`: items sold below cost,"
    " stock that runs out or lies, bundles, customers to win back, each with its numbers.",
)
for _path in ("/analytics/bundle-performance", "/dashboard/bundles"):
    _of_a_period(
        _path,
        "Bundles: seen, opened, added; and what is bought together",
        lambda analytics, question: analytics.bundles(question),
        "Bundle events by type, baskets, pairs. `live`: the latest bundles beside what was expected of them.",
    )
for _path in ("/analytics/recommendation-performance", "/dashboard/recommendation-analytics"):
    _of_a_period(
        _path,
        "Recommendations: shown, clicked, bought",
        lambda analytics, question: analytics.recommendations(question),
        "Places served, rates and revenue by algorithm, kind, slot, release and type of customer, by the"
        " day of serving; share of the catalogue that was shown. `live` has the latest answers since.",
    )
_of_a_period(
    "/api/v1/personalization/analytics",
    "What is personalized, and how it does",
    lambda analytics, question: analytics.personalization(question),
    "The parts of `GET /analytics/recommendation-performance`; `live`: what the latest answers rested on;"
    " `lift`: the `result` of `GET /api/v1/personalization/lift`, null with the reason before there is one.",
)
for _path in ("/analytics/campaign-performance", "/dashboard/campaigns"):
    _of_a_period(
        _path,
        "Campaigns: sent, opened, what they caused; revenue credited to channels",
        _table("campaigns"),
        "By campaign and channel, with the incremental revenue from customers who were held out, and credit"
        " by five rules and a Markov chain beside it. `campaign_results`: conversion and revenue of both arms"
        " over all days of each campaign, with intervals for one look and for any number of looks."
        " `campaign_uplift`: whether it is known whom its messages move. `offers`: shown, seen, opened, used,"
        " beside the response that was promised.",
    )
_of_a_period(
    "/dashboard/journeys",
    "Journeys: the funnel, common paths, what follows what, where visits end",
    _table("journeys"),
    "Visits as their steps: the 30 most common paths, transitions, drop-offs.",
)
_of_now(
    "/dashboard/models",
    "The released models and their metrics",
    lambda analytics: analytics.models(),
    "Metrics on the test fold with their intervals, and what the release holds.",
)
_of_now(
    "/dashboard/data-health",
    "Freshness, quality, alerts, latency",
    lambda analytics: analytics.data_health(),
    "When each stage was written, rows landed and refused by day, unusual figures, latency of the routes.",
)


@router.get(
    "/dashboard/experiments",
    response_model=ExperimentResults,
    responses={503: {"model": Problem}},
    summary="The results of experiments",
    description="As the asset `analysis/experiments` published them.",
    name="dashboard-experiments",
    **access(Role.READ),
)
async def experiments(request: Request) -> JsonAnswer:
    """What each experiment shows."""
    return JsonAnswer(await running(request).analytics.experiments())
