"""Tracking over HTTP: every documented spelling, single and in batches, refused with the remedy."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from serving.api.schemas.tracking import BatchTrackAnswer, ProcessedAnswer, TrackAnswer
from serving.settings import read_settings
from tests.fakes import FakeUserStore
from tests.unit.serving.test_api import run

TRACK, BATCH = "/api/v1/behavior/track", "/api/v1/behavior/track/batch"
VIEW = {"user_id": "anna", "event_type": "product_view", "product_id": "mug"}
SPELLINGS: list[tuple[str, dict[str, Any]]] = [
    (TRACK, VIEW | {"timestamp": "2026-01-31T10:30:00Z"}),
    (
        "/analytics/track-activity",
        {
            "user_id": "anna",
            "activity_type": "ADD_TO_CART",
            "product_id": "mug",
            "context": {
                "device_type": "mobile",
                "browser": "firefox",
                "time_spent": 12.5,
                "scroll_depth": 0.8,
            },
        },
    ),
    (
        "/api/v1/interactions",
        {
            "customer_id": "anna",
            "event_type": "click",
            "item_id": "mug",
            "timestamp": "2026-01-31T12:00:00Z",
            "channel": "web",
            "session_id": "s_1",
        },
    ),
    (
        "/api/v1/personalization/track-behavior",
        {"customer_id": 12345, "behavior_type": "product_viewed", "data": {"product_id": "mug"}},
    ),
    ("/customer/update-behavior", {"customer_id": "anna", "behavior_type": "browsing", "item_id": "mug"}),
    (
        "/recommendations/process-browsing",
        {"customer_id": "anna", "product_id": "mug", "category": "electronics"},
    ),
    (
        "/recommendations/process-purchase",
        {"customer_id": "anna", "product_id": "mug", "price": 19.9},
    ),
]


@pytest.mark.parametrize(("path", "body"), SPELLINGS, ids=[path for path, _ in SPELLINGS])
def test_every_spelling_answers_the_id_of_a_durable_event(path: str, body: dict[str, Any]) -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await client.post(path, json=body)
        assert answer.status_code == 201
        tracked = TrackAnswer.model_validate(answer.json())
        assert tracked.tracked
        assert tracked.event_id
        again = await client.post(path, json=body | {"event_id": tracked.event_id})
        assert again.json()["event_id"] == tracked.event_id

    run(scenario)


@pytest.mark.parametrize("path", [path for path, _ in SPELLINGS[-2:]])
def test_processing_answers_what_to_show_next(path: str) -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        body = {"customer_id": "anna", "product_id": "mug", "quantity": 1, "price": 19.9}
        answer = ProcessedAnswer.model_validate((await client.post(path, json=body)).json())
        assert answer.customer_id == "anna"
        assert all(item["item_id"] for item in answer.recommendations)
        assert answer.recommendations

    run(scenario)


def test_browsing_without_a_product_is_a_visit_of_a_category() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        body = {"customer_id": "anna", "category": "kitchen", "event_id": "e1"}
        assert (await client.post("/recommendations/process-browsing", json=body)).status_code == 201
        same = {
            "user_id": "anna",
            "event_type": "category_browse",
            "context": {"category": "kitchen"},
            "event_id": "e1",
        }
        assert (await client.post(TRACK, json=same)).status_code == 201

    run(scenario)


def test_a_repeated_id_answers_the_same_and_another_body_is_a_conflict() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        body = VIEW | {"event_id": "e1"}
        first, again = await client.post(TRACK, json=body), await client.post(TRACK, json=body)
        assert (first.status_code, first.content) == (again.status_code, again.content)
        other = await client.post(TRACK, json=body | {"product_id": "cup"})
        assert other.status_code == 409
        assert other.json()["detail"].startswith("event_id='e1' cannot be used: another event has this id")

    run(scenario)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"{not json", "the body is not JSON"),
        (b"\xff\xfe", "body"),
        (b"", "body"),
        (b"[]", "the body is no JSON object"),
        (json.dumps(VIEW | {"event_type": "teleported"}), "event_type='teleported' cannot be used"),
        (json.dumps(VIEW | {"event_type": "prodct_view"}), "did you mean product_view"),
        (json.dumps(VIEW | {"timestamp": "yesterday-ish"}), "event_at='yesterday-ish' cannot be used"),
        (json.dumps(VIEW | {"customer_id": "bert"}), "it is the same field as user_id='anna'"),
        (json.dumps({"event_type": "page_view"}), "user_id is missing"),
        (json.dumps(VIEW | {"data": 3}), "data=3 cannot be used"),
    ],
)
def test_what_cannot_be_tracked_is_refused_with_the_remedy(content: str | bytes, detail: str) -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await client.post(TRACK, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert detail in answer.json()["detail"]

    run(scenario)


def test_a_batch_is_accepted_in_part() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        await client.post(TRACK, json=VIEW | {"event_id": "old"})
        events = [
            VIEW,
            VIEW | {"event_id": "old"},
            {"event_type": "click"},
            "no object",
            VIEW | {"price": -1},
        ]
        answer = await client.post(BATCH, json={"events": events})
        assert answer.status_code == 200
        told = BatchTrackAnswer.model_validate(answer.json())
        assert (told.accepted, told.duplicate, told.refused, told.not_tracked) == (1, 1, 3, 0)
        assert [(line.index, line.status) for line in told.results] == [
            (0, "accepted"),
            (1, "duplicate"),
            (2, "refused"),
            (3, "refused"),
            (4, "refused"),
        ]
        assert (told.results[4].field, told.results[4].value) == ("price", "-1")
        assert told.results[4].remedy == "use a number not below 0"

    run(scenario)


@pytest.mark.parametrize("events", [[], [VIEW] * 501, "many", None])
def test_a_batch_of_no_or_too_many_events_is_refused(events: Any) -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await client.post(BATCH, json={"events": events})
        assert answer.status_code == 422
        assert "send a list of 1 to 500 events" in answer.json()["detail"]

    run(scenario)


def test_a_visitor_who_says_do_not_track_is_not_tracked_and_told_so() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await client.post(TRACK, json=VIEW, headers={"DNT": "1"})
        assert answer.status_code == 202
        assert answer.json() == {
            "event_id": None,
            "tracked": False,
            "status": "not_tracked",
            "reason": "do_not_track",
        }
        batch = await client.post(BATCH, json={"events": [VIEW]}, headers={"DNT": "1"})
        assert batch.json()["not_tracked"] == 1

    run(scenario)


def test_tracked_events_are_counted_by_route_and_never_by_id() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        await client.post(TRACK, json=VIEW | {"event_id": "canary"})
        text = (await client.get("/metrics")).text
        assert f'attune_tracked_events_total{{route="{TRACK}",status="accepted"}} 1.0' in text
        assert "canary" not in text

    run(scenario)


def test_bodies_are_documented_with_their_fields_and_examples() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        paths = (await client.get("/openapi.json")).json()["paths"]
        for path, _body in SPELLINGS:
            schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            assert schema["examples"]
            assert {"user_id", "item_id", "timestamp", "context"} <= schema["properties"].keys()
        batch = paths[BATCH]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert batch["properties"]["events"]["maxItems"] == 500
        compatible = [path for path, _body in SPELLINGS if "compatible" in paths[path]["post"]["tags"]]
        assert compatible == [path for path, _body in SPELLINGS[1:]]

    run(scenario)


def test_recommendations_go_on_while_the_database_is_away_and_tracking_says_come_again() -> None:
    async def scenario(client: httpx.AsyncClient, _: FakeUserStore) -> None:
        answer = await client.get("/api/v1/recommendations/anna")
        assert answer.status_code == 200
        assert answer.json()["recommendations"]
        for body in ({"events": [VIEW]}, VIEW):
            refused = await client.post(BATCH if "events" in body else TRACK, json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "send the request again" in refused.json()["detail"]
        health = (await client.get("/health")).json()
        assert health["status"] == "degraded"
        assert health["database"] == {
            "reachable": False,
            "kind": "postgresql",
            "circuit": "open",
            "last_failure": "OperationalError",
        }

    nowhere = replace(read_settings({}), database_url="postgresql://attune:secret@127.0.0.1:1/attune")
    run(scenario, nowhere)
