"""Recommendations: five spellings of one question, and many customers at once."""

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.routing import APIRoute

from serving.access.security import Role, access
from serving.api.answers import JsonAnswer, running
from serving.api.schemas.common import CustomerId, Limit, Problem
from serving.api.schemas.recommendations import (
    AnalyticsRecommendationRequest,
    BatchAnswer,
    BatchRequest,
    PersonalizeRequest,
    RecommendationAnswer,
)
from serving.people.permissions import Signals
from serving.recommendations.ask import RecommendAsk


class PlainRoute(APIRoute):
    """A route over one customer and the defaults: the common request is not validated field by field.

    Anything but a plain id without a query takes FastAPI's way, with the same result.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        validated = super().get_route_handler()
        endpoint = self.endpoint

        async def answer(request: Request) -> Response:
            customer_id = request.path_params["customer_id"]
            if request.scope["query_string"] or not PLAIN_ID.fullmatch(customer_id):
                return await validated(request)
            return cast(Response, await endpoint(request, customer_id))

        return answer


PLAIN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
router = APIRouter(tags=["recommendations"])
plain = APIRouter(tags=["recommendations"], route_class=PlainRoute)
REFUSALS: dict[int | str, dict[str, Any]] = {422: {"model": Problem}}
ExcludeSeen = Annotated[bool, Query(description="Leave out what the customer has bought")]


@plain.get(
    "/api/v1/recommendations/{customer_id}",
    response_model=RecommendationAnswer,
    responses=REFUSALS,
    summary="Items for one customer",
    **access(Role.READ, "path.customer_id"),
)
async def recommend(
    request: Request,
    customer_id: Annotated[CustomerId, Path()],
    limit: Annotated[Limit, Query()] = 10,
    exclude_seen: ExcludeSeen = False,
) -> JsonAnswer:
    """Items best first. Newcomers and a silent online store get a fallback that says so, never an error."""
    ask = RecommendAsk(customer_id, limit, exclude_seen, signals=Signals.of(request.scope))
    return JsonAnswer(await running(request).personalizer.recommend(ask))


@router.post(
    "/api/v1/recommendations/batch",
    response_model=BatchAnswer,
    responses=REFUSALS,
    summary="Items for up to a thousand customers",
    **access(Role.READ, "body.customer_ids[]"),
)
async def recommend_batch(request: Request, body: BatchRequest) -> JsonAnswer:
    """The same answer as one request each, from batched reads."""
    answer = await running(request).personalizer.recommend_batch(
        body.customer_ids, body.limit, body.exclude_seen, Signals.of(request.scope)
    )
    return JsonAnswer(answer)


@router.post(
    "/api/v1/personalize/recommendations/{user_id}",
    response_model=RecommendationAnswer,
    responses=REFUSALS,
    summary="Items for one customer on a page: slots, weights, rules and filters",
    **access(Role.READ, "path.user_id"),
)
async def personalize(
    request: Request, user_id: Annotated[CustomerId, Path()], body: PersonalizeRequest | None = None
) -> JsonAnswer:
    """A list, or with `recommendation_types` a page of slots on which no item is shown twice."""
    ask = as_ask(user_id, body or PersonalizeRequest(), Signals.of(request.scope))
    return JsonAnswer(await running(request).personalizer.recommend(ask))


@router.get(
    "/api/v1/personalization/recommendations",
    response_model=RecommendationAnswer,
    responses=REFUSALS,
    summary="Items for one customer",
    tags=["compatible"],
    **access(Role.READ, "query.customer_id"),
)
async def recommend_by_query(
    request: Request,
    customer_id: Annotated[CustomerId, Query()],
    limit: Annotated[Limit, Query()] = 10,
    exclude_seen: ExcludeSeen = False,
) -> JsonAnswer:
    """Compatible spelling of `GET /api/v1/recommendations/{customer_id}`."""
    ask = RecommendAsk(customer_id, limit, exclude_seen, signals=Signals.of(request.scope))
    return JsonAnswer(await running(request).personalizer.recommend(ask))


@plain.get(
    "/recommendations/{customer_id}",
    response_model=RecommendationAnswer,
    responses=REFUSALS,
    summary="Stored items for one customer",
    tags=["compatible"],
    **access(Role.READ, "path.customer_id"),
)
async def recommend_stored(
    request: Request,
    customer_id: Annotated[CustomerId, Path()],
    limit: Annotated[Limit, Query()] = 10,
    exclude_seen: ExcludeSeen = False,
) -> JsonAnswer:
    """Compatible spelling of `GET /api/v1/recommendations/{customer_id}` that may give an answer again.

    The last answer is given again for CACHE_TTL seconds: less where the customer acted since, and not at all
    once they bought something, filled their cart or turned to something new.
    """
    ask = RecommendAsk(customer_id, limit, exclude_seen, signals=Signals.of(request.scope), reuse=True)
    return JsonAnswer(await running(request).personalizer.recommend(ask))


@router.post(
    "/analytics/recommendations",
    response_model=RecommendationAnswer,
    responses=REFUSALS,
    summary="Items for one customer on a page",
    tags=["compatible"],
    **access(Role.READ, "body.user_id", "body.customer_id"),
)
async def recommend_by_body(request: Request, body: AnalyticsRecommendationRequest) -> JsonAnswer:
    """Compatible spelling of `POST /api/v1/personalize/recommendations/{user_id}`."""
    ask = as_ask(body.customer_id, body, Signals.of(request.scope))
    return JsonAnswer(await running(request).personalizer.recommend(ask))


def as_ask(visitor_id: str, body: PersonalizeRequest, signals: Signals) -> RecommendAsk:
    """The question that a body asks."""
    return RecommendAsk(
        visitor_id,
        body.limit,
        body.exclude_seen,
        body.context,
        body.current_product,
        body.category,
        body.recommendation_types,
        body.weights,
        body.actions,
        signals,
        attributes=body.attributes,
    )


router.include_router(plain)
