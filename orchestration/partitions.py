"""The daily event partition: one UTC day of `event_at`, shared by everything that is kept by day.

It starts at ATTUNE_FIRST_DAY. The default, 2000-01-01, is before any event that a shop still has in a file,
so that a date typed wrongly by a century is refused, not given a partition. It ends with the present day,
which is landed again whenever more of it has arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import dagster as dg


def daily(first_day: date) -> dg.DailyPartitionsDefinition:
    """The partitions definition; the present day is its last partition."""
    return dg.DailyPartitionsDefinition(start_date=first_day.isoformat(), timezone="UTC", end_offset=1)


def between(first_day: date, last_day: date) -> dg.DailyPartitionsDefinition:
    """These partitions alone: Dagster lists all that there are for each dependency, 1 s from 2000 on."""
    end = last_day + timedelta(days=1)
    # With the offset the present day is one of them; it adds none after the last day.
    return dg.DailyPartitionsDefinition(
        first_day.isoformat(), end_date=end.isoformat(), timezone="UTC", end_offset=1
    )


def as_days(keys: Iterable[str]) -> list[date]:
    """Partition keys -> days, ascending."""
    return sorted(date.fromisoformat(key) for key in keys)


def describe(days: Sequence[date]) -> str:
    """`2024-03-01 to 2024-03-31 (31 days)`, for messages; the days ascending."""
    if not days:
        return "no days"
    if len(days) == 1:
        return f"{days[0]}"
    return f"{days[0]} to {days[-1]} ({len(days)} days)"
