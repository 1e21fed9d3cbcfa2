"""A tracking process that is killed loses nothing that it acknowledged and doubles nothing that comes again.

The full run, fifty kills of the whole service: `python -m benchmarks.tracking --kills 50`.
"""

import random
import signal
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from feature_repo.event_log import events, open_engine
from tests.contracts.repository import ROOT
from tests.tracking_process import CLIENTS, batch

pytestmark = pytest.mark.integration
KILLS = 4


def run_until_killed(url: sa.URL, first_turn: int, seconds: float) -> list[tuple[str, str]]:
    """Status and id of each event that was acknowledged before `kill -9`."""
    address = url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tracking_process", address, str(first_turn)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    said = (first + process.stdout.read()).decode()
    process.stdout.close()
    process.wait()
    whole = said[: said.rfind("\n")].splitlines()
    return [(status, event_id) for status, _, event_id in (line.partition(" ") for line in whole)]


def test_kill_9_loses_and_doubles_nothing(store_url: sa.URL) -> None:
    rng = random.Random(7)
    acknowledged: set[str] = set()
    statuses: set[str] = set()
    turn = 0
    for _ in range(KILLS):
        said = run_until_killed(store_url, turn, rng.uniform(0.02, 0.4))
        statuses |= {status for status, _ in said}
        acknowledged |= {event_id for _, event_id in said}
        # Everybody sends the slowest one's last turn again, as a client does that heard no answer.
        done = dict.fromkeys(range(CLIENTS), -1)
        for event_id in acknowledged:
            client, number, _ = map(int, event_id.split("-"))
            done[client] = max(done[client], number)
        turn = max(min(done.values()), 0)
    engine = open_engine(store_url)
    with engine.begin() as connection:
        stored = list(connection.execute(sa.select(events.c.event_id)).scalars())
    engine.dispose()
    assert statuses == {"accepted", "duplicate"}
    assert len(acknowledged) > 100
    assert acknowledged - set(stored) == set()
    assert len(stored) == len(set(stored))
    sent = {row["event_id"] for client in range(CLIENTS) for n in range(5000) for row in batch(client, n)}
    assert set(stored) <= sent


def test_commits_of_the_writer_are_synced_to_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a power failure would tell: SQLite syncs its log at every commit."""
    url = sa.URL.create("sqlite", database=str(tmp_path_factory.mktemp("log") / "attune.db"))
    engine = open_engine(url, writes=True)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()
