"""The tables of the operational store: brought up to date at the start, compared in tests, and migrated.

`make migration NAME="what changed"` writes the next migration from the difference between the tables that the
code declares and those that the migrations so far make. Read what it wrote: it knows no data.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from feature_repo.event_log import events, open_engine
from serving.errors import UnusableStore
from serving.store import all_tables

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
# Any number that nobody else in this database locks.
ADVISORY_LOCK = 4_177_001


def upgrade(engine: sa.Engine) -> None:
    """Bring the tables up to date; of several processes that start at once, one does and the others wait.

    All of it is one transaction, so a start that is interrupted leaves the tables as they were. Tables that
    no migration made, but which are the same, are taken over. Raises `UnusableStore` for other tables.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # SQLite's transaction holds the write lock already
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        found = version(connection)
        if found == newest():
            return
        try:
            if found is None and sa.inspect(connection).has_table(events.name):
                _take_over(connection)
            else:
                command.upgrade(_config(connection), "head")
        except CommandError as error:
            raise UnusableStore(str(found), str(newest()), str(error)) from error


def _take_over(connection: sa.Connection) -> None:
    """Mark tables that were made from the code as migrated."""
    if differences(connection):
        problem = "its tables are neither empty nor those of this version"
        raise UnusableStore("unknown", str(newest()), problem)
    command.stamp(_config(connection), "head")


def version(connection: sa.Connection) -> str | None:
    """The migration that these tables are at; None for an empty store."""
    return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """The last migration that this code has."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def differences(connection: sa.Connection) -> list[Any]:
    """What the database has otherwise than the code declares; none, if the migrations are complete."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    found: list[Any] = compare_metadata(context, all_tables())
    return found


def write_migration(name: str) -> Path | None:
    """Write the next migration; None if the migrations are complete."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(sa.URL.create("sqlite", database=f"{folder}/empty.db"), writes=True)
        upgrade(engine)
        with engine.begin() as connection:
            if not differences(connection):
                return None
            number = f"{int(newest() or 0) + 1:04}"
            script = command.revision(_config(connection), name, autogenerate=True, rev_id=number)
        engine.dispose()
    assert script is not None and not isinstance(script, list)
    written = Path(script.path)
    kept = [line for line in written.read_text().splitlines() if not line.strip().startswith("# ###")]
    written.write_text("\n".join(kept))
    for tool in (("format", "-q"), ("check", "-q", "--fix")):
        subprocess.run([sys.executable, "-m", "ruff", *tool, written], check=True)
    return written


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    return config


if __name__ == "__main__":
    path = write_migration(" ".join(sys.argv[1:]) or "unnamed")
    sys.stdout.write(f"wrote {path}\n" if path else "the migrations are complete; nothing to write\n")
