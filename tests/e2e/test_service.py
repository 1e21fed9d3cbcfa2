"""The service as it is served: a process, its workers, a real store, a client."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feature_repo.layout import Home
from serving.api.schemas.operations import HealthAnswer
from serving.api.schemas.profile import ProfileAnswer
from serving.api.schemas.recommendations import BatchAnswer, RecommendationAnswer
from tests.servers import ROOT, RedisServer, ServedProcess, free_port
from tests.serving_home import make_home, put_release
from training.artifacts import point_to_release

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("served") / "home")


@pytest.fixture(scope="module")
def service(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    process = ServedProcess(home.root, tmp_path_factory.mktemp("log") / "log", ATTUNE_WORKERS="2")
    try:
        process.wait_ready()
        process.wait_whole()
        yield process
    finally:
        process.end()


def item_ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["recommendations"]]


def test_known_customer_newcomer_nobody_and_batch_are_answered(service: ServedProcess) -> None:
    status, known = service.get("/api/v1/recommendations/anna?limit=2")
    assert status == 200
    RecommendationAnswer.model_validate(known)
    assert item_ids(known) == ["mug", "lamp"]
    assert known["candidates_release"] == "20240131-candidates"
    _, newcomer = service.get("/api/v1/recommendations/newcomer?limit=3&exclude_seen=true")
    assert item_ids(newcomer)[0] == "mug"
    assert newcomer["fallback_reason"] == "new_customer"
    _, nobody = service.get("/api/v1/recommendations/nobody")
    assert nobody["fallback_reason"] == "unknown_customer"
    status, batch = service.post(
        "/api/v1/recommendations/batch", {"customer_ids": ["anna", "newcomer", 17], "limit": 2}
    )
    assert status == 200
    BatchAnswer.model_validate(batch)
    assert [result["customer_id"] for result in batch["results"]] == ["anna", "newcomer", "17"]
    assert batch["results"][0]["recommendations"] == known["recommendations"]


def test_profiles_are_answered(service: ServedProcess) -> None:
    status, profile = service.get("/api/v1/personalization/profile/anna")
    assert status == 200
    ProfileAnswer.model_validate(profile)
    assert profile["predictions"]["lifetime_value"] == 120.0
    assert profile["segments"]["value_segment"] == "low"
    status, answer = service.get("/api/v1/personalization/profile/nobody")
    assert status == 404 and "nobody" in answer["detail"]


def test_native_endpoints_give_the_same_answers(service: ServedProcess) -> None:
    status, native = service.post("/recommend", {"customer_id": "anna", "limit": 2})
    assert status == 200
    assert item_ids(native) == ["mug", "lamp"]
    _, batch = service.post("/recommend_batch", {"customer_ids": ["anna"], "limit": 2})
    assert batch["results"][0]["recommendations"] == native["recommendations"]
    status, profile = service.post("/profile", {"customer_id": "anna"})
    assert profile["predictions"]["churn_probability"] == 0.25
    assert service.post("/profile", {"customer_id": "nobody"})[0] == 404
    status, refused = service.post("/recommend", {"customer_id": "anna-the-secret", "limit": 0})
    assert status == 400 and refused["detail"]
    assert "anna-the-secret" not in service.log()


def test_native_endpoints_heed_what_the_browser_asks_for(service: ServedProcess) -> None:
    for header, reason in (("dnt", "do_not_track"), ("sec-gpc", "global_privacy_control")):
        _, native = service.post("/recommend", {"customer_id": "anna"}, **{header: "1"})
        assert (native["personalized"], native["reason"]) == (False, reason)
        _, batch = service.post("/recommend_batch", {"customer_ids": ["anna"]}, **{header: "1"})
        assert [each["reason"] for each in batch["results"]] == [reason]


def test_operations_answer(service: ServedProcess) -> None:
    status, health = service.get("/health")
    HealthAnswer.model_validate(health)
    assert (status, health["status"]) == (200, "ok")
    for _ in range(8):
        service.get("/api/v1/recommendations/anna")
    text = service.get("/metrics")[1]
    counted = [line for line in text.splitlines() if "attune_http_requests_total{" in line]
    assert any("/api/v1/recommendations/{customer_id}" in line for line in counted)
    assert "anna" not in text
    assert "attune_release_loaded" in text
    for page in ("/docs", "/redoc"):
        assert "<html" in service.get(page)[1]
    assert service.get("/openapi.json")[1]["openapi"]
    assert service.get("/wp-admin")[0] == 404


def test_a_new_release_takes_over_under_load_without_a_failed_request(
    home: Home, service: ServedProcess
) -> None:
    first = service.get("/health")[1]["release"]["release"]
    seen: list[str] = []
    problems: list[object] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            status, answer = service.get("/api/v1/recommendations/anna?limit=2")
            if status != 200 or item_ids(answer) != ["mug", "lamp"]:
                problems.append((status, answer))
            seen.append(answer["release"])

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    second = put_release(home, "second")
    end = time.monotonic() + 20
    while time.monotonic() < end and set(seen[-20:]) != {second}:
        time.sleep(0.1)
    is_over.set()
    for client in clients:
        client.join()
    assert problems == []
    assert set(seen) == {first, second}
    service.wait_whole(second)


def test_a_broken_release_keeps_the_old_one_and_shows_in_health(home: Home, service: ServedProcess) -> None:
    served = home.current_release.read_text().strip()
    service.wait_whole(served)  # each worker looks for itself, and one may still have the release before
    broken = put_release(home, "broken", is_current=False)
    (home.release(broken) / "items.parquet").unlink()
    point_to_release(home.current_release, broken)
    end = time.monotonic() + 10
    while (health := service.get("/health")[1])["status"] == "ok" and time.monotonic() < end:
        time.sleep(0.1)
    assert health["status"] == "degraded"
    assert health["release"]["release"] == served
    assert health["release"]["failed_release"] == broken
    assert "items.parquet" in health["release"]["failed_because"]
    assert service.get("/api/v1/recommendations/anna")[0] == 200
    point_to_release(home.current_release, served)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_stopped_redis_gives_flagged_answers_in_time(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    service = ServedProcess(
        make_home(tmp_path / "home", redis.url).root, tmp_path / "log", REDIS_URL=redis.url
    )
    try:
        service.wait_ready()
        assert service.get("/api/v1/recommendations/anna")[1]["fallback"] is False
        redis.process.send_signal(signal.SIGSTOP)
        waits = []
        for _ in range(30):
            started = time.monotonic()
            status, answer = service.get("/api/v1/recommendations/anna")
            waits.append(time.monotonic() - started)
            assert status == 200
            assert answer["fallback_reason"].startswith("online_store")
            assert item_ids(answer)[0] == "bulb"
        assert max(waits) < 0.4, "150 ms on a quiet machine: the benchmark has the exact figure"
        health = service.get("/health")[1]
        assert (health["status"], health["online_store"]["kind"]) == ("degraded", "redis")
        redis.process.send_signal(signal.SIGCONT)
        end = time.monotonic() + 15
        while time.monotonic() < end and service.get("/api/v1/recommendations/anna")[1]["fallback"]:
            time.sleep(0.1)
        assert service.get("/api/v1/recommendations/anna")[1]["fallback"] is False
    finally:
        service.end()
        redis.end()


def start(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start the service where it must refuse, and see what it says."""
    return subprocess.run(
        [sys.executable, "-m", "serving"],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_a_release_the_start_is_refused_with_a_remedy(tmp_path: Path) -> None:
    refused = start({"ATTUNE_HOME": str(tmp_path), "PORT": str(free_port())})
    assert refused.returncode != 0
    [line] = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
    assert "no release to serve" in line and "attune run" in line
    assert "Traceback" not in refused.stderr


def test_a_port_in_use_or_a_wrong_setting_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = start({"ATTUNE_HOME": str(tmp_path), "PORT": port})
    assert refused.returncode != 0
    assert refused.stderr.startswith(f"error: PORT='{port}' cannot be used")
    refused = start({"ATTUNE_HOME": str(tmp_path), "LOG_LEVEL": "loud"})
    assert refused.returncode != 0
    assert "LOG_LEVEL='loud'" in refused.stderr
