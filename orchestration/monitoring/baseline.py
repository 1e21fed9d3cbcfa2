"""What a daily figure is expected to be, from its own past: level, weekday and spread, all by medians.

For each day the level is the median of the `LEVEL_DAYS` days before it. How a weekday differs from the level
is the median of how it did on the days before; the spread is 1.4826 times the median absolute deviation of
what is left then (Hampel 1974), which equals a standard deviation where the rest is normal and ignores a bad
day. Counts and amounts are compared as logarithms, so a shop that grows keeps the same relative band.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

Scale = Literal["log", "linear"]
Floats = npt.NDArray[np.float64]

LEVEL_DAYS = 28
PAST_DAYS = 84
LEAST_DAYS = 56
"""With fewer days a figure is not judged: each weekday was seen only four times after a level."""
MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True)
class Tolerance:
    """A day is an anomaly if it is `deviations` away from what was expected, and by `least_change` at least.

    `least_change` is relative on the log scale and in the figure's own unit on the linear one: what is
    significant and small needs nobody at night.
    """

    deviations: float = 5.0
    least_change: float = 0.25


@dataclass(frozen=True)
class Judged:
    """One day of one figure: what it was, what was expected, and the band in which nobody is told."""

    day: date
    value: float
    expected: float
    low: float
    high: float

    @property
    def is_anomaly(self) -> bool:
        return not self.low <= self.value <= self.high

    @property
    def is_above(self) -> bool:
        return self.value > self.high


def judge(values: Sequence[float], last_day: date, scale: Scale, tolerance: Tolerance) -> Judged | None:
    """The last of consecutive daily values (NaN: unknown); None if it or too much of its past is unknown."""
    known = np.asarray(values, dtype=np.float64)[-(LEVEL_DAYS + PAST_DAYS + 1) :]
    if not np.isfinite(known[-1:]).any() or np.isfinite(known[:-1]).sum() < LEAST_DAYS:
        return None
    scaled = np.log1p(np.maximum(known, 0.0)) if scale == "log" else known
    departures = np.full(len(scaled), np.nan)
    level = np.nan
    for day in range(LEVEL_DAYS, len(scaled)):
        level = _median(scaled[day - LEVEL_DAYS : day])
        departures[day] = scaled[day] - level
    season = np.array([_median(departures[:-1][_same_weekday(len(scaled), day)]) for day in range(7)])
    rest = departures[:-1] - season[_weekdays(len(scaled))[:-1]]
    spread = MAD_TO_DEVIATION * _median(np.abs(rest - _median(rest)))
    centre = level + season[0]
    if not np.isfinite(centre + spread):
        return None
    half = tolerance.deviations * spread
    if scale == "log":
        up, down = (
            max(half, np.log1p(tolerance.least_change)),
            max(half, -np.log1p(-tolerance.least_change)),
        )
        bounds = np.expm1([centre, centre - down, centre + up])
        expected, low, high = (max(0.0, float(each)) for each in bounds)
    else:
        half = max(half, tolerance.least_change)
        expected, low, high = (float(each) for each in (centre, centre - half, centre + half))
    return Judged(last_day, float(known[-1]), expected, low, high)


def judge_days(
    values: Sequence[float], last_day: date, scale: Scale, tolerance: Tolerance, days: int
) -> list[Judged]:
    """The last `days` days, ascending, each judged by its own past alone; those not judged are left out."""
    found = [
        judge(values[: len(values) - back], last_day - timedelta(days=back), scale, tolerance)
        for back in range(min(days, len(values)) - 1, -1, -1)
    ]
    return [one for one in found if one is not None]


def _weekdays(length: int) -> npt.NDArray[np.int64]:
    """Weekday of each value, counted back from the last (which has 0)."""
    return np.asarray((np.arange(length) - (length - 1)) % 7, dtype=np.int64)


def _same_weekday(length: int, day: int) -> npt.NDArray[np.bool_]:
    return np.asarray(_weekdays(length)[:-1] == day)


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
