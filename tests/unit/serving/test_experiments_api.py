"""Experiments over HTTP: what decisions read, consent, refusals, flags."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from serving.decisions.parameters import PARAMETERS
from serving.settings import FLAGS
from tests.served import Served, served

Scenario = Callable[[Served], Awaitable[None]]


def run(root: Path, scenario: Scenario, **env: str) -> None:
    async def body() -> None:
        async with served(root, env=env) as running:
            await scenario(running)

    asyncio.run(body())


def definition(**parameters: Any) -> dict[str, Any]:
    """An experiment whose second arm sets these, for everybody."""
    variants = [{"name": "control", "weight": 0.001}, {"name": "b", "weight": 999, "parameters": parameters}]
    return {"id": "test", "variants": variants}


def test_an_experiment_changes_the_decisions_that_read_its_parameters(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        body = definition(**{"recommendations.algorithm": "popular", "homepage.layout": "carousel"})
        assert (await running.client.post("/api/v1/experiments", json=body)).status_code == 201
        answer = (await running.client.get("/api/v1/recommendations/anna")).json()
        assert (answer["personalized"], answer["reason"]) == (False, "experiment")
        assert answer["experiments"] == {"test": "b"}
        receipt = (await running.client.get(f"/api/v1/decisions/{answer['decision_id']}")).json()
        assert receipt["inputs"]["arms"] == {"test": "b"} and receipt["identical"] is True
        page = (await running.client.get("/api/v1/personalize/homepage/anna")).json()
        assert page["layout"] == "carousel"
        await asyncio.sleep(0.5)
        read = (await running.client.get("/api/v1/experiments/test")).json()
        assert read["exposed"] == {"control": 0, "b": 1}

    run(tmp_path, scenario)


def test_who_may_not_be_tracked_gets_the_control(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        await running.client.post("/api/v1/experiments", json=definition(**{"homepage.layout": "carousel"}))
        asked = "/api/v1/ab-test/anna/variant?experiment=test"
        assert (await running.client.get(asked)).json()["variant"] == "b"
        answer = (await running.client.get(asked, headers={"DNT": "1"})).json()
        assert (answer["variant"], answer["is_assigned"], answer["reason"]) == (
            "control",
            False,
            "do_not_track",
        )
        tracked = await running.client.post(
            "/api/v1/ab-test/track", json={"user_id": "anna", "event": "conversion"}, headers={"DNT": "1"}
        )
        assert tracked.json()["tracked"] is False

    run(tmp_path, scenario)


def test_an_event_id_counts_once_and_with_another_body_conflicts(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        body = {"user_id": "anna", "event": "conversion", "value": 1.5, "event_id": "mine"}
        statuses = []
        for value in (1.5, 1.5, 2.5):
            answer = await running.client.post("/api/v1/ab-test/track", json={**body, "value": value})
            statuses.append(answer.status_code)
        assert statuses == [202, 202, 409]
        history = (await running.client.get("/api/v1/behavior/anna/history")).json()["events"]
        assert [each["event_type"] for each in history] == ["experiment_conversion"]

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/api/v1/ab-test/anna/variant?experiment=nowhere", None, 404, "nowhere"),
        ("GET", "/api/v1/ab-test/anna/variant?experiment=No!", None, 422, "experiment"),
        ("GET", "/api/v1/experiments/nowhere", None, 404, "nowhere"),
        ("POST", "/api/v1/experiments/nowhere/stop", None, 404, "nowhere"),
        ("PATCH", "/api/v1/experiments/nowhere", {"hypothesis": "x"}, 404, "nowhere"),
        ("POST", "/api/v1/experiments", {"id": "x", "variants": []}, 422, "variants"),
        (
            "POST",
            "/api/v1/experiments",
            {"id": "x", "variants": {"a": {}, "b": {"weight": "NaN"}}},
            422,
            "weight",
        ),
        ("POST", "/api/v1/ab-test/track", {"user_id": "anna"}, 422, "event"),
        ("POST", "/api/v1/ab-test/track", {"user_id": "anna", "event": "x", "experiment": "no"}, 404, "no"),
        ("POST", "/api/v1/ab-test/track", {"user_id": "anna", "event": "x", "value": 1e300}, 422, "value"),
        ("GET", "/dashboard/overview", None, 503, "attune run"),
        ("GET", "/dashboard/recommendation-analytics?days=0", None, 422, "days"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(
    tmp_path: Path, method: str, path: str, body: Any, status: int, words: str
) -> None:
    async def scenario(running: Served) -> None:
        answer = await running.client.request(method, path, json=body)
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text

    run(tmp_path, scenario)


def test_what_experiments_may_set_and_the_flags_are_shown(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        shown = (await running.client.get("/api/v1/experiments")).json()
        assert shown["parameters"].keys() == PARAMETERS.keys()
        assert [each["experiment_id"] for each in shown["experiments"]] == ["default"]
        flags = (await running.client.get("/api/v1/flags")).json()["flags"]
        assert [flag["name"] for flag in flags] == list(FLAGS)

    run(tmp_path, scenario)


def test_every_parameter_accepts_its_own_example() -> None:
    assert [key for key, each in PARAMETERS.items() if not each.accepts(each.example)] == []


def test_a_plan_is_the_same_asked_by_query_or_body(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        asked = {"baseline": 0.05, "lift": 0.1, "visitors_per_day": 4000}
        body = (await running.client.post("/api/v1/experiments/plan", json=asked)).json()
        assert (await running.client.get("/api/v1/experiments/plan", params=asked)).json() == body
        assert (body["users_per_variant"], body["days"]) == (31_231, 16 + 7)
        assert body["days_always_valid"] > body["days"]
        refused = await running.client.post("/api/v1/experiments/plan", json={"baseline": 3.0, "lift": 0.1})
        assert refused.status_code == 422
        assert "baseline=3.0 cannot be used" in refused.text

    run(tmp_path, scenario)


def test_results_are_those_that_the_pipeline_published(tmp_path: Path) -> None:
    async def scenario(running: Served) -> None:
        waiting = (await running.client.get("/api/v1/experiments/default/results")).json()
        assert waiting["result"] is None and "attune run" in waiting["reason"]
        path = running.settings.home.experiment_result("default")
        path.parent.mkdir()
        path.write_text('{"verdict": {"code": "undecided", "text": "Wait."}}')
        found = (await running.client.get("/api/v1/experiments/default/results")).json()
        assert found["result"]["verdict"]["text"] == "Wait." and found["reason"] is None
        assert (await running.client.get("/api/v1/experiments/nobody/results")).status_code == 404

    run(tmp_path, scenario)


def test_lift_is_the_holdouts_result_by_metric_and_segment(tmp_path: Path) -> None:
    interval = {"estimate": 1.0, "low": 0.5, "high": 1.5, "p_value": 0.001}
    figures = {
        "users": 900,
        "control_users": 100,
        "value": 3.0,
        "control_value": 2.0,
        "fixed": interval | {"low": 0.7},
        "always_valid": interval,
        "lift": {"fixed": interval, "always_valid": interval},
    }
    segment = {"dimension": "device_type", "segment": "mobile", "differs": True, **figures}
    entry = {"variant": "included", **figures, "verdict": {"text": "raises"}, "segments": [segment]}
    metric = {
        "metric": "revenue_per_visitor",
        "description": "Spend",
        "variants": [entry],
        "false_positives": {"always_valid_daily": 0.01},
    }
    result = {
        "data_until": "2026-05-31",
        "level": 0.95,
        "exposed": {"included": 950, "held_out": 105},
        "sample_ratio": None,
        "metrics": [metric],
        "verdict": {"text": "raises"},
    }
    last = {"from": "2026-05-02", "until": "2026-05-31", "exposed": {"included": 950, "held_out": 105}}
    period = last | {"metrics": [metric | {"metric": "mean_rating"}]}

    async def scenario(running: Served) -> None:
        nothing = (await running.client.get("/api/v1/personalization/lift")).json()
        assert nothing["result"] is None and "ATTUNE_HOLDOUT_SHARE" in nothing["reason"]
        path = running.settings.home.experiment_result("holdout")
        path.parent.mkdir()
        path.write_text(json.dumps(result))
        found = (await running.client.get("/api/v1/personalization/lift")).json()["result"]
        assert (found["personalized_users"], found["control_group"]) == (950, 105)
        assert found["lift"]["revenue"]["difference"] == interval
        assert found["by"]["device_type"][0]["segment"] == "mobile"
        assert found["by"]["customer_tier"] == []
        last_days = "/api/v1/personalization/lift?period=30_days"
        assert (await running.client.get(last_days)).json()["result"] is None
        path.write_text(json.dumps(result | {"periods": {"30_days": period}}))
        found = (await running.client.get(last_days)).json()["result"]
        assert found["period"] == {"from": "2026-05-02", "until": "2026-05-31"}
        assert found["lift"]["satisfaction"]["difference"] == interval | {"low": 0.7}
        assert found["by"]["device_type"][0]["metric"] == "satisfaction"
        assert found["verdict"] is None
        assert (await running.client.get("/api/v1/personalization/lift?period=week")).status_code == 422

    run(tmp_path, scenario)
