"""Stored values as answers have them: JSON has no NaN, no datetime and no array."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def age_seconds(at: datetime | None, now: datetime) -> float | None:
    """How old something is, to the millisecond; never negative, None if it has no instant."""
    return None if at is None else round(max(0.0, (now - at).total_seconds()), 3)


def instant(value: Any) -> datetime | None:
    """A stored instant as a UTC datetime; the store gives datetimes, naive ones meaning UTC."""
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def instant_text(micros: int | None) -> str | None:
    """Microseconds since 1970 as ISO text in UTC."""
    return None if micros is None else (EPOCH + timedelta(microseconds=micros)).isoformat()


def json_value(value: Any) -> Any:
    """A stored value as JSON has it: NaN is null, an instant ISO text, an array a list."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        at = instant(value)
        return None if at is None else at.isoformat()
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    return value
