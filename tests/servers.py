"""Processes that tests start and end: a redis-server, a PostgreSQL, and the service as it is served."""

import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

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


class PostgresServer:
    """A PostgreSQL of the test's own, as it is configured in production: every commit is synced to disk.

    It refuses to run as root, so root starts it as the user `postgres`, in a folder that this user may enter.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="attune-postgres-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self._user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    @staticmethod
    def program(name: str) -> str | None:
        """Where one of its programs lies: on the path, or where Debian keeps them; None if it is absent."""
        kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        return shutil.which(name) or (str(kept[-1]) if kept else None)

    @classmethod
    def is_installed(cls) -> bool:
        return cls.program("initdb") is not None and cls.program("postgres") is not None

    def start(self) -> None:
        """Make the cluster if there is none, and wait until it answers."""
        data = self.folder / "data"
        if not data.exists():
            self._run(
                "initdb", "-D", str(data), "-U", "attune", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
            )
        # After a crash it syncs every file of the cluster first; one call for the file system is quicker.
        options = (
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-k",
            "",
            "-c",
            "recovery_init_sync_method=syncfs",
        )
        command = [str(self.program("postgres")), "-D", str(data), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **self._user)
        engine = sa.create_engine(self.url("postgres"))
        for _ in range(1200):
            try:
                engine.connect().close()
            except sa.exc.OperationalError:
                time.sleep(0.05)
            else:
                engine.dispose()
                return
        raise AssertionError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()}")

    def url(self, database: str) -> sa.URL:
        """The address of one database."""
        return sa.URL.create("postgresql+psycopg2", "attune", None, "127.0.0.1", self.port, database)

    def new_database(self) -> sa.URL:
        """A database of its own, empty."""
        name = f"test_{uuid4().hex}"
        self._do(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: sa.URL) -> None:
        """Remove a database, whoever is still connected."""
        self._do(f"DROP DATABASE {url.database} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def pause(self) -> None:
        """Every process of it stops, as if the machine hung."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Stop it and remove everything."""
        if self.process.poll() is None:
            self.resume()
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self.program(name)), *arguments]
        subprocess.run(command, cwd="/", check=True, capture_output=True, **self._user)

    def _signal(self, number: int) -> None:
        for process in self._processes():
            try:
                os.kill(process, number)
            except ProcessLookupError:  # it has ended since it was listed
                continue

    def _processes(self) -> list[int]:
        """The server and its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]


class ServedProcess:
    """`python -m serving` on a free port, with all its children, and a small client for it."""

    def __init__(self, home: Path, log: Path, **env: str) -> None:
        self.port = free_port()
        self._log = log
        # Without exploration the same question has the same answer.
        steady = {"ATTUNE_RELEASE_POLL_SECONDS": "0.2", "ATTUNE_EXPLORATION": "0"}
        own = {"ATTUNE_HOME": str(home), "PORT": str(self.port), **steady, **env}
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

    def wait_whole(self, release: str | None = None, answers: int = 20, seconds: float = 60) -> None:
        """Return when so many answers in a row, of whichever worker, miss no store and are of the release."""
        end, whole = time.monotonic() + seconds, 0
        while whole < answers:
            health = self.get("/health")[1]
            is_whole = health["status"] == "ok" and release in (None, health["release"]["release"])
            whole = whole + 1 if is_whole else 0
            if time.monotonic() > end:
                raise AssertionError(
                    f"the service misses a store or has another release:\n{self.get('/health')}\n{self.log()}"
                )

    def log(self) -> str:
        """What it printed so far."""
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, Any]:
        """Status, and the answer as JSON (or text)."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status, and the answer as JSON (or text)."""
        return self._ask("POST", path, json.dumps(body).encode(), headers)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"content-type": "application/json", **(headers or {})})
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
