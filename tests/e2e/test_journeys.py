"""The journeys of `journeys.yml` against the service as it is served, on a small home with known tables."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

from feature_repo.layout import Home
from serving.api.application import create_application
from tests.mart_rows import publish_marts
from tests.servers import ServedProcess
from tests.serving_home import make_home

pytestmark = pytest.mark.e2e

JOURNEYS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "journeys.yml").read_text("utf-8"))
KEYS = {"call", "send", "text", "query", "status", "holds", "is", "says", "keep"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    root = tmp_path_factory.mktemp("journeys")
    home: Home = make_home(root / "home")
    publish_marts(home)
    service = ServedProcess(home.root, root / "log")
    try:
        service.wait_ready()
        with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=30) as opened:
            yield opened
    finally:
        service.end()
    assert "request failed" not in service.log()


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    run = uuid4().hex[:8]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"customer": "anna", "newcomer": f"new-{run}", "mine": f"mine-{run}", "item": "mug", "now": now}


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: str(journey["journey"]))
def test_a_journey_goes_as_described(
    journey: dict[str, Any], client: httpx.Client, names: dict[str, str]
) -> None:
    for number, described in enumerate(journey["calls"], 1):
        call = filled(described, names)
        method, path = call["call"].split(" ", 1)
        sent: dict[str, Any] = {"params": call.get("query")}
        if "text" in call:
            sent |= {"content": call["text"], "headers": {"content-type": "application/json"}}
        elif "send" in call:
            sent["json"] = call["send"]
        answer = client.request(method, path, **sent)
        wanted = call.get("status", 200)
        allowed = wanted if isinstance(wanted, list) else [wanted]
        place = f"call {number}, {call['call']}: {answer.text[:300]}"
        assert answer.status_code in allowed, f"{answer.status_code} instead of {allowed} at {place}"
        assert call.get("says", "") in answer.text, place
        for step in call.get("holds", []):
            assert found(answer.json(), step), f"no {step} at {place}"
        for step, value in call.get("is", {}).items():
            assert found(answer.json(), step) == [value], f"{step} is not {value!r} at {place}"
        for name, step in call.get("keep", {}).items():
            [names[name]] = found(answer.json(), step)


def test_journeys_are_written_in_the_words_that_are_explained() -> None:
    for journey in JOURNEYS:
        for call in journey["calls"]:
            assert call.keys() <= KEYS, call


def test_every_documented_route_of_a_shop_stands_in_some_journey() -> None:
    called = {call["call"] for journey in JOURNEYS for call in journey["calls"]}
    templates = [
        f"{verb.upper()} {path}"
        for path, item in create_application().openapi()["paths"].items()
        for verb in item
        if "compatible" in item[verb].get("tags", ())
    ]
    shapes = {_shape(each) for each in called}
    assert [each for each in templates if _shape(each) not in shapes] == []


def _shape(call: str) -> str:
    """A call with its names taken out: `GET /recommendations/{}`."""
    method, path = call.split(" ", 1)
    return f"{method} {'/'.join('{}' if '{' in step else step for step in path.split('/'))}"


def filled(value: Any, names: dict[str, str]) -> Any:
    """The value with names in place."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, list):
        return [filled(each, names) for each in value]
    if isinstance(value, dict):
        return {key: filled(each, names) for key, each in value.items()}
    return value


def found(document: Any, place: str) -> list[Any]:
    """What stands at a place; empty if a step is missing, or a list that must have something has nothing."""
    values = [document]
    for step in place.split("."):
        below: list[Any] = []
        for value in values:
            if not isinstance(value, dict) or step.removesuffix("[]") not in value:
                return []
            each = value[step.removesuffix("[]")]
            if not step.endswith("[]"):
                below.append(each)
            elif isinstance(each, list) and each:
                below.extend(each)
            else:
                return []
        values = below
    return json.loads(json.dumps(values)) if values else []
