"""History, insights, identification and profiles over HTTP, on a real log and landed files."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.events import CUSTOMER_SCHEMA, EVENT_SCHEMA
from feature_repo.landed import Span
from feature_repo.layout import Home
from serving.api.application import connect, create_application
from serving.api.schemas.behavior import HistoryAnswer, InsightsAnswer
from serving.api.schemas.profile import ProfileAnswer
from serving.releases import serve_form
from serving.runtime import Runtime, open_runtime
from serving.settings import Settings
from tests.fakes import FakeUserStore, tiny_release
from tests.unit.serving.test_api import PROFILE, ROWS

Scenario = Callable[[httpx.AsyncClient, Runtime], Awaitable[None]]
LANDED_AT = datetime(2024, 1, 20, 9, 30, tzinfo=UTC)


def patient(past: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same with time for a busy test machine, except for the one who asks for none."""

    async def read(user_id: str, span: Span, limit: int, batch_seconds: float = 30.0) -> Any:
        return await past(user_id, span, limit, 30.0 * bool(batch_seconds))

    return read


def run(folder: Path, scenario: Scenario, **options: Any) -> None:
    """Run a scenario against the application on this home."""

    async def served() -> None:
        settings = Settings(home=Home(folder), database_deadline_ms=5000, **options)
        store = FakeUserStore(ROWS)
        runtime = await open_runtime(settings, serve_form(tiny_release()), lambda: store, PROFILE)
        vars(runtime.history)["past"] = patient(runtime.history.past)
        application = create_application()
        connect(application, runtime)
        transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                await scenario(client, runtime)
        finally:
            await runtime.close()

    asyncio.run(served())


def land(home: Path, user: str, count: int, days_apart: int = 1) -> list[str]:
    """Land one view of a mug a day, back from `LANDED_AT`; the ids, latest first."""
    ids: list[str] = []
    for number in range(count):
        at = LANDED_AT - timedelta(days=number * days_apart)
        row = {
            "event_id": f"landed-{number:03d}",
            "event_type": "product_view",
            "user_id": user,
            "item_id": "mug",
            "event_at": at,
            "received_at": at,
            "channel": "web",
            "device_type": "mobile",
            "context": '{"page": 1}',
        }
        columns = {field.name: pa.array([row.get(field.name)], field.type) for field in EVENT_SCHEMA}
        path = Home(home).events / f"event_date={at:%Y-%m-%d}" / "events.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(columns), path)
        ids.append(str(row["event_id"]))
    return ids


def land_customer(home: Path, user: str) -> None:
    """Publish one customer."""
    row = {"user_id": user, "age": 34, "gender": "female", "location": "Lisbon"}
    folder = Home(home).mart("customers")
    folder.mkdir(parents=True)
    columns = {field.name: pa.array([row.get(field.name)], field.type) for field in CUSTOMER_SCHEMA}
    pq.write_table(pa.table(columns), folder / "all.parquet")


async def track(client: httpx.AsyncClient, **event: Any) -> str:
    response = await client.post("/api/v1/behavior/track", json=event)
    assert response.is_success, response.text
    return str(response.json()["event_id"])


async def page(client: httpx.AsyncClient, user: str, **params: Any) -> dict[str, Any]:
    response = await client.get(f"/api/v1/behavior/{user}/history", params=params)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    HistoryAnswer.model_validate(answer)
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [event["event_id"] for event in answer["events"]]


# history


def test_history_holds_what_was_just_tracked(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        first = await track(client, user_id="anna", event_type="product_view", product_id="mug")
        second = await track(
            client, user_id="anna", event_type="search", query="lamp", context={"a": {"b": 1}}
        )
        answer = await page(client, "anna")
        assert ids(answer) == [second, first]
        [search, view] = answer["events"]
        assert search["context"] == {"a": {"b": 1}} and search["query"] == "lamp"
        assert view["event_type"] == "product_view" and view["item_id"] == "mug"
        assert datetime.fromisoformat(view["timestamp"]).tzinfo is not None
        assert answer["next_cursor"] is None
        assert answer["sources"] == ["event_log"], "nothing was landed, and the answer says so"
        assert datetime.fromisoformat(answer["since"]) <= datetime.now(UTC)

    run(tmp_path, scenario)


def test_history_of_a_stranger_is_empty(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        assert (await page(client, "nobody"))["events"] == []

    run(tmp_path, scenario)


def test_history_goes_back_into_what_was_landed_and_shows_nothing_twice(tmp_path: Path) -> None:
    landed = land(tmp_path, "anna", 40)

    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        new = await track(client, user_id="anna", event_type="product_view", product_id="cup")
        # The log still has an event that the batch has landed: it is one event.
        again = {"event_id": landed[0], "event_at": LANDED_AT.isoformat(), "item_id": "mug"}
        await track(client, user_id="anna", event_type="product_view", **again)
        answer = await page(client, "anna")
        assert ids(answer) == [new, *landed]
        assert answer["sources"] == ["event_log", "batch"]
        assert answer["events"][-1]["context"] == {"page": 1}
        assert answer["since"] == "2023-12-12T00:00:00+00:00", "the first landed day"

    run(tmp_path, scenario)


def test_pages_are_stable_while_events_arrive(tmp_path: Path) -> None:
    landed = land(tmp_path, "anna", 25, days_apart=3)

    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        own = [
            await track(client, user_id="anna", event_type="click", event_id=f"own-{number}")
            for number in range(5)
        ]
        seen: list[str] = []
        cursor: str | None = None
        for _page in range(20):
            params: dict[str, Any] = {"limit": 4} | ({"cursor": cursor} if cursor else {})
            answer = await page(client, "anna", **params)
            seen += ids(answer)
            cursor = answer["next_cursor"]
            if cursor is None:
                break
            await track(client, user_id="anna", event_type="page_view")
        assert seen == [*reversed(own), *landed]

    run(tmp_path, scenario)


def test_events_of_one_instant_are_paged_by_their_ids(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        at = "2026-05-01T10:00:00Z"
        for name in "cab":
            await track(client, user_id="anna", event_type="page_view", event_id=name, timestamp=at)
        first = await page(client, "anna", limit=2)
        rest = await page(client, "anna", limit=2, cursor=first["next_cursor"])
        assert ids(first) + ids(rest) == ["c", "b", "a"]

    run(tmp_path, scenario)


def test_history_can_be_narrowed_by_type_and_time(tmp_path: Path) -> None:
    landed = land(tmp_path, "anna", 10)

    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        await track(client, user_id="anna", event_type="login")
        assert ids(await page(client, "anna", event_type="view")) == landed, "any spelling of the type"
        both = await page(client, "anna", event_type=["login", "product_view"])
        assert len(both["events"]) == 11
        some = await page(client, "anna", **{"from": "2024-01-15T00:00:00Z", "to": "2024-01-18T09:30:00Z"})
        assert ids(some) == landed[3:6], "from is included, to is not"

    run(tmp_path, scenario)


def test_what_cannot_be_used_is_refused_and_named(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        for params, named in (
            ({"limit": 0}, "limit"),
            ({"limit": 501}, "limit"),
            ({"cursor": "%%%"}, "cursor"),
            ({"cursor": "bm9wZQ"}, "cursor"),
            ({"event_type": "teleported"}, "event_type"),
            ({"from": "yesterday-ish"}, "from"),
        ):
            response = await client.get("/api/v1/behavior/anna/history", params=params)
            assert response.status_code == 422, params
            assert named in response.json()["detail"]

    run(tmp_path, scenario)


def test_days_that_take_too_long_come_with_the_next_page(tmp_path: Path) -> None:
    landed = land(tmp_path, "anna", 60)

    async def scenario(_: httpx.AsyncClient, runtime: Runtime) -> None:
        from serving.people.history import END_OF_TIME

        past = await runtime.history.past("anna", Span(0, END_OF_TIME), 100, batch_seconds=0.0)
        assert [event["event_id"] for event in past.events] == landed[:16]
        assert past.is_cut
        rest = await runtime.history.past("anna", Span(0, past.since or 0), 100)
        assert [event["event_id"] for event in rest.events] == landed[16:]
        assert not rest.is_cut

    run(tmp_path, scenario)


# identification


def test_identify_joins_history_live_and_insights(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime) -> None:
        before = await track(client, anonymous_id="a1", event_type="product_view", product_id="mug")
        own = await track(client, user_id="zoe", event_type="product_view", product_id="cup")
        response = await client.post("/api/v1/identify", json={"anonymous_id": "a1", "user_id": "zoe"})
        assert response.status_code == 200
        assert response.json() == {
            "anonymous_id": "a1",
            "user_id": "zoe",
            "linked": True,
            "is_new": True,
            "reason": None,
        }
        again = await client.post("/api/v1/identify", json={"anonymous_id": "a1", "customer_id": "zoe"})
        assert (again.status_code, again.json()["is_new"]) == (200, False)
        answer = await page(client, "zoe")
        assert ids(answer) == [own, before]
        assert answer["events"][1]["anonymous_id"] == "a1"
        [row] = await runtime.live.read(["zoe"])
        assert row is not None and [item for item, _, _ in row.recent] == ["cup", "mug"]
        insight = (await client.get("/api/v1/behavior/zoe/insights")).json()
        assert insight["frequency"]["event_count"] == 2

    run(tmp_path, scenario)


def test_identify_as_a_second_customer_is_a_conflict(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        await client.post("/api/v1/identify", json={"anonymous_id": "a1", "user_id": "zoe"})
        response = await client.post("/api/v1/identify", json={"anonymous_id": "a1", "user_id": "max"})
        assert response.status_code == 409
        assert "new anonymous id" in response.json()["detail"] and "zoe" not in response.text

    run(tmp_path, scenario)


def test_identify_refuses_nonsense(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        bodies: list[Any] = [
            {"anonymous_id": "a1"},
            {"user_id": "zoe"},
            {"anonymous_id": "zoe", "user_id": "zoe"},
            {"anonymous_id": "a1", "user_id": "zoe", "extra": 1},
            [],
        ]
        for body in bodies:
            response = await client.post("/api/v1/identify", json=body)
            assert response.status_code == 422, body

    run(tmp_path, scenario)


def test_who_may_not_be_tracked_is_not_joined(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, runtime: Runtime) -> None:
        body = {"anonymous_id": "a1", "user_id": "zoe"}
        response = await client.post("/api/v1/identify", json=body, headers={"DNT": "1"})
        assert response.status_code == 200
        assert response.json()["linked"] is False and response.json()["reason"]
        assert runtime.identities.owner("a1") == "a1"

    run(tmp_path, scenario)


# detected behaviour


def test_detected_behaviour_is_taken_as_documented_and_its_score_counts(tmp_path: Path) -> None:
    """S2: {customer_id, behavior_type, behavior_data, timestamp, context, significance_score}."""

    async def scenario(client: httpx.AsyncClient, runtime: Runtime) -> None:
        told: list[str] = []
        runtime.live.add_significant_listener(told.append)
        detected = {"behavior_type": "price_hunting", "behavior_data": {"seen": 3}, "significance_score": 0.9}
        for user, body in (
            ("zoe", {"event_type": "behavior_detected", **detected, "context": {"device": "mobile"}}),
            ("max", {"behavior_type": "behavior_detected", "data": detected}),
            ("ida", {"event_type": "behavior_detected", **detected, "significance_score": 0.5}),
        ):
            path = "/api/v1/personalization/track-behavior"
            response = await client.post(path, json={"customer_id": user, **body})
            assert response.status_code == 201, response.text
            [event] = (await page(client, user))["events"]
            assert event["event_type"] == "behavior_detected"
            assert event["context"]["behavior_type"] == "price_hunting"
            assert event["context"]["behavior_data"] == {"seen": 3}
        assert told == ["zoe", "max"]
        row = runtime.live.known("ida")
        assert row is not None and row.significance == 0.5

    run(tmp_path, scenario)


def test_two_types_of_one_event_are_still_refused(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        for body in (
            {"event_type": "click", "behavior_type": "behavior_detected"},
            {"event_type": "click", "behavior_type": "search"},
        ):
            response = await client.post("/api/v1/behavior/track", json={"user_id": "zoe", **body})
            assert response.status_code == 422 and "behavior_type" in response.json()["detail"]

    run(tmp_path, scenario)


# insights


def test_insights_of_a_customer_with_batch_history_only(tmp_path: Path) -> None:
    land(tmp_path, "anna", 40)

    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        response = await client.get("/api/v1/behavior/anna/insights")
        assert response.status_code == 200
        answer = response.json()
        InsightsAnswer.model_validate(answer)
        assert answer["user_id"] == "anna" and answer["is_known"]
        assert answer["frequency"]["active_days"] == 40
        assert answer["categories"]["top"][0] == {"value": "kitchen", "share": 1.0}
        assert answer["brands"]["top"][0]["value"] == "A"
        assert answer["devices"]["top"][0]["value"] == "mobile"
        assert answer["preferred_hours"]["top"][0]["value"] == "09:00"
        assert answer["engagement"]["score"] is None and answer["engagement"]["reason"]
        assert answer["live"] is None
        assert answer["totals"]["order_count"] == 12

    run(tmp_path, scenario)


def test_insights_of_a_stranger_are_empty_and_say_why(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        response = await client.get("/api/v1/behavior/nobody/insights")
        assert response.status_code == 200
        answer = response.json()
        InsightsAnswer.model_validate(answer)
        assert not answer["is_known"] and answer["totals"] is None
        assert answer["preferred_hours"]["reason"] == "no events are known of this visitor"

    run(tmp_path, scenario)


def test_insights_know_this_minute(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        await track(client, user_id="zoe", event_type="ADD_TO_CART", product_id="lamp")
        answer = (await client.get("/api/v1/behavior/zoe/insights")).json()
        InsightsAnswer.model_validate(answer)
        assert answer["engagement"]["score"] > 0
        assert answer["live"]["counts"] == {"add_to_cart": 1}
        assert answer["live"]["significance"] == 0.9
        assert answer["live"]["recent"][0]["item_id"] == "lamp"

    run(tmp_path, scenario)


# profiles


def test_a_profile_has_every_group_of_attributes(tmp_path: Path) -> None:
    land(tmp_path, "anna", 20)
    land_customer(tmp_path, "anna")

    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        await track(client, user_id="anna", event_type="click", product_id="lamp")
        for path in ("/api/v1/personalization/profile/anna", "/analytics/user-profile/anna"):
            response = await client.get(path)
            assert response.status_code == 200
            answer = response.json()
            ProfileAnswer.model_validate(answer)
            assert answer["user_id"] == answer["customer_id"] == "anna"
            assert answer["predictions"]["lifetime_value"] == 120.0
            assert answer["predictions"]["churn_probability"] == 0.25
            assert answer["segments"]["loyalty_tier"] == "VIP"
            assert answer["demographic"] == {
                "age": 34,
                "age_group": "25-34",
                "gender": "female",
                "location": "Lisbon",
            }
            assert answer["psychographic"]["interests"]["top"][0]["value"] == "kitchen"
            assert answer["psychographic"]["values"]["value"] is None
            assert answer["behavioral"]["engagement"]["score"] > 0
            assert answer["live"]["counts"] == {"click": 1}
            assert answer["preferences"]["language"] == "en"
            assert answer["degraded"] == []

    run(tmp_path, scenario)


def test_groups_can_be_left_out(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        for name, left_out in (
            ("include_preferences", ["psychographic", "preferences"]),
            ("include_predictions", ["predictions"]),
            ("include_segments", ["segments"]),
        ):
            response = await client.get("/analytics/user-profile/anna", params={name: "false"})
            answer = response.json()
            ProfileAnswer.model_validate(answer)
            groups = ("psychographic", "preferences", "predictions", "segments")
            assert [group for group in groups if answer[group] is None] == left_out

    run(tmp_path, scenario)


def test_nobody_has_no_profile(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        for path in ("/api/v1/personalization/profile/nobody", "/analytics/user-profile/nobody"):
            response = await client.get(path)
            assert response.status_code == 404 and "nobody" in response.json()["detail"]

    run(tmp_path, scenario)


def test_who_acted_or_was_created_has_a_profile(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, _: Runtime) -> None:
        await track(client, user_id="zoe", event_type="page_view")
        created = {"customer_id": "max", "name": "Max", "age": 50, "location": "Porto"}
        assert (await client.post("/customer/create", json=created)).status_code in (200, 201)
        zoe = (await client.get("/api/v1/personalization/profile/zoe")).json()
        assert zoe["live"]["counts"] == {"page_view": 1}
        assert zoe["predictions"]["lifetime_value"] is None
        maximilian = (await client.get("/api/v1/personalization/profile/max")).json()
        assert maximilian["demographic"] == {
            "age": 50,
            "age_group": "45-54",
            "gender": None,
            "location": "Porto",
        }

    run(tmp_path, scenario)
