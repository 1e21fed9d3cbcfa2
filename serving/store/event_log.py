"""Events in the operational store: append many by one statement, and look some up by their ids.

The tables are `feature_repo.event_log`'s, which runs read too. Rows travel as one JSON text: one step of the
database a group, whatever its size, so that the writer thread hands the interpreter over once.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from feature_repo.event_log import events

COLUMNS = ("event_id", "event_type", "user_id", "anonymous_id", "event_at", "received_at", "body")

_INSERT = f"INSERT INTO events ({', '.join(COLUMNS)})"
# Under SQLite's write lock nobody comes in between: sequences are consecutive, ids were looked up before.
_INSERT_SQLITE = (
    f"{_INSERT} SELECT"
    + "".join(f" json_extract(value, '$[{position}]')," for position in range(5))
    + " ?, json_extract(value, '$[5]') FROM json_each(?)"
)
_INSERT_POSTGRES = (
    f"{_INSERT} SELECT r->>0, r->>1, r->>2, r->>3, (r->>4)::bigint, %s, r->>5"
    " FROM json_array_elements(%s::json) AS r"
    " ON CONFLICT (event_id) DO NOTHING RETURNING event_id, sequence"
)
LOOK_UP_AT_ONCE = 500


class NewEvent(NamedTuple):
    """A row to append; who writes it stamps `received_at`."""

    event_id: str
    event_type: str
    user_id: str | None
    anonymous_id: str | None
    event_at: int
    body: str


class StoredEvent(NamedTuple):
    """What tells whether an event that comes again is the same."""

    event_type: str
    user_id: str | None
    anonymous_id: str | None
    event_at: int
    body: str


def append_events(connection: sa.Connection, rows: Sequence[NewEvent], received_at: int) -> dict[str, int]:
    """Append events whose ids are not in the log; event_id -> sequence, in the order given.

    On PostgreSQL another process may have brought an id since it was looked up: that one is left out.
    """
    if not rows:
        return {}
    parameters = (received_at, orjson.dumps([tuple(row) for row in rows]).decode())
    if connection.dialect.name == "sqlite":
        last = connection.exec_driver_sql(_INSERT_SQLITE, parameters).lastrowid
        first = last - len(rows) + 1
        return {row.event_id: first + position for position, row in enumerate(rows)}
    added: Any = connection.exec_driver_sql(_INSERT_POSTGRES, parameters)
    return dict(added.all())


def find_events(connection: sa.Connection, event_ids: Iterable[str]) -> dict[str, StoredEvent]:
    """Those of these events that are in the log, by their ids."""
    wanted = list(event_ids)
    columns = [events.c[name] for name in ("event_id", *StoredEvent._fields)]
    found: dict[str, StoredEvent] = {}
    for start in range(0, len(wanted), LOOK_UP_AT_ONCE):
        some = wanted[start : start + LOOK_UP_AT_ONCE]
        query = sa.select(*columns).where(events.c.event_id.in_(some))
        found.update((row[0], StoredEvent(*row[1:])) for row in connection.execute(query))
    return found
