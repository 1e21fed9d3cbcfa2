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
from typing import Protocol, runtime_checkable

import pandas as pd

from orchestration.errors import SourceError, UnknownSource

EVENT_LOG = "event_log"
SOURCE_NAMES = ("online_retail", "tabular", "simulator", EVENT_LOG)


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


@runtime_checkable
class ContentSource(Protocol):
    """A source that has editorial content too; not every one does."""

    def content(self) -> pd.DataFrame:
        """The pieces as now known: CONTENT_SCHEMA's columns, raw; may be empty."""


@runtime_checkable
class MarketingSource(Protocol):
    """A source that tells what marketing cost; not every one does."""

    def marketing_spend(self) -> pd.DataFrame:
        """The payments as now known: SPEND_SCHEMA's columns, raw; may be empty."""


def parse_sources(text: str, path: Path | None, path_name: str = "--path") -> tuple[str, ...]:
    """The sources of one run, comma separated: one that lies somewhere, the event log, or both.

    Raises UnknownSource, or SourceError where the path is missing, or there for nothing.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in SOURCE_NAMES:
            raise UnknownSource(name, list(SOURCE_NAMES))
    with_path = [name for name in names if name != EVENT_LOG]
    if len(with_path) > 1 or len(set(names)) < len(names) or not names:
        raise SourceError(
            f"sources {text!r} cannot be read together: name one of {', '.join(SOURCE_NAMES[:-1])}, "
            f"{EVENT_LOG}, or one and {EVENT_LOG}."
        )
    if with_path and path is None:
        raise SourceError(f"the source {with_path[0]} lies somewhere: say where with {path_name}.")
    if not with_path and path is not None:
        raise SourceError(
            f"{path_name} {path} cannot be used: {EVENT_LOG} reads the operational store; leave it out."
        )
    return names


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
