"""The rhythms of hour, week and season, and time as the simulator counts it.

Time is days since the simulation's first midnight UTC, as floats; ``to_micros`` makes instants of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

DAY_MICROS = 86_400_000_000
WEEKDAY_WEIGHTS = np.array([1.0, 0.94, 0.95, 1.0, 1.06, 1.2, 1.12])
"""Visits by weekday, Monday first."""

_HOURS = np.arange(24)
HOUR_WEIGHTS = np.stack(
    [
        0.05 + np.exp(-(((_HOURS - peak) / width) ** 2)) + 0.35 * np.exp(-(((_HOURS - second) / 2.5) ** 2))
        for peak, width, second in ((8, 2.5, 18), (13, 3.0, 20), (20, 2.5, 12))
    ]
)
"""Visits by hour for early, midday and evening people."""


@dataclass(frozen=True)
class Calendar:
    """The days ``[0, days)`` from ``start``, and how busy each is."""

    start: date
    days: int

    @property
    def start_micros(self) -> int:
        return (
            int(datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC).timestamp())
            * 1_000_000
        )

    def to_micros(self, at: Floats) -> Ints:
        return (self.start_micros + np.round(at * DAY_MICROS)).astype(np.int64)

    def day_of(self, number: int) -> date:
        return self.start + timedelta(days=number)

    def weights(self, first: int, last: int) -> Floats:
        """Relative busyness of the days [first, last), which may lie outside the simulated span."""
        dates = [self.day_of(number) for number in range(first, last)]
        weekday = WEEKDAY_WEIGHTS[[day.weekday() for day in dates]]
        return weekday * season(np.array([day.timetuple().tm_yday for day in dates], dtype=np.float64))


def season(day_of_year: Floats) -> Floats:
    """A gentle winter high, and a peak in the weeks before the year's end."""
    swing = 1.0 + 0.12 * np.cos(2 * np.pi * (day_of_year - 350) / 365.25)
    peak = 0.45 * np.exp(-(((day_of_year - 335) / 14.0) ** 2))
    return np.asarray(swing + peak, dtype=np.float64)


def hours(rng: np.random.Generator, rhythm: Ints) -> Floats:
    """A time of day (fraction of a day) for each visit, by its visitor's rhythm."""
    cumulated = np.cumsum(HOUR_WEIGHTS, axis=1)
    cumulated /= cumulated[:, -1:]
    flat = (cumulated + np.arange(len(cumulated))[:, None]).ravel()
    hour = np.searchsorted(flat, rhythm + rng.random(len(rhythm)), side="right") - 24 * rhythm
    return np.asarray((np.clip(hour, 0, 23) + rng.random(len(rhythm))) / 24.0, dtype=np.float64)
