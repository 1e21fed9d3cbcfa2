"""A slice of `benchmarks/malformed.py`: malformed requests get an answer, and leave nothing behind.

FUZZ_SECONDS and FUZZ_BODIES make it as long as wanted; the bars of the benchmark hold for 300 and 20000.
"""

import asyncio
import os
from pathlib import Path

import pytest

from benchmarks.malformed import MEMORY_BAR, run_schemathesis, send_mutations, served
from tests.mart_rows import publish_marts
from tests.serving_home import make_home

pytestmark = pytest.mark.e2e

SECONDS = int(os.environ.get("FUZZ_SECONDS", "15"))
BODIES = int(os.environ.get("FUZZ_BODIES", "1000"))


@pytest.mark.timeout(SECONDS * 3 + BODIES // 10 + 300)
def test_malformed_requests_are_answered_without_a_failure_or_a_trace(tmp_path: Path) -> None:
    home = make_home(tmp_path / "made")
    publish_marts(home)
    (tmp_path / "run").mkdir()
    with served(home.root, tmp_path / "run") as service:
        made, errors = run_schemathesis(service.address, SECONDS, tmp_path)
        asyncio.run(send_mutations(service.address, BODIES // 2, seed=8))
        before = service.memory()
        findings = asyncio.run(send_mutations(service.address, BODIES))
        assert made > 100
        assert (errors, findings.problems, service.failures()) == ([], [], [])
        assert findings.sent == BODIES
        assert {200, 422} <= findings.statuses.keys()
        assert service.memory() <= before * MEMORY_BAR * 1.1
