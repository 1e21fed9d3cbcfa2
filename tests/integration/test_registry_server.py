"""The registry against an MLflow server of its own, as docker-compose.yml runs it: files go to the server."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.integration.test_registry import log, report
from training.gate import decide
from training.registry import Registry

pytestmark = pytest.mark.integration


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a running server, and the folder where it alone keeps artifacts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = tmp_path / "server"
    kept.mkdir()
    settings = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{kept / 'mlflow.db'}",
        "MLFLOW_ARTIFACTS_DESTINATION": str(kept / "artifacts"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "server.log").open("wb") as log_file:
        process = subprocess.Popen(
            [*command, "--workers", "1"],
            env=dict(os.environ) | settings,
            cwd=tmp_path,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_healthy(address, process)
        yield address, kept
    finally:
        # The server's own children too; nothing of it is kept, so nothing needs to end in order.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def wait_until_healthy(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    raise AssertionError("the MLflow server did not answer")


def test_a_version_logged_to_a_server_is_kept_and_read_there(
    server: tuple[str, Path], tmp_path: Path
) -> None:
    address, kept = server
    own_folder = tmp_path / "client"
    registry = Registry(address, own_folder)
    version = log(registry, tmp_path, report(0.2))
    registry.promote(version, decide(report(0.2), True))

    elsewhere = Registry(address, tmp_path / "another-client")
    champion = elsewhere.champion("collaborative")
    assert champion is not None
    downloaded = elsewhere.download(champion, tmp_path / "copy")
    assert np.load(downloaded / "item_factors.npy").shape == (3, 3)
    assert elsewhere.report(champion) == report(0.2)
    assert list(kept.rglob("item_factors.npy"))
    assert not list(own_folder.rglob("*.npy"))
