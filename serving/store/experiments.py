"""Experiments in the operational store: definitions, every version of them, and who met which variant."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from feature_repo.event_log import Sequence as GrowingInteger
from feature_repo.event_log import metadata

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("experiment_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("stopped_at", sa.BigInteger),
)
"""One row per experiment, as it is now. `definition`: JSON, with its buckets; `origin`: api or file."""

experiment_versions = sa.Table(
    "experiment_versions",
    metadata,
    sa.Column("sequence", GrowingInteger, primary_key=True, autoincrement=True),
    sa.Column("experiment_id", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("change", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("experiment_id", "version"),
    sqlite_autoincrement=True,
)
"""One row per change of an experiment: created, changed, stopped. Workers follow the last sequence."""

exposures = sa.Table(
    "experiment_exposures",
    metadata,
    sa.Column("experiment_id", sa.Text, primary_key=True),
    sa.Column("visitor_id", sa.Text, primary_key=True),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("exposed_at", sa.BigInteger, nullable=False),
    sa.Index("experiment_exposures_by_visitor", "visitor_id"),
)
"""One row per visitor and experiment: the first time that the variant could make a difference to them."""

Row = Mapping[str, Any]


def last_change(connection: sa.Connection) -> int:
    """Grows with every change of any experiment."""
    return connection.execute(sa.select(sa.func.max(experiment_versions.c.sequence))).scalar() or 0


def all_rows(connection: sa.Connection) -> list[Row]:
    """Every experiment, oldest first."""
    ordered = sa.select(experiments).order_by(experiments.c.created_at, experiments.c.experiment_id)
    return [dict(row) for row in connection.execute(ordered).mappings()]


def keep_others_out(connection: sa.Connection) -> None:
    """One change of experiments at a time: two that are made at once must not take the same buckets."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE experiments IN SHARE ROW EXCLUSIVE MODE"))


def put(connection: sa.Connection, row: Row, change: str, at: int) -> None:
    """Insert an experiment or replace it, and write down its version."""
    key = experiments.c.experiment_id == row["experiment_id"]
    changed = connection.execute(sa.update(experiments).where(key).values(**row))
    if changed.rowcount == 0:
        connection.execute(sa.insert(experiments).values(**row))
    version = {name: row[name] for name in ("experiment_id", "version", "definition")}
    connection.execute(sa.insert(experiment_versions).values(**version, change=change, changed_at=at))


def versions(connection: sa.Connection, experiment_id: str) -> list[Row]:
    """What an experiment was, first version first."""
    found = connection.execute(
        sa.select(experiment_versions)
        .where(experiment_versions.c.experiment_id == experiment_id)
        .order_by(experiment_versions.c.version)
    )
    return [dict(row) for row in found.mappings()]


def exposed_counts(connection: sa.Connection, experiment_id: str) -> dict[str, int]:
    """Variant -> visitors who met it."""
    found = connection.execute(
        sa.select(exposures.c.variant, sa.func.count())
        .where(exposures.c.experiment_id == experiment_id)
        .group_by(exposures.c.variant)
    )
    return {str(variant): int(count) for variant, count in found}


def known_exposures(connection: sa.Connection, pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these (experiment, visitor) are written down already."""
    visitors = sorted({visitor for _, visitor in pairs})
    found = connection.execute(
        sa.select(exposures.c.experiment_id, exposures.c.visitor_id).where(
            exposures.c.visitor_id.in_(visitors)
        )
    )
    return {(str(experiment), str(visitor)) for experiment, visitor in found} & set(pairs)


def arms_of(connection: sa.Connection, visitor_id: str) -> dict[str, str]:
    """Experiment -> the variant that a visitor met."""
    found = connection.execute(
        sa.select(exposures.c.experiment_id, exposures.c.variant)
        .where(exposures.c.visitor_id == visitor_id)
        .order_by(exposures.c.exposed_at)
    )
    return {str(experiment): str(variant) for experiment, variant in found}


def add_exposures(connection: sa.Connection, rows: Iterable[Row]) -> None:
    """Write down first exposures; those that are there already stay as they are."""
    wanted = list(rows)
    if not wanted:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(postgresql.insert(exposures).on_conflict_do_nothing(), wanted)
    else:
        connection.execute(sqlite.insert(exposures).on_conflict_do_nothing(), wanted)
