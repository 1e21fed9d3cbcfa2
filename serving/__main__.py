"""`python -m serving`: the BentoML service on the address and with the workers of the settings.

Replaces itself by `bentoml serve`, with BentoML's state under ATTUNE_HOME and nothing sent anywhere.
"""

import json
import os
import socket
import sys
from pathlib import Path

from serving.access.keys import read_keys
from serving.errors import InvalidSetting, ServingError, end_command
from serving.settings import Settings, read_settings

SERVICE = "serving.service:Personalization"


def main() -> None:
    """Check what can be checked before anything starts, then become the server."""
    try:
        settings = read_settings()
        read_keys(settings.api_keys_file)
        check_port(settings.host, settings.port)
    except ServingError as error:
        end_command(error)
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE, *arguments(settings)]
    os.execve(sys.executable, command, dict(os.environ) | environment(settings, dict(os.environ)))


def arguments(settings: Settings) -> list[str]:
    """Where `bentoml serve` listens, and the directory to import the service from."""
    root = Path(__file__).resolve().parent.parent
    return ["--host", settings.host, "--port", str(settings.port), "--working-dir", str(root)]


def environment(settings: Settings, present: dict[str, str]) -> dict[str, str]:
    """What BentoML and the workers need in their environment; what the operator set already stays."""
    options = {"services": {"Personalization": {"workers": settings.workers}}}
    return {
        "ATTUNE_HOME": str(settings.home.root),
        "BENTOML_HOME": present.get("BENTOML_HOME", str(settings.home.bentoml)),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_CONFIG_OVERRIDES": present.get("BENTOML_CONFIG_OVERRIDES", json.dumps(options)),
        "OPENBLAS_NUM_THREADS": present.get("OPENBLAS_NUM_THREADS", "1"),
    }


def check_port(host: str, port: int) -> None:
    """Raise `InvalidSetting` if somebody listens there, or the address is not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            remedy = f"{host}:{port} cannot be bound ({error.strerror}); stop what uses it or choose another"
            raise InvalidSetting("PORT", str(port), remedy) from error


if __name__ == "__main__":
    main()
