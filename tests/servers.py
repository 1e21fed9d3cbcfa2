"""Processes that tests start and end: a redis-server, and the service as it is served."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A redis-server of the test's own, which forgets everything when it ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        self.process.terminate()
        self.process.wait()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


class ServedProcess:
    """`python -m serving` on a free port, with all its children, and a small client for it."""

    def __init__(self, home: Path, log: Path, **env: str) -> None:
        self.port = free_port()
        self._log = log
        own = {"ATTUNE_HOME": str(home), "PORT": str(self.port), "ATTUNE_RELEASE_POLL_SECONDS": "0.2", **env}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serving"],
                cwd=ROOT,
                env=os.environ | own,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def wait_ready(self, seconds: float = 120) -> None:
        """Return when it can answer for customers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.get("/health/ready")[0] == 200:
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"the service did not start:\n{self.log()}")

    def log(self) -> str:
        """What it printed so far."""
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, Any]:
        """Status, and the answer as JSON (or text)."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status, and the answer as JSON (or text)."""
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(content) if is_json else content.decode()
        finally:
            connection.close()

    def end(self) -> None:
        """Ask it to end, and make it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
