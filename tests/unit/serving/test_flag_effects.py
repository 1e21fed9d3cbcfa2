"""Each flag that is off changes what the service does, and the answer names the setting."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.decisions.assignment import is_held_out
from serving.releases import serve_form
from serving.settings import FLAGS
from tests.fakes import tiny_release
from tests.served import Served, served

Scenario = Callable[[Served], Awaitable[None]]


def run(root: Path, flag: str, scenario: Scenario, on: bool = False) -> None:
    """Run a scenario with one flag set."""

    async def body() -> None:
        async with served(root, env={FLAGS[flag][0]: str(on).lower()}) as running:
            await scenario(running)

    asyncio.run(body())


def test_without_tracking_nothing_is_stored(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        event = {"user_id": "42", "event_type": "add_to_cart", "product_id": "mug"}
        answer = await running.client.post("/api/v1/behavior/track", json=event)
        assert (answer.status_code, answer.json()["tracked"]) == (202, False)
        history = await running.client.get("/api/v1/behavior/42/history")
        assert history.json()["events"] == []

    run(tmp_path, "behavioral_tracking", scenario)


def test_without_browsing_history_views_are_not_stored_and_the_rest_is(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        tracked = {}
        for kind in ("product_view", "add_to_cart"):
            event = {"user_id": "42", "event_type": kind, "product_id": "mug"}
            tracked[kind] = (await running.client.post("/api/v1/behavior/track", json=event)).json()[
                "tracked"
            ]
        assert tracked == {"product_view": False, "add_to_cart": True}

    run(tmp_path, "browsing_history", scenario)


def test_without_the_preference_center_the_defaults_hold(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        await running.client.put("/api/v1/preferences/42", json={"theme": "dark", "language": "pt"})
        answer = (await running.client.get("/api/v1/preferences/42")).json()
        assert (answer["language"], answer["disabled"]) == ("en", "ENABLE_PREFERENCE_CENTER")

    run(tmp_path, "preference_center", scenario)


def test_without_recommendations_everybody_gets_what_is_popular(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        answer = (await running.client.get("/api/v1/recommendations/anna")).json()
        assert answer["personalized"] is False
        assert answer["reason"] == "ENABLE_PERSONALIZED_RECOMMENDATIONS=false"
        assert answer["recommendations"]

    run(tmp_path, "recommendations", scenario)


def test_without_personal_search_the_order_that_was_sent_stays(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        body = {"query": "cup", "item_ids": ["rug", "mug", "cup"]}
        answer = (await running.client.post("/api/v1/personalize/search/anna", json=body)).json()
        assert [each["item_id"] for each in answer["results"]] == body["item_ids"]
        assert answer["reason"] == "ENABLE_PERSONALIZED_SEARCH=false"

    run(tmp_path, "personalized_search", scenario)


def test_dynamic_pricing_is_off_until_it_is_switched_on(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        answer = (await running.client.get("/api/v1/pricing/mug?user_id=anna")).json()
        assert "ENABLE_DYNAMIC_PRICING=false" in str(answer)
        assert answer["price"] == 4.0

    run(tmp_path, "dynamic_pricing", scenario)


def test_without_smart_notifications_the_hour_is_the_default_one(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        granted = await running.client.post(
            "/api/v1/consent/anna", json={"purpose": "email", "granted": True, "source": "test"}
        )
        assert granted.status_code in (200, 201), granted.text
        answer = (await running.client.get("/api/v1/personalize/send-time/anna")).json()
        assert "ENABLE_SMART_NOTIFICATIONS=false" in str(answer)

    run(tmp_path, "smart_notifications", scenario)


def test_without_experiments_everybody_is_in_the_control_group(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        for visitor in range(10):
            answer = (await running.client.get(f"/api/v1/ab-test/{visitor}/variant")).json()
            assert (answer["variant"], answer["reason"]) == ("control", "ENABLE_AB_TESTING=false")
        body = {"user_id": "1", "event": "conversion"}
        tracked = (await running.client.post("/api/v1/ab-test/track", json=body)).json()
        assert (tracked["tracked"], tracked["reason"]) == (False, "ENABLE_AB_TESTING=false")

    run(tmp_path, "ab_testing", scenario)


@pytest.mark.parametrize("on", [True, False])
def test_without_live_reranking_the_session_changes_nothing(tmp_path: Path, on: bool) -> None:
    async def scenario(running: Served) -> None:
        for item in ("mug", "cup", "mug"):
            event = {"user_id": "visitor", "event_type": "product_view", "product_id": item}
            await running.client.post("/api/v1/behavior/track", json=event)
        answer = (await running.client.get("/api/v1/recommendations/visitor")).json()
        assert (answer["rung"] == "live") is on

    run(tmp_path, "live_reranking", scenario, on)


@pytest.mark.parametrize("is_lazy", [True, False])
def test_lazy_or_not_a_release_is_the_same_in_the_end(is_lazy: bool) -> None:
    assert "lazy_algorithms" in FLAGS
    release = tiny_release()
    serve_form(release, is_lazy)
    assert is_lazy or "gram" in vars(release.factors), "prepared before the first request"
    assert release.factors.gram.shape == (2, 2)


def test_every_flag_is_checked_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [flag for flag in FLAGS if f'"{flag}"' not in text] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/recommendations/{}", None),
        ("GET", "/api/v1/personalize/homepage/{}", None),
        ("GET", "/api/v1/personalize/content/{}", None),
        ("POST", "/api/v1/offers/{}", {}),
        ("POST", "/api/v1/personalize/search/{}", {"query": "cup", "item_ids": ["rug", "mug", "cup"]}),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("/") else "",
)
def test_the_permanent_holdout_gets_nothing_personal_anywhere(
    tmp_path: Path, method: str, path: str, body: dict[str, Any] | None
) -> None:
    async def scenario() -> None:
        async with served(tmp_path, env={"ATTUNE_HOLDOUT_SHARE": "0.3"}) as running:
            visitors = [f"visitor-{number}" for number in range(20)]
            for visitor in visitors:
                answer = await running.client.request(method, path.format(visitor), json=body)
                assert answer.status_code == 200, answer.text
                is_control = answer.json()["reason"] == "experiment"
                assert is_control == is_held_out(visitor, 0.3), visitor
                assert not (is_control and answer.json()["personalized"])
            assert {is_held_out(visitor, 0.3) for visitor in visitors} == {True, False}

    asyncio.run(scenario())
