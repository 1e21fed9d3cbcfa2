"""Load the libraries of later stages while this process waits for another, or for the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Thread


@contextmanager
def importing(*modules: str) -> Iterator[None]:
    """Imports the modules in a thread while the block runs; leaving the block waits for them.

    The block imports none of them itself: two threads within one circle of imports see half a module. Dagster
    works with SQLAlchemy meanwhile, which asks its mapper about every value as soon as that is half loaded.
    """
    import_module("sqlalchemy.orm")
    thread = Thread(target=_import_all, args=(modules,), name="importing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _import_all(modules: tuple[str, ...]) -> None:
    # A module that is missing or broken is the error of the stage that needs it.
    with suppress(Exception):
        for module in modules:
            import_module(module)
