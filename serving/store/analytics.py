"""What was served and what came of it, from the latest decisions: read for the analytics answers."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from feature_repo.event_log import events
from feature_repo.events import MESSAGE_LIST
from serving.store.decisions import decision_outcomes, decisions

MOST_DECISIONS = 500
IDS_A_QUERY = 500
MOST_BUNDLE_EVENTS = 50_000


@dataclass(frozen=True, slots=True)
class Served:
    """One decision, its output, and what came back: (item or None, status, event id)."""

    decision_id: str
    kind: str
    output: dict[str, Any]
    outcomes: list[tuple[str | None, str, str]]


def latest_served(connection: sa.Connection, since: int, kind: str | None = None) -> list[Served]:
    """The latest decisions from an instant on, newest first, at most `MOST_DECISIONS`.

    Without the goods of messages: a draft shows nobody anything.
    """
    wanted = sa.select(decisions.c.decision_id, decisions.c.kind, decisions.c.output).where(
        decisions.c.at >= since, decisions.c.kind != MESSAGE_LIST
    )
    if kind is not None:
        wanted = wanted.where(decisions.c.kind == kind)
    rows = connection.execute(wanted.order_by(decisions.c.sequence.desc()).limit(MOST_DECISIONS)).all()
    found = {row.decision_id: Served(row.decision_id, row.kind, orjson.loads(row.output), []) for row in rows}
    names = list(found)
    for place in range(0, len(names), IDS_A_QUERY):
        outcomes = connection.execute(
            sa.select(decision_outcomes).where(
                decision_outcomes.c.decision_id.in_(names[place : place + IDS_A_QUERY])
            )
        )
        for row in outcomes:
            found[row.decision_id].outcomes.append((row.item_id, row.status, row.event_id))
    return list(found.values())


def amounts(connection: sa.Connection, event_ids: list[str]) -> float:
    """Quantity times price of these purchase events."""
    total = 0.0
    for place in range(0, len(event_ids), IDS_A_QUERY):
        chosen = events.c.event_id.in_(event_ids[place : place + IDS_A_QUERY])
        bodies = connection.execute(sa.select(events.c.body).where(chosen, events.c.event_type == "purchase"))
        for (body,) in bodies:
            fields = orjson.loads(body)
            total += float(fields.get("quantity") or 0) * float(fields.get("price") or 0)
    return total


def event_counts(connection: sa.Connection, since: int, types: tuple[str, ...] = ()) -> Counter[str]:
    """Events received from an instant on, by type; all types if none is named."""
    wanted = sa.select(events.c.event_type, sa.func.count()).where(events.c.received_at >= since)
    if types:
        wanted = wanted.where(events.c.event_type.in_(types))
    # The latest come last: this bounds what has to be looked at in a log of years.
    newest = sa.select(sa.func.max(events.c.sequence)).scalar_subquery()
    wanted = wanted.where(events.c.sequence > newest - 1_000_000)
    found = connection.execute(wanted.group_by(events.c.event_type))
    return Counter({str(kind): int(count) for kind, count in found})


def named_bundles(connection: sa.Connection, since: int, types: tuple[str, ...]) -> set[tuple[str, str]]:
    """(type, bundle id) of the bundle events received from an instant on that name one; the latest count."""
    wanted = sa.select(events.c.event_type, events.c.body).where(
        events.c.received_at >= since, events.c.event_type.in_(types)
    )
    newest = sa.select(sa.func.max(events.c.sequence)).scalar_subquery()
    wanted = wanted.where(events.c.sequence > newest - 1_000_000).order_by(events.c.sequence.desc())
    found: set[tuple[str, str]] = set()
    for kind, body in connection.execute(wanted.limit(MOST_BUNDLE_EVENTS)):
        bundle_id = (orjson.loads(body).get("context") or {}).get("bundle_id")
        if isinstance(bundle_id, str):
            found.add((str(kind), bundle_id))
    return found
