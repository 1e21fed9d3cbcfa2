"""Who was erased, as salted hashes, and where under ATTUNE_HOME anything about a person can lie.

An erased id is known by its HMAC alone. Landing, replay, backfill, predictions and materialization ask
`Erased`; the service asks `subject_hash`. `STORES` is the one list of everything below the home: a test fails
when a file appears that it does not name, and `orchestration.erasure` has a way to erase each.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from feature_repo.event_log import events, identities, open_engine, salts, tombstones

SALT = "tombstones"
SALT_BYTES = 32
IDS_A_QUERY = 500

Mask = np.ndarray[Any, np.dtype[np.bool_]]

SUBJECT_COLUMNS = ("user_id", "customer_id", "visitor_id", "anonymous_id", "subject_id")
"""A column of one of these names says whose row it is, in every table and every file of ours."""

TABLES_OF_NOBODY = frozenset(
    {"tombstones", "salts", "alembic_version", "rules", "experiments", "experiment_versions"}
)
"""Tables of the operational store that hold nothing about a person; every other has a subject column."""

By = Literal["rows", "sqlite", "warehouse", "marts", "online", "operational", "text", "nothing"]


@dataclass(frozen=True)
class Store:
    """Files below the home. `by`: how a person is erased from them; `nothing`: they hold no person."""

    pattern: str
    by: By
    holds: str


STORES = (
    Store("landing/events/**", "rows", "events by day and source"),
    Store("landing/quarantine/**", "rows", "refused rows in their raw form"),
    Store("landing/customers.parquet", "rows", "customers"),
    Store("landing/items.parquet", "nothing", "the catalogue"),
    Store("landing/content.parquet", "nothing", "articles and videos"),
    Store("landing/marketing_spend.parquet", "nothing", "money by day and channel"),
    Store("landing/event_log.json", "nothing", "how far the event log is landed"),
    Store("landing/retention.json", "nothing", "until when retention was applied"),
    Store("warehouse/**", "warehouse", "dbt's tables (DuckDB)"),
    Store("dbt/**", "text", "dbt's compiled project and last results"),
    Store("marts/**", "marts", "the published tables, the last versions"),
    Store("features/registry.db*", "nothing", "definitions of features"),
    Store("features/online.db*", "online", "online features"),
    Store("features/predictions/**", "rows", "predictions by instant"),
    Store("features/training_frame.parquet", "rows", "the last training frame"),
    Store("features/past_frame.parquet", "rows", "the training frame without its last days, for the gate"),
    Store("features/scored.json", "nothing", "until when and by which champion customers were ranked"),
    Store("features/segments.json", "nothing", "centres and names of segments"),
    Store("features/item_matrices/**", "nothing", "models: arrays over items"),
    Store("features/materialized.json", "nothing", "which tables are online"),
    Store("mlflow/mlflow.db*", "sqlite", "runs and versions: figures and settings"),
    Store("mlflow/**", "nothing", "models: arrays over items, trees, plots"),
    Store("releases/**", "nothing", "models, catalogue and popularity: items only"),
    Store("bentoml/**", "nothing", "copies of releases and the code of the service"),
    Store("operational/**", "operational", "the event log and what the service keeps"),
    Store("dagster/**/*.db*", "sqlite", "history of runs: counts and messages"),
    Store("dagster/**", "text", "configuration and output of runs"),
    Store("logs/**", "text", "output of the last commands"),
    Store("world/**", "rows", "the simulated shop of the demo: its source, and the truth about it"),
    Store("truth/**", "rows", "what a simulator knows"),
    Store("experiments.yaml", "nothing", "experiments that the operator defines"),
    Store("experiment_metrics.yaml", "nothing", "metrics of experiments that the operator defines"),
    Store("experiments/**", "nothing", "results of experiments: means and intervals"),
    Store("rules.yaml", "nothing", "business rules that the operator defines"),
    Store("config/**", "nothing", "page variants that the operator defines"),
    Store("campaigns.yaml", "nothing", "campaigns that the marketer declares"),
    Store("journeys.yaml", "nothing", "journeys that the marketer declares"),
    Store("campaigns/**", "rows", "whom campaigns may choose from, and what each planned by day"),
    Store("analysis/**", "nothing", "what channels and campaigns brought: sums and intervals"),
    Store("monitoring/**", "nothing", "alerts about daily figures: sums and means"),
    Store("run.lock", "nothing", "the process id of a run"),
)
"""Everything below ATTUNE_HOME; the first pattern that fits a file counts. Where a server takes a store's
place (DATABASE_URL, REDIS_URL), the operational store and the online features are erased there."""


def store_of(path: PurePosixPath | Path) -> Store | None:
    """The store that a path relative to the home belongs to, or None if no store names it."""
    text = PurePosixPath(path).as_posix()
    return next((store for store in STORES if _fits(text, store.pattern)), None)


def _fits(text: str, pattern: str) -> bool:
    folder, starred, name = pattern.partition("**")
    if not starred:
        return PurePosixPath(text).match(pattern) and text.count("/") == pattern.count("/")
    return text.startswith(folder) and (not name or PurePosixPath(text).match(name.lstrip("/")))


# hashes


def subject_hash(salt: bytes, subject_id: str) -> str:
    """HMAC-SHA256 of an id, in hexadecimal digits."""
    return hmac.digest(salt, subject_id.encode(), "sha256").hex()


def ensure_salt(connection: sa.Connection, name: str = SALT) -> bytes:
    """The salt of that name, made if there is none yet."""
    found = _salt(connection, name)
    if found is None:
        connection.execute(_insert(connection, salts, ["name"], {"name": name, "salt": _new_salt()}))
        found = _salt(connection, name)
    assert found is not None
    return found


def erased_mask(ids: pa.Array | pa.ChunkedArray, salt: bytes, hashes: frozenset[str]) -> Mask:
    """Which ids are erased; each distinct id is hashed once, null is nobody."""
    if not hashes or len(ids) == 0:
        return np.zeros(len(ids), dtype=bool)
    array = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    is_erased = [name is not None and subject_hash(salt, name) in hashes for name in names]
    codes = encoded.indices.fill_null(len(names))
    return np.asarray(np.array([*is_erased, False], dtype=bool)[np.asarray(codes)])


@dataclass(frozen=True)
class Erased:
    """Everybody who was erased: of whom nothing may be landed, predicted or brought online."""

    salt: bytes = b""
    hashes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.hashes)

    def __contains__(self, subject_id: str) -> bool:
        return bool(self.hashes) and subject_hash(self.salt, subject_id) in self.hashes

    def mask(self, ids: pa.Array | pa.ChunkedArray) -> Mask:
        """Which of the ids are erased."""
        return erased_mask(ids, self.salt, self.hashes)

    def among(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that are erased."""
        return {each for each in ids if each in self}


NOBODY = Erased()


# tombstones in the operational store


def store_exists(url: sa.URL) -> bool:
    """Whether there is a store to ask: a file that is not there yet is made by whoever writes first."""
    return url.get_backend_name() != "sqlite" or bool(url.database and Path(url.database).exists())


def read_erased(url: sa.URL, pending: bool = False) -> Erased:
    """The tombstones of a store, or those that are not completed; nobody where there is no store yet.

    A store that is away raises SQLAlchemy's error: without the list nothing may be landed.
    """
    if not store_exists(url):
        return NOBODY
    engine = open_engine(url)
    try:
        with engine.connect() as connection, connection.begin():
            return erased_in(connection, pending)
    finally:
        engine.dispose()


def erased_in(connection: sa.Connection, pending: bool = False) -> Erased:
    """The tombstones; `pending`: those of whom files may still hold something."""
    if not sa.inspect(connection).has_table(tombstones.name):
        return NOBODY
    query = sa.select(tombstones.c.subject_hash)
    if pending:
        query = query.where(tombstones.c.completed_at.is_(None))
    hashes = frozenset(connection.execute(query).scalars())
    salt = _salt(connection, SALT) if hashes else b""
    return Erased(salt or b"", hashes)


def subjects_of(connection: sa.Connection, user_id: str) -> list[str]:
    """The id and every anonymous id that turned out to be this customer."""
    linked = sa.select(identities.c.anonymous_id).where(identities.c.user_id == user_id)
    return [user_id, *connection.execute(linked.order_by(identities.c.sequence)).scalars()]


def add_tombstones(connection: sa.Connection, subject_ids: Iterable[str], erased_at: int) -> None:
    """Mark these ids as erased (microseconds since 1970); what files hold of them is still to be removed."""
    salt = ensure_salt(connection)
    state = {"erased_at": erased_at, "completed_at": None}
    for subject_id in subject_ids:
        values = {"subject_hash": subject_hash(salt, subject_id), **state}
        connection.execute(_insert(connection, tombstones, ["subject_hash"], values, replace=True))


def complete_tombstones(connection: sa.Connection, hashes: Sequence[str], completed_at: int) -> None:
    """No file holds anything of these any more."""
    for start in range(0, len(hashes), IDS_A_QUERY):
        chunk = hashes[start : start + IDS_A_QUERY]
        change = sa.update(tombstones).where(tombstones.c.subject_hash.in_(chunk))
        connection.execute(change.values(completed_at=completed_at))


# rows of the operational store


def subject_columns(connection: sa.Connection) -> dict[str, list[str]]:
    """Table -> its subject columns, for every table that the operational store has."""
    inspector = sa.inspect(connection)
    found = {
        name: [column["name"] for column in inspector.get_columns(name) if column["name"] in SUBJECT_COLUMNS]
        for name in inspector.get_table_names()
        if name not in TABLES_OF_NOBODY
    }
    return {name: columns for name, columns in sorted(found.items()) if columns}


def delete_subjects(connection: sa.Connection, subject_ids: Sequence[str]) -> dict[str, int]:
    """Delete every row of these ids from every table; table -> rows, where there were any.

    What somebody else did on the same device stays theirs, without the device's id.
    """
    counts: dict[str, int] = {}
    for name, columns in subject_columns(connection).items():
        table = sa.table(name, *(sa.column(column) for column in columns))
        for start in range(0, len(subject_ids), IDS_A_QUERY):
            chunk = list(subject_ids[start : start + IDS_A_QUERY])
            if name == events.name:
                of_others = events.c.user_id.is_not(None) & events.c.user_id.not_in(chunk)
                device = events.c.anonymous_id.in_(chunk) & of_others
                connection.execute(sa.update(events).where(device).values(anonymous_id=None))
            condition = sa.or_(*(table.c[column].in_(chunk) for column in columns))
            counts[name] = (
                counts.get(name, 0) + connection.execute(sa.delete(table).where(condition)).rowcount
            )
    return {name: count for name, count in counts.items() if count}


def subjects_in(connection: sa.Connection, erased: Erased) -> set[str]:
    """The ids in the operational store whose hashes these are."""
    found: set[str] = set()
    for name, columns in subject_columns(connection).items():
        for column in columns:
            one: sa.ColumnClause[str] = sa.column(column)
            ids = connection.execute(sa.select(one).select_from(sa.table(name)).distinct()).scalars()
            found |= erased.among(each for each in ids if each is not None)
    return found


def _salt(connection: sa.Connection, name: str) -> bytes | None:
    found = connection.execute(sa.select(salts.c.salt).where(salts.c.name == name)).scalar()
    return None if found is None else bytes(found)


def _new_salt() -> bytes:
    return secrets.token_bytes(SALT_BYTES)


def _insert(
    connection: sa.Connection,
    table: sa.Table,
    key: list[str],
    values: dict[str, Any],
    replace: bool = False,
) -> sa.Insert:
    """An insert that leaves a row of the same key as it is, or replaces it."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement: Any = dialect.insert(table).values(**values)
    if replace:
        statement = statement.on_conflict_do_update(index_elements=key, set_=values)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=key)
    return cast("sa.Insert", statement)
