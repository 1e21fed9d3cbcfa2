"""Whom the raw form of a refused row names: its columns are the shop's own, so every value is looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

THINGS = ("item", "product", "stock", "sku", "quantity", "price", "amount", "cost")
"""A field with one of these in its name says nothing about a person, though its value may look like an id."""


def names_any(raw: str | None, is_wanted: Callable[[str], bool]) -> bool:
    """Whether a value in this JSON text, at any depth, is such an id."""
    return any(is_wanted(text) for text in texts_of(raw))


def texts_of(raw: str | None) -> set[str]:
    """Every value of the row that may be an id, as text."""
    return set() if raw is None else set(_texts(raw))


def _texts(raw: str) -> Iterator[str]:
    try:
        value = json.loads(raw)
    except ValueError:
        return
    yield from _scalars(value)


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            if not any(thing in str(name).lower() for thing in THINGS):
                yield from _scalars(each)
    elif isinstance(value, list):
        for each in value:
            yield from _scalars(each)
    elif isinstance(value, str):
        yield value.strip()
        if value.lstrip().startswith(("{", "[")):
            yield from _texts(value)
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
