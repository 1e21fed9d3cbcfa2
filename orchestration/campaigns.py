"""Campaigns are planned and sent by the service's code, in a process of its own, named by string."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from feature_repo.layout import Home
from orchestration.errors import PipelineError
from orchestration.processes import child_environment
from orchestration.settings import Settings


def campaign_command(*arguments: str) -> list[str]:
    """`python -m serving.campaigns` with these arguments."""
    return [sys.executable, "-m", "serving.campaigns", *arguments]


def campaign_environment(settings: Settings) -> dict[str, str]:
    """The settings, and no warnings about libraries' interfaces."""
    return child_environment(settings) | {"PYTHONWARNINGS": "ignore"}


def are_declared(home: Home) -> bool:
    """Whether there is anything to plan: without a file nothing is loaded."""
    return home.campaigns_file.exists() or home.journeys_file.exists()


def ask_campaigns(settings: Settings, action: str) -> dict[str, Any]:
    """What the command answered; raises PipelineError with its last line."""
    done = subprocess.run(
        campaign_command(action),
        env=campaign_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode} and said nothing"]
        raise PipelineError(f"campaigns: {lines[-1].removeprefix('error: ')}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
