"""The HTTP face over fakes: shapes, fallbacks, refusals, metrics."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from feature_repo.layout import Home
from feature_repo.user_features import user_outlook
from serving.access.bodies import MAX_BODY_BYTES
from serving.api.application import connect, create_application
from serving.api.schemas.operations import HealthAnswer
from serving.api.schemas.profile import ProfileAnswer
from serving.api.schemas.recommendations import BatchAnswer, RecommendationAnswer
from serving.people.profile import ProfileView
from serving.releases import serve_form
from serving.requests import RequestMiddleware
from serving.runtime import open_runtime
from serving.settings import Settings, read_settings
from tests.fakes import FakeUserStore, tiny_release

FEATURE_AT = datetime(2024, 2, 1, tzinfo=UTC)
ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "user_candidates": {
        "anna": {
            "item_ids": ["mug", "lamp", "pot"],
            "scores": [0.9, 0.5, 0.4],
            "algorithms": ["collaborative", "buy_again", "collaborative"],
            "seen": ["lamp"],
            "release_id": "20240131-aaaaaaaa",
            "feature_at": FEATURE_AT,
        }
    },
    "user_behavior": {
        "anna": {
            "feature_at": FEATURE_AT,
            "order_count": 12,
            "orders_decay_90d": 4.0,
            "unit_count": 10.0,
            "spend_total": 250.0,
            "max_order_amount": float("nan"),
            "recent_items": ["mug"],
        },
        "newcomer": {"recent_items": ["cup"], "recent_categories": ["kitchen"], "feature_at": FEATURE_AT},
        "browser": {"recent_items": ["rug"], "recent_categories": ["light"], "feature_at": FEATURE_AT},
    },
    "user_predictions": {
        "anna": {
            "feature_at": FEATURE_AT,
            "clv_90d": 120.0,
            "clv_90d_low": 20.0,
            "clv_90d_high": 300.0,
            "churn_probability": 0.25,
            "value_segment": "low",
        }
    },
    "user_outlook": {
        "anna": {
            "feature_at": FEATURE_AT,
            "clv_horizons": [40.0, 0.0, 90.0, 400.0, 50.0, 1200.0],
            "clv_parts": [0.5, 2.0, 120.0],
            "churn_drivers": ["late by the own rhythm", "recent spend"],
            "churn_driver_effects": [0.5, -0.25],
            "expected_saving": 3.5,
            "next_order_days": [20.0, 3.0, 120.0],
            "next_category": "kitchen",
            "due_items": ["mug"],
            "due_in_days": [2.5],
            "price_habits": [0.25, 0.5],
            "audience": "",
            "segment": "frequent, engaged",
        }
    },
}
PROFILE = ProfileView(
    behaviour_fields=(
        "feature_at",
        "order_count",
        "orders_decay_90d",
        "unit_count",
        "spend_total",
        "max_order_amount",
        "recent_items",
    ),
    prediction_fields=(
        "feature_at",
        "clv_90d",
        "clv_90d_low",
        "clv_90d_high",
        "churn_probability",
        "value_segment",
    ),
    derive=lambda values, at: {"age_days": (at - values["feature_at"]).days},
    outlook_fields=tuple(field.name for field in user_outlook.features),
)

Scenario = Callable[[httpx.AsyncClient, FakeUserStore], Awaitable[None]]


def run(scenario: Scenario, settings: Settings | None = None, service: str = "serving_v2") -> None:
    """Run a scenario against the application as it is served, middleware included, in a home of its own."""

    async def served(folder: str) -> None:
        # Neither chance nor the penalty for what is alike: tests/unit/serving/test_ranking.py is about those.
        given = settings or read_settings({})
        at_home = replace(given, home=Home(Path(folder)), exploration=0.0, diversity=0.0)
        store = FakeUserStore(ROWS)
        release = serve_form(tiny_release(service=service))
        runtime = await open_runtime(at_home, release, lambda: store, PROFILE)
        application = create_application()
        connect(application, runtime)
        served = RequestMiddleware(application, application.state)
        transport = httpx.ASGITransport(app=served, raise_app_exceptions=False)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                await scenario(client, store)
        finally:
            store.recover()
            await runtime.close()

    with TemporaryDirectory() as folder:
        asyncio.run(served(folder))


def item_ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["recommendations"]]


def algorithms(answer: dict[str, Any]) -> list[str]:
    return [item["algorithm"] for item in answer["recommendations"]]


def test_a_known_customer_gets_their_candidates_with_provenance() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        response = await client.get("/api/v1/recommendations/anna", params={"limit": 2})
        assert response.status_code == 200
        answer = response.json()
        RecommendationAnswer.model_validate(answer)
        assert item_ids(answer) == ["mug", "lamp"]
        assert answer["recommendations"][0] == {
            "rank": 1,
            "position": 1,
            "item_id": "mug",
            "score": 1.0,
            "algorithm": "collaborative",
            "reason": "chosen by customers with similar taste",
            "propensity": 1.0,
            "slot": None,
            "title": "Mug",
            "category": "kitchen",
            "price": 4.0,
        }
        assert (answer["rung"], answer["personalized"], answer["stored"]) == ("batch", True, False)
        assert answer["release"] == "20240131-aaaaaaaa"
        assert answer["model_versions"] == {"collaborative": "7", "clv": "3", "churn": "4"}
        assert len(answer["recommendation_id"]) == 32
        assert answer["feature_age_seconds"] > 0
        assert (answer["fallback"], answer["fallback_reason"]) == (False, None)

    run(scenario)


def test_what_was_bought_is_left_out_on_request_and_the_list_is_filled_up() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = (
            await client.get("/api/v1/recommendations/anna", params={"limit": 4, "exclude_seen": "true"})
        ).json()
        assert item_ids(answer) == ["mug", "bulb", "cup", "rug"], "the lamp was bought, the pot is sold out"
        assert algorithms(answer) == ["collaborative", "popular_recently", "popular", "popular"]

    run(scenario)


def test_a_newcomer_with_known_items_gets_a_fold_in() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = (
            await client.get("/api/v1/recommendations/newcomer", params={"limit": 2, "exclude_seen": "true"})
        ).json()
        assert item_ids(answer) == ["mug", "bulb"], "like the cup, without it, and not the sold out pot"
        assert set(algorithms(answer)) == {"collaborative_fold_in"}
        assert (answer["fallback"], answer["fallback_reason"]) == (True, "new_customer")

    run(scenario)


def test_a_newcomer_with_unknown_items_gets_what_is_popular_in_their_categories() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = (await client.get("/api/v1/recommendations/browser", params={"limit": 3})).json()
        assert item_ids(answer) == ["lamp", "bulb", "mug"]
        assert algorithms(answer) == ["popular_in_category", "popular_in_category", "popular"]

    run(scenario)


def test_somebody_unknown_gets_popular_items_and_the_answer_says_so() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = (await client.get("/api/v1/recommendations/nobody")).json()
        assert item_ids(answer) == ["bulb", "lamp", "mug", "cup", "rug"]
        assert (answer["rung"], answer["personalized"]) == ("popular", False)
        assert (answer["fallback"], answer["fallback_reason"]) == (True, "unknown_customer")
        assert answer["feature_age_seconds"] is None

    run(scenario)


def test_a_batch_equals_single_answers() -> None:
    customers = ["browser", "anna", "nobody", "newcomer", "anna"]

    async def scenario(client: httpx.AsyncClient, store: FakeUserStore) -> None:
        store.reads.clear()
        response = await client.post(
            "/api/v1/recommendations/batch", json={"customer_ids": customers, "limit": 4}
        )
        assert len(store.reads) == 3, "candidates; behaviour and segments of the newcomers"
        BatchAnswer.model_validate(response.json())
        results = response.json()["results"]
        assert [result["customer_id"] for result in results] == customers
        for result in results:
            single = (
                await client.get(f"/api/v1/recommendations/{result['customer_id']}", params={"limit": 4})
            ).json()
            assert result["recommendations"] == single["recommendations"]
            assert result["fallback_reason"] == single["fallback_reason"]
        assert len({result["recommendation_id"] for result in results}) == len(customers)

    run(scenario)


def test_whole_numbers_are_accepted_as_ids_and_become_text() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        response = await client.post("/api/v1/recommendations/batch", json={"customer_ids": [12345]})
        assert response.json()["results"][0]["customer_id"] == "12345"

    run(scenario)


def test_a_profile_holds_features_predictions_and_tiers() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = (await client.get("/api/v1/personalization/profile/anna")).json()
        ProfileAnswer.model_validate(answer)
        assert answer["features"]["order_count"] == 12
        assert answer["features"]["max_order_amount"] is None, "NaN is null in JSON"
        assert answer["features"]["age_days"] == 0, "derived as of the end of the release's data"
        assert answer["predictions"]["lifetime_value"] == 120.0
        assert answer["predictions"]["churn_probability"] == 0.25
        assert answer["segments"] == {
            "value_segment": "low",
            "loyalty_tier": "VIP",
            "price_tier": "Premium",
            "behavior_segment": "frequent, engaged",
            "behavior_segment_before": None,
        }

    run(scenario)


def test_a_profile_shows_horizons_drivers_the_next_order_and_what_keeping_would_save() -> None:
    async def scenario(client: httpx.AsyncClient, store: FakeUserStore) -> None:
        answer = (await client.get("/api/v1/personalization/profile/anna")).json()
        expected = answer["predictions"]
        assert [
            (each["days"], each["value"], each["is_extrapolated"]) for each in expected["value_horizons"]
        ] == [
            (30, 40.0, False),
            (90, 120.0, False),
            (365, 400.0, True),
        ]
        assert expected["value_parts"] == {
            "alive_probability": 0.5,
            "expected_orders": 2.0,
            "order_value": 120.0,
        }
        assert expected["churn_drivers"][0] == {"name": "late by the own rhythm", "effect": 0.5}
        assert expected["retention"] == {"expected_saving": 3.5, "audience": None}
        assert expected["next_purchase"]["forecast"]["median_days"] == 20.0
        assert expected["next_purchase"]["forecast"]["category"] == "kitchen"
        due_on = (FEATURE_AT + timedelta(days=2.5)).date().isoformat()
        assert expected["due_items"] == [{"item_id": "mug", "due_on": due_on}]
        assert expected["price_habits"] == {"price_level": 0.25, "discount_share": 0.5}
        assert answer["segments"]["behavior_segment"] == "frequent, engaged"

    run(scenario)


def test_a_release_by_older_code_has_a_profile_without_outlook() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = (await client.get("/api/v1/personalization/profile/anna")).json()
        assert answer["predictions"]["lifetime_value"] == 120.0
        assert answer["predictions"]["value_horizons"] == []
        assert not answer["fallback"]

    run(scenario, service="serving_v1")


def test_a_customer_without_predictions_yet_has_a_profile_with_nulls() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = (await client.get("/api/v1/personalization/profile/newcomer")).json()
        assert answer["predictions"]["lifetime_value"] is None
        assert answer["predictions"]["value_horizons"] == []
        assert answer["predictions"]["next_purchase"]["forecast"] is None
        assert answer["segments"]["value_segment"] is None

    run(scenario)


def test_the_profile_of_nobody_is_a_404_that_says_what_to_do() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        response = await client.get("/api/v1/personalization/profile/nobody")
        assert response.status_code == 404
        assert "customer_id 'nobody' is unknown" in response.json()["detail"]

    run(scenario)


def test_a_hung_store_gives_flagged_answers_not_errors() -> None:
    async def scenario(client: httpx.AsyncClient, store: FakeUserStore) -> None:
        store.hang()
        first = (await client.get("/api/v1/recommendations/anna")).json()
        assert first["fallback_reason"] == "online_store_timeout"
        assert item_ids(first)[:2] == ["bulb", "lamp"]
        second = (await client.get("/api/v1/recommendations/anna")).json()
        assert second["fallback_reason"] == "online_store_unavailable"
        profile = await client.get("/api/v1/personalization/profile/anna")
        assert profile.status_code == 200
        assert profile.json()["fallback"] is True
        ProfileAnswer.model_validate(profile.json())
        health = (await client.get("/health")).json()
        assert (health["status"], health["online_store"]["reachable"]) == ("degraded", False)
        assert (await client.get("/health/ready")).status_code == 200

    run(scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", "/api/v1/recommendations/anna?limit=0", None, "limit='0' cannot be used"),
        ("GET", "/api/v1/recommendations/anna?limit=101", None, "less than or equal to 100"),
        ("GET", "/api/v1/recommendations/anna?limit=many", None, "limit='many'"),
        ("GET", "/api/v1/recommendations/anna?exclude_seen=perhaps", None, "exclude_seen='perhaps'"),
        ("GET", "/api/v1/recommendations/" + "x" * 300, None, "customer_id="),
        ("POST", "/api/v1/recommendations/batch", b"{not json", "the body is not JSON"),
        ("POST", "/api/v1/recommendations/batch", b"\xff\xfe", "body"),
        ("POST", "/api/v1/recommendations/batch", b"{}", "customer_ids is missing"),
        ("POST", "/api/v1/recommendations/batch", b'{"customer_ids": []}', "customer_ids=[]"),
        ("POST", "/api/v1/recommendations/batch", b'{"customer_ids": [true]}', "customer_ids.0=True"),
        ("POST", "/api/v1/recommendations/batch", b'{"customer_ids": ["a"], "top": 3}', "top=3"),
    ],
)
def test_a_wrong_request_is_refused_with_field_value_and_remedy(
    method: str, path: str, body: bytes | None, said: str
) -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        response = await client.request(
            method, path, content=body, headers={"content-type": "application/json"}
        )
        assert response.status_code in (400, 422)
        assert said in response.json()["detail"]
        assert len(response.json()["detail"]) < 400

    run(scenario)


def test_more_customers_than_allowed_and_bodies_too_large_are_refused() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        many = {"customer_ids": [str(n) for n in range(1001)]}
        response = await client.post("/api/v1/recommendations/batch", json=many)
        assert response.status_code == 422
        assert "at most 1000" in response.json()["detail"]
        huge = b" " * (MAX_BODY_BYTES + 1)
        response = await client.post("/api/v1/recommendations/batch", content=huge)
        assert response.status_code == 413
        assert str(MAX_BODY_BYTES) in response.json()["detail"]

    run(scenario)


def test_health_says_what_is_loaded() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = (await client.get("/health")).json()
        HealthAnswer.model_validate(answer)
        assert answer["status"] == "ok"
        assert answer["release"]["release"] == "20240131-aaaaaaaa"
        assert answer["model_versions"]["clv"] == "3"
        assert answer["online_store"]["kind"] == "sqlite"
        assert (await client.get("/health/live")).json() == {"status": "ok"}

    run(scenario)


def test_metrics_label_routes_by_template_and_never_hold_an_id() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        await client.get("/api/v1/recommendations/anna")
        await client.get("/api/v1/recommendations/nobody/else")
        await client.get("/wp-login.php")
        await client.get("/static/none-such.js")
        await client.request("BREW", "/api/v1/recommendations/anna")
        text = (await client.get("/metrics")).text
        assert "# TYPE attune_http_requests_total counter" in text
        labels = 'method="GET",route="/api/v1/recommendations/{customer_id}",status="200"'
        assert f"attune_http_requests_total{{{labels}}} 1.0" in text
        assert 'attune_answers_total{fallback="none",kind="recommendations"} 1.0' in text
        assert 'attune_release_loaded{release="20240131-aaaaaaaa"} 1.0' in text
        for raw in ("anna", "nobody", "wp-login", "none-such", "BREW"):
            assert raw not in text

    run(scenario)


def test_every_answer_has_a_request_id_and_takes_over_a_sensible_one() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        response = await client.get("/health/live", headers={"x-request-id": "shop-42"})
        assert response.headers["x-request-id"] == "shop-42"
        response = await client.get("/health/live", headers={"x-request-id": "a b\t<script>"})
        assert len(response.headers["x-request-id"]) == 32

    run(scenario)


def test_documentation_pages_load_from_this_host_alone() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        for page in ("/docs", "/redoc"):
            response = await client.get(page)
            assert response.status_code == 200
            assert "<html" in response.text
            assert "default-src 'self'" in response.headers["content-security-policy"]
            assert "http" not in response.text.replace("http-equiv", "")
            for asset in _assets(response.text):
                assert (await client.get(asset)).status_code == 200
        assert (await client.get("/")).headers["location"] == "/docs"

    run(scenario)


def test_the_dashboard_is_files_of_this_host_under_a_strict_policy() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        response = await client.get("/dashboard")
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "connect-src 'self'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert "style=" not in response.text and "onclick" not in response.text
        assets = _assets(response.text)
        assert len(assets) > 10
        for asset in assets:
            assert (await client.get(asset)).status_code == 200
        module = (await client.get("/static/dashboard/main.js")).text
        for name in re.findall(r'from "\./(\w+\.js)"', module):
            assert f"/static/dashboard/{name}" in assets, f"{name} is not fetched ahead"

    run(scenario)


def test_openapi_describes_every_route() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        description = (await client.get("/openapi.json")).json()
        assert {
            "/api/v1/recommendations/{customer_id}",
            "/api/v1/recommendations/batch",
            "/api/v1/personalization/profile/{customer_id}",
            "/health",
            "/metrics",
        } <= set(description["paths"])
        answer = description["paths"]["/api/v1/recommendations/{customer_id}"]["get"]["responses"]["200"]
        assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/RecommendationAnswer")

    run(scenario)


def test_a_failure_of_ours_shows_no_stack_trace() -> None:
    async def scenario(client: httpx.AsyncClient, store: FakeUserStore) -> None:
        store.rows["user_candidates"]["broken"] = {"item_ids": ["mug"]}  # type: ignore[index]
        try:
            response = await client.get("/api/v1/recommendations/broken")
        finally:
            del store.rows["user_candidates"]["broken"]  # type: ignore[attr-defined]
        assert response.status_code == 500
        assert response.headers["x-request-id"] in response.json()["detail"]
        assert "Traceback" not in response.text

    run(scenario)


def _assets(page: str) -> list[str]:
    parts = page.replace('"', " ").split()
    return [part for part in parts if part.startswith("/static/")]
