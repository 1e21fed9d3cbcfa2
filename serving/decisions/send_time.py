"""When to send somebody a message: the hour at which they answer, outside quiet hours, below the cap.

A visitor's histogram of hours is shrunk to their segment's, and that to everybody's. Hours are local.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from serving.decisions.rates import blended

HOURS = 24
When = Literal["best", "soonest"] | int
"""The hour at which they answer most, the first that is not quiet, or one local hour."""
# Messages that weigh as much as what they are shrunk to.
SEGMENT_WEIGHT, VISITOR_WEIGHT, EVEN_WEIGHT = 50.0, 12.0, 24.0
# Before anything is known: people read messages in the morning and in the evening.
USUAL_HOURS = (1, 1, 1, 1, 1, 1, 3, 6, 9, 9, 8, 7, 7, 6, 5, 5, 6, 7, 9, 10, 9, 6, 3, 2)


def is_quiet(hour: int, quiet_from: int, quiet_until: int) -> bool:
    """Whether the hour lies in the quiet ones; from 21 until 8 goes over midnight, from 0 until 0 is none."""
    if quiet_from == quiet_until:
        return False
    if quiet_from < quiet_until:
        return quiet_from <= hour < quiet_until
    return hour >= quiet_from or hour < quiet_until


def after_quiet(now: datetime, zone: str, quiet_from: int, quiet_until: int) -> datetime | None:
    """Now if it is not quiet there, else when the quiet hours end; None if they never do."""
    place = ZoneInfo(zone)
    hours = _next_hours(now.astimezone(UTC))
    awake = (each for each in hours if not is_quiet(each.astimezone(place).hour, quiet_from, quiet_until))
    return next(awake, None)


def hour_shares(own: Sequence[float], segment: Sequence[float], everybody: Sequence[float]) -> list[float]:
    """Share of the visitor's answers that each hour is expected to get."""
    whole = blended(everybody, USUAL_HOURS, EVEN_WEIGHT)
    return blended(own, blended(segment, whole, SEGMENT_WEIGHT), VISITOR_WEIGHT)


def local_hours(instants: Sequence[int], zone: str) -> list[float]:
    """Histogram of the local hours of these instants (microseconds since 1970 UTC)."""
    found = [0.0] * HOURS
    place = ZoneInfo(zone)
    for instant in instants:
        found[datetime.fromtimestamp(instant / 1e6, UTC).astimezone(place).hour] += 1.0
    return found


def decide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """When to send. `inputs`: allowed, reason, now (ISO), timezone, quiet_from, quiet_until, sent, cap,
    cap_days, oldest_sent (ISO or null), own, segment, everybody (24 local hours each), at (a `When`).

    The best of the next 24 hours that are not quiet; ties go to the earlier one. Above the cap the search
    begins when the oldest message of the window has left it.
    """
    if not inputs["allowed"]:
        return {"send": False, "reason": inputs["reason"], "send_at": None, "local_hour": None, "share": None}
    zone = ZoneInfo(inputs["timezone"])
    expected = hour_shares(inputs["own"], inputs["segment"], inputs["everybody"])
    now = datetime.fromisoformat(inputs["now"]).astimezone(UTC)
    is_capped = inputs["sent"] >= inputs["cap"]
    earliest = now
    if is_capped and inputs["oldest_sent"] is not None:
        left = datetime.fromisoformat(inputs["oldest_sent"]).astimezone(UTC) + timedelta(
            days=inputs["cap_days"]
        )
        earliest = max(now, left)
    wanted = inputs.get("at", "best")
    best: tuple[float, datetime] | None = None
    for start in _next_hours(earliest):
        local = start.astimezone(zone)
        if is_quiet(local.hour, inputs["quiet_from"], inputs["quiet_until"]):
            continue
        if isinstance(wanted, int) and local.hour != wanted:
            continue
        if best is None or (wanted == "best" and expected[local.hour] > best[0] + 1e-12):
            best = (expected[local.hour], start)
    if best is None:
        return {"send": False, "reason": "quiet_hours", "send_at": None, "local_hour": None, "share": None}
    answer = {
        "send_at": best[1].isoformat(),
        "local_hour": best[1].astimezone(zone).hour,
        "share": round(best[0], 6),
    }
    return {"send": not is_capped, "reason": "cap_reached" if is_capped else None, **answer}


def _next_hours(now: datetime) -> list[datetime]:
    """Now, and the beginnings of the hours after it, a day long."""
    start = now.replace(minute=0, second=0, microsecond=0)
    return [now, *(start + timedelta(hours=ahead) for ahead in range(1, HOURS))]
