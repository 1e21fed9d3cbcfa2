"""The operational store: one module a noun, each with its tables and the statements over them.

Here: tables (on `feature_repo.event_log.metadata`), queries and changes as functions of a connection, the
connections themselves (`database`), migrations. Not here: decisions about what to store, and HTTP.
"""

import pkgutil
from importlib import import_module

import sqlalchemy as sa

from feature_repo.event_log import metadata


def all_tables() -> sa.MetaData:
    """Every table of the operational store: imports each module of this package that may declare some."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        if not module.ispkg:
            import_module(module.name)
    return metadata
