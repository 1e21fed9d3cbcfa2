"""`python -m tests.tracking_process URL TURN`: track without end, and say on stdout what was acknowledged.

For tests that kill it. Eight clients send batches with ids of their own, from turn TURN on; a line is an id
that was acknowledged. Nothing is buffered: what was said has left the process.
"""

import asyncio
import itertools
import os
import sys
from typing import Any

import sqlalchemy as sa

from serving.metrics import Metrics
from serving.people.permissions import Permissions, Signals
from serving.store.database import Database
from serving.tracking import Tracker

CLIENTS = 8


def batch(client: int, turn: int) -> list[dict[str, Any]]:
    """What a client sends at its turn, always the same."""
    return [
        {
            "event_id": f"{client}-{turn}-{index}",
            "event_type": "page_view",
            "user_id": f"u{client}",
            "context": {"turn": turn},
        }
        for index in range(1 + (turn + client) % 7)
    ]


async def send(tracker: Tracker, client: int, first_turn: int) -> None:
    for turn in itertools.count(first_turn):
        outcomes = await tracker.track(batch(client, turn), Signals(), "/test")
        lines = [f"{outcome.status} {outcome.event_id}\n" for outcome in outcomes]
        os.write(sys.stdout.fileno(), "".join(lines).encode())


async def main(url: str, first_turn: int) -> None:
    metrics = Metrics()
    database = Database.open(sa.make_url(url), metrics, deadline_seconds=10.0)
    tracker = Tracker(database, lambda _, __: Permissions(), metrics)
    await asyncio.gather(*(send(tracker, client, first_turn) for client in range(CLIENTS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
