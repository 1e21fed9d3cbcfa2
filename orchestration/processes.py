"""Processes that the command starts: the service, the UIs. Their environment comes from the settings."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType

from orchestration.errors import AttuneError, NothingToDo
from orchestration.settings import Settings, process_environment

ROOT = Path(__file__).resolve().parents[1]
LOOPBACK = "127.0.0.1"
STOP_SECONDS = 10.0


class PortInUse(AttuneError):
    """Somebody listens on the port already, or the address is not of this machine."""


def check_port(host: str, port: int, remedy: str) -> None:
    """Raises PortInUse with the remedy unless the port can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(f"{host}:{port} cannot be used ({error.strerror}); {remedy}.") from error


def free_port(preferred: int) -> int:
    """The preferred loopback port if it is free, else any that is."""
    try:
        check_port(LOOPBACK, preferred, "")
    except PortInUse:
        with closing(socket.socket()) as probe:
            probe.bind((LOOPBACK, 0))
            return int(probe.getsockname()[1])
    return preferred


def serve_command() -> list[str]:
    """The service, named by string: orchestration does not import it."""
    return [sys.executable, "-m", "serving"]


def serving_environment(
    settings: Settings, host: str | None = None, port: int | None = None, workers: int | None = None
) -> dict[str, str]:
    """The environment of the service, after checking that it can start.

    Raises NothingToDo without a release, BrokenRelease for a damaged one, PortInUse.
    """
    from training.artifacts import current_release_id, load_release

    release_id = current_release_id(settings.home.current_release)
    if release_id is None:
        raise NothingToDo(
            f"no release in {settings.home.root} yet; run `attune demo`, or "
            "`attune run --source NAME --path DIR`, then serve."
        )
    load_release(settings.home.release(release_id))
    host, port = host or settings.host, port or settings.port
    check_port(host, port, "stop what uses it, or choose another with --host and --port")
    return child_environment(settings) | {
        "API_HOST": host,
        "PORT": str(port),
        "ATTUNE_WORKERS": str(workers or settings.workers),
    }


def start_service(settings: Settings, port: int, log: Path) -> subprocess.Popen[bytes]:
    """The service as a child on a loopback port, its output in a file."""
    environment = serving_environment(settings, LOOPBACK, port, 1)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            serve_command(), env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a child that leads a process group, and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_ui(settings: Settings, dagster_port: int, mlflow_port: int, say: Callable[[str], None]) -> None:
    """Dagster's webserver and daemon, and MLflow's UI, until one ends or somebody interrupts."""
    from orchestration.assets.transforms import load_manifest
    from orchestration.instance import write_instance_config
    from orchestration.resources import Models

    check_port(LOOPBACK, dagster_port, "stop what uses it, or choose another with --dagster-port")
    check_port(LOOPBACK, mlflow_port, "stop what uses it, or choose another with --mlflow-port")
    write_instance_config(settings)
    # Both once, before several processes would each begin to do it on a fresh home.
    load_manifest(settings.home)
    Models(settings).open()
    # Warnings about libraries' interfaces would bury what the UIs have to say.
    environment = child_environment(settings) | {"PYTHONWARNINGS": "ignore"}
    children = [
        subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True)
        for command in (dagster_command(dagster_port), mlflow_command(settings, mlflow_port))
    ]
    try:
        with _Terminated():
            _wait_until_listening(children, (dagster_port, mlflow_port))
            say(f"Dagster  http://{LOOPBACK}:{dagster_port}\nMLflow   http://{LOOPBACK}:{mlflow_port}")
            say("Ctrl-C ends both.")
            while all(child.poll() is None for child in children):
                time.sleep(0.5)
    except KeyboardInterrupt:
        say("stopping")
        return
    finally:
        for child in children:
            stop(child)
    raise AttuneError("a UI ended unexpectedly; its messages are above.")


def dagster_command(port: int) -> list[str]:
    """Webserver, daemon and code location in one."""
    module = ["-m", "orchestration.definitions", "--working-directory", str(ROOT)]
    address = ["--host", LOOPBACK, "--port", str(port)]
    return [sys.executable, "-m", "dagster", "dev", *module, *address]


def mlflow_command(settings: Settings, port: int) -> list[str]:
    """MLflow's server on the tracking store of the settings, for this machine only."""
    store = ["--backend-store-uri", settings.mlflow_tracking_uri]
    artifacts = ["--default-artifact-root", str(settings.home.mlflow_artifacts)]
    address = ["--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *store, *artifacts, *address]


def child_environment(settings: Settings) -> dict[str, str]:
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, **process_environment(settings), "PYTHONPATH": os.pathsep.join(paths)}


def _wait_until_listening(children: Sequence[subprocess.Popen[bytes]], ports: Sequence[int]) -> None:
    waiting = set(ports)
    while waiting and all(child.poll() is None for child in children):
        for port in sorted(waiting):
            with closing(socket.socket()) as probe:
                probe.settimeout(0.2)
                if probe.connect_ex((LOOPBACK, port)) == 0:
                    waiting.discard(port)
        time.sleep(0.3)


class _Terminated:
    """SIGTERM ends the block like Ctrl-C does, so that the children are stopped too."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._interrupt)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt
