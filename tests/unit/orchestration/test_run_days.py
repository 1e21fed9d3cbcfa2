"""Which days of a source a run lands, and what it says of those that it cannot."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from orchestration.errors import SourceError
from orchestration.run import RunRequest, choose_days
from orchestration.sources.base import Source

FIRST_DAY, TODAY = date(2000, 1, 1), date(2024, 3, 31)
DAYS = [date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 5)]


@dataclass
class Calendar:
    """A source of which only the days matter."""

    dates: list[date]
    name: str = field(default="calendar")

    def days(self) -> list[date]:
        return self.dates


def chosen(dates: list[date], first: date | None = None, last: date | None = None) -> Any:
    source: Source = Calendar(dates)  # type: ignore[assignment]
    return choose_days(source, RunRequest("calendar", Path("drops"), first, last), FIRST_DAY, TODAY)


def test_without_limits_every_day_is_landed() -> None:
    assert chosen(DAYS) == (DAYS, [])


def test_from_and_to_are_included() -> None:
    assert chosen(DAYS, date(2024, 3, 2), date(2024, 3, 5)) == (DAYS[1:], [])


def test_an_empty_range_says_what_the_source_has() -> None:
    with pytest.raises(
        SourceError, match="no event from 2024-04-01 to .*has events from 2024-03-01 to 2024-03-05"
    ):
        chosen(DAYS, first=date(2024, 4, 1))


def test_a_source_without_dates_is_an_input_error() -> None:
    with pytest.raises(SourceError, match="holds no dated event"):
        chosen([])


def test_a_stray_day_is_left_out_by_name() -> None:
    days, warnings = chosen([date(1970, 1, 1), *DAYS, date(2042, 1, 1)])
    assert days == DAYS
    [warning] = warnings
    assert "2 days outside 2000-01-01 (ATTUNE_FIRST_DAY) to 2024-03-31" in warning
    assert "1970-01-01, 2042-01-01" in warning


def test_only_stray_days_are_an_input_error() -> None:
    with pytest.raises(SourceError, match="ATTUNE_FIRST_DAY earlier"):
        chosen([date(1970, 1, 1)])
