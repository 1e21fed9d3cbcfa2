"""`attune demo`, small: the whole loop in one command, from a simulated shop to three answers."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def demo(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", "demo", "--users", "300", "--days", "230", *options],
        env={**os.environ, "ATTUNE_HOME": str(home), "ATTUNE_CUTOFFS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_ends_with_a_summary_of_the_whole_loop(tmp_path: Path) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    result = demo(tmp_path)
    assert result.returncode == 0, result.stderr + result.stdout
    summary = result.stdout[result.stdout.index("Landed ") :]
    for words in (
        "Quarantined",
        "Collaborative version 1",
        "best baseline",
        f"Release     {yesterday:%Y%m%d}-",
        "Customer u",
        "A newcomer:",
        "A batch of 100 customers",
        "Then 6 live events",
        "the newcomer is a customer with 1 order of",
        "attune ui",
        "attune status",
    ):
        assert words in summary

    other = demo(tmp_path, "--seed", "2")
    assert other.returncode == 1
    assert "holds other data" in other.stderr
    assert "ATTUNE_HOME" in other.stderr
