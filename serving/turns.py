"""Figures are answered one at a time in a process; whoever has to wait lets the next one go first."""

from collections.abc import Callable
from contextvars import ContextVar


def _without_turn() -> None:
    """Nothing to give back: what is asked outside a request has no turn."""


GIVE_BACK: ContextVar[Callable[[], None]] = ContextVar("give_back", default=_without_turn)
"""Ends the turn of the request that is answered; may be called again."""


def give_way() -> None:
    """Before waiting for a file, a table or a thread: what is ready need not wait behind it."""
    GIVE_BACK.get()()
