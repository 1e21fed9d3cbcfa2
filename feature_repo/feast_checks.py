"""Feast without its run-time type checks, which cost every process five seconds before it does anything.

Feast decorates its classes with typeguard's `typechecked`, and that parses and compiles their sources again
while they are imported. Our own calls are checked statically; what comes from outside is checked by us.
"""

from typing import Any

import typeguard

_typechecked = typeguard.typechecked


def leave_feast_unchecked() -> None:
    """To be called before Feast is first imported; everybody else's classes are checked as ever."""
    typeguard.typechecked = _checked_unless_feast


def _checked_unless_feast(target: Any = None, **options: Any) -> Any:
    if getattr(target, "__module__", "").startswith("feast."):
        return target
    return _typechecked(**options) if target is None else _typechecked(target, **options)
