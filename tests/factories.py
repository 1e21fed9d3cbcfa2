"""Tiny events, items and sources: every test says what matters to it and gets the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd

from feature_repo.validation import row_days
from orchestration.sources.base import EventBatch


def view(event_id: str, at: str = "2025-03-01T10:00:00Z", /, **fields: Any) -> dict[str, Any]:
    """A raw product view of user u1 on item i1."""
    return {
        "event_id": event_id,
        "event_type": "product_view",
        "user_id": "u1",
        "item_id": "i1",
        "event_at": at,
        **fields,
    }


def purchase(event_id: str, at: str = "2025-03-01T10:00:00Z", /, **fields: Any) -> dict[str, Any]:
    """A raw purchase line: one unit at 10.00."""
    line = {"event_type": "purchase", "order_id": "o1", "quantity": 1.0, "price": 10.0, "currency": "EUR"}
    return view(event_id, at, **{**line, **fields})


@dataclass
class ListSource:
    """A source of literal rows, in one batch; ``extra`` columns such as reject_reason pass through."""

    rows: list[dict[str, Any]]
    item_rows: list[dict[str, Any]] = field(default_factory=list)
    customer_rows: list[dict[str, Any]] = field(default_factory=list)
    name: str = "list"

    def days(self) -> list[date]:
        return sorted({day for day in self._days() if day is not None})

    def events(self, days: Sequence[date]) -> Iterator[EventBatch]:
        rows = [
            row for row, day in zip(self.rows, self._days(), strict=True) if day in set(days) or day is None
        ]
        yield EventBatch(tuple(days), pd.DataFrame(rows))

    def items(self) -> pd.DataFrame:
        return pd.DataFrame(self.item_rows, columns=["item_id", "title", "price", "first_seen_at"])

    def customers(self) -> pd.DataFrame:
        return pd.DataFrame(self.customer_rows, columns=["user_id", "created_at", "location", "age"])

    def _days(self) -> list[date | None]:
        return list(row_days(pd.DataFrame(self.rows)).to_pylist()) if self.rows else []
