"""Tiny shops as `Interactions`, without a mart."""

from collections.abc import Sequence
from datetime import date

import numpy as np

from training.identifiers import IdMap
from training.interactions import Interactions

CUTOFF = date(2026, 1, 31)


def interactions(rows: Sequence[tuple[str, str, int] | tuple[str, str, int, int]]) -> Interactions:
    """Rows of (user, item, age in days) or (user, item, age in days, lines bought); 0 lines is a view."""
    full = [(row[0], row[1], row[2], row[3] if len(row) == 4 else 1) for row in rows]
    users = IdMap.of(user for user, _, _, _ in full)
    items = IdMap.of(item for _, item, _, _ in full)
    lines = np.array([count for _, _, _, count in full], dtype=np.float32)
    return Interactions(
        users,
        items,
        CUTOFF,
        users.positions([user for user, _, _, _ in full]).astype(np.int32),
        items.positions([item for _, item, _, _ in full]).astype(np.int32),
        np.array([age for _, _, age, _ in full], dtype=np.float32),
        lines,
        np.where(lines > 0, 5.0 * lines, 1.0).astype(np.float32),
    )


def checkerboard(size: int = 20) -> Interactions:
    """User i bought every item of its own colour (parity) but item i: the one right answer for a new item."""
    return interactions(
        [
            (f"u{user:02}", f"i{item:02}", 1 + (user + item) % 5)
            for user in range(size)
            for item in range(size)
            if user % 2 == item % 2 and user != item
        ]
    )
