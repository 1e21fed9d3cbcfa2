"""What a source yields: raw events in batches of days, items and customers.

Frames have the contract's column names (feature_repo/events.py) but raw values. An adapter may add
``reject_reason`` and ``reject_detail`` for rows that it knows not to be events, and columns that start with
``raw_`` for the row's original form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

import pandas as pd

from orchestration.errors import UnknownSource

SOURCE_NAMES = ("online_retail", "tabular", "simulator")


@dataclass(frozen=True)
class EventBatch:
    """All rows that the source has for ``days``, and the rows whose day it cannot tell.

    A row's day is the UTC day of event_at; where that is unreadable, the day of received_at. Rows with
    neither come with every call, whatever days were asked for.
    """

    days: tuple[date, ...]
    frame: pd.DataFrame


class Source(Protocol):
    """One place that events come from; opening it checks that it is there and has the right columns."""

    @property
    def name(self) -> str:
        """The adapter's name, as in SOURCE_NAMES."""

    def days(self) -> list[date]:
        """The UTC days for which the source has rows, ascending."""

    def events(self, days: Sequence[date]) -> Iterator[EventBatch]:
        """The rows of these days, each day in exactly one batch; days without rows may be left out."""

    def items(self) -> pd.DataFrame:
        """The catalogue as now known: ITEM_SCHEMA's columns, raw; may be empty."""

    def customers(self) -> pd.DataFrame:
        """The customers as now known: CUSTOMER_SCHEMA's columns, raw; may be empty."""


def open_source(name: str, path: Path) -> Source:
    """The adapter of that name on that path; raises a SourceError that names what is wrong with it."""
    if name == "online_retail":
        from orchestration.sources.online_retail import OnlineRetailSource

        return OnlineRetailSource.open(path)
    if name == "tabular":
        from orchestration.sources.tabular import TabularSource

        return TabularSource.open(path)
    if name == "simulator":
        from orchestration.sources.simulator import SimulatorSource

        return SimulatorSource.open(path)
    raise UnknownSource(name, list(SOURCE_NAMES))
