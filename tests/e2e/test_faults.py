"""A short run of `benchmarks/faults.py`: a store that fails costs nobody an answer, and no event is lost."""

import argparse
import shutil
from pathlib import Path

import pytest

from benchmarks.faults import RECOVERY_BAR_SECONDS, redis_faults, sqlite_faults
from benchmarks.serving import known_customers
from tests.serving_home import make_home

pytestmark = pytest.mark.e2e
SHORT = argparse.Namespace(seconds=1.5, connections=4)


def test_a_locked_database_refuses_events_for_a_while_and_loses_none(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    [locked] = sqlite_faults(home, known_customers(home, 10), SHORT)
    assert (locked.answered_share, locked.fallback_share, locked.events_lost) == (1.0, 0.0, 0)
    assert locked.recovered_seconds is not None
    assert locked.recovered_seconds <= RECOVERY_BAR_SECONDS


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_redis_that_hangs_dies_or_is_slow_costs_no_answer(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    (tmp_path / "redis").mkdir()
    for fault in redis_faults(home, tmp_path / "redis", known_customers(home, 10), SHORT):
        assert fault.answered_share == 1.0, fault
        assert fault.fallback_share > 0.5, fault
        # The exact bars are the benchmark's: here other tests may run beside.
        assert fault.p99_ms < 500, fault
        assert fault.recovered_seconds is not None, fault
        assert fault.recovered_seconds <= RECOVERY_BAR_SECONDS, fault
