"""Keys at the service as it is served: mounted routes, BentoML's own endpoints, and the start."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import write_keys
from tests.servers import ROOT, ServedProcess
from tests.serving_home import make_home

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    folder = tmp_path_factory.mktemp("access")
    keys = write_keys(
        folder / "keys.yaml", reader=("read", None), operator=("admin", None), anna=("write", "anna")
    )
    home = make_home(folder / "home")
    process = ServedProcess(home.root, folder / "log", ATTUNE_API_KEYS_FILE=str(keys), ATTUNE_WORKERS="2")
    try:
        process.wait_ready()
        yield process
    finally:
        process.end()


def status(
    service: ServedProcess, path: str, key: str | None = None, body: object = None, method: str = ""
) -> int:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{service.port}{path}", data, method=method or None)
    request.add_header("content-type", "application/json")
    if key is not None:
        request.add_header("authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_native_endpoints_and_bentos_own_pages_ask_for_keys(service: ServedProcess) -> None:
    anna, bert = {"customer_id": "anna"}, {"customer_id": "bert"}
    for path in ("/recommend", "/profile"):
        assert status(service, path, None, anna) == 401
        assert status(service, path, "wrong", anna) == 401
        assert status(service, path, "reader", anna) == 200
        assert status(service, path, "anna", anna) == 200
        assert status(service, path, "anna", bert) == 403
    assert status(service, "/recommend_batch", "anna", {"customer_ids": ["anna", "bert"]}) == 403
    assert status(service, "/recommend_batch", "anna", {"customer_ids": ["anna"]}) == 200
    for path in ("/schema.json", "/docs.json", "/metrics"):
        assert [status(service, path, key) for key in (None, "anna", "reader")] == [401, 403, 200]
    assert status(service, "/static_content/index.css", "operator") == 404
    for path in (
        "/livez",
        "/readyz",
        "/healthz",
        "/health",
        "/docs",
        "/openapi.json",
        "/static/swagger-ui.css",
    ):
        assert status(service, path) == 200, path


def test_a_person_may_erase_themselves_and_nobody_else(service: ServedProcess) -> None:
    assert status(service, "/api/v1/privacy/bert", "anna", method="DELETE") == 403
    assert status(service, "/api/v1/privacy/bert", "reader", method="DELETE") == 403
    assert status(service, "/api/v1/privacy/anna/export", "anna") == 200
    assert status(service, "/api/v1/privacy/anna", "anna", method="DELETE") == 200
    assert status(service, "/api/v1/privacy/newcomer", "operator", method="DELETE") == 200
    assert "anna" not in service.log() and "newcomer" not in service.log()


def test_a_start_off_loopback_without_keys_is_refused_in_one_line(tmp_path: Path) -> None:
    for variables, words in (
        ({"API_HOST": "0.0.0.0"}, "ATTUNE_API_KEYS_FILE"),
        ({"ATTUNE_API_KEYS_FILE": str(tmp_path / "none.yaml")}, "cannot be read"),
    ):
        started = subprocess.run(
            [sys.executable, "-m", "serving"],
            cwd=ROOT,
            env=dict(os.environ) | {"ATTUNE_HOME": str(tmp_path)} | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert started.returncode == 2
        assert words in started.stderr and len(started.stderr.splitlines()) == 1, started.stderr
