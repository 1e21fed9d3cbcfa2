"""dbt waits for whoever has the warehouse open, and says who it is if that does not end."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from feature_repo.layout import Home
from orchestration.assets.transforms import wait_for_warehouse
from orchestration.errors import PipelineError

HOLD = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
time.sleep(float(sys.argv[2]))
"""


def opened_by_another(path: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.warehouse.parent.mkdir(parents=True)
    duckdb.connect(home.warehouse).close()
    return home


def test_no_warehouse_yet_is_nothing_to_wait_for(tmp_path: Path) -> None:
    wait_for_warehouse(Home(tmp_path), seconds=0)
    assert not Home(tmp_path).warehouse.exists()


def test_another_writer_is_waited_for(home: Home) -> None:
    with opened_by_another(home.warehouse, 1.0) as process:
        wait_for_warehouse(home, seconds=20)
        assert process.wait() == 0


def test_a_writer_that_stays_is_named(home: Home) -> None:
    with opened_by_another(home.warehouse, 60) as process:
        with pytest.raises(PipelineError, match=rf"cannot be opened.*{process.pid}.*published Parquet"):
            wait_for_warehouse(home, seconds=0.2)
        process.kill()
