"""Our Feast online store on SQLite, and what it shares with the one on Redis (`redis_store`).

- The newest row wins: a row replaces a stored one of an earlier or the same `feature_at`, never of a later
  one. So a late write changes nothing, and a rebuilt day replaces its former self.
- One entity can be deleted, leaving nothing behind.
- Rows can be written from columns of encoded values (`encoding.encode_column`), without an object per value.

The layout is one row per entity and view: all features in one message of type `feast.types.Map` (name ->
value), fifty times fewer rows than Feast's row per value. A row is replaced whole, nulls included.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from feast import Entity, FeatureView, RepoConfig
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Map, Value
from feast.repo_config import FeastConfigBaseModel

from feature_repo.encoding import Column, varint
from feature_repo.errors import OnlineStoreUnavailable

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROWS_A_COMMIT = 10_000
KEYS_A_QUERY = 500

FeastRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
# A stored row: microseconds since 1970 of its `feature_at`, and its values by field.
StoredRow = tuple[int, Mapping[str, Value]]


class EncodedStore(Protocol):
    """What our stores offer beside Feast's interface. Keys are serialized (`encoding.entity_key`).

    Every method raises `OnlineStoreUnavailable` if the store fails.
    """

    def write_columns(
        self,
        config: RepoConfig,
        table: FeatureView,
        keys: Sequence[bytes],
        event_us: Sequence[int],
        columns: Mapping[str, Column],
        overwrite: bool = False,
    ) -> None:
        """Write one row per key; `columns` holds a serialized value per row and field.

        The newest row wins, unless `overwrite`: then these rows replace whatever is stored.
        """

    def read_rows(
        self, config: RepoConfig, table: FeatureView, keys: Sequence[bytes], fields: Sequence[str]
    ) -> list[StoredRow | None]:
        """The row of each key, in order, with at least these fields where they are stored."""

    def delete_entities(
        self, config: RepoConfig, tables: Sequence[FeatureView], keys: Sequence[bytes]
    ) -> int:
        """Forget these entities in these views; how many rows that were."""

    def disconnect(self) -> None:
        """Close the connections; they open again when needed."""

    def keys_between(self, config: RepoConfig, table: FeatureView, start_us: int, end_us: int) -> set[bytes]:
        """Keys of the rows whose `feature_at` is from `start_us` to `end_us`, both included."""


class AttuneSqliteOnlineStoreConfig(FeastConfigBaseModel):
    """Where the file is, and how long a read or a write waits for a lock."""

    type: Literal["feature_repo.online_store.AttuneSqliteOnlineStore"] = (
        "feature_repo.online_store.AttuneSqliteOnlineStore"
    )
    path: str
    read_timeout_ms: int = 50
    write_timeout_ms: int = 30_000


class AttuneSqliteOnlineStore(OnlineStore):
    """One file in WAL mode, one connection to read and one to write; each instance is for one thread."""

    _reader: sqlite3.Connection | None = None
    _writer: sqlite3.Connection | None = None

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[FeastRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Feast's way to write: one protobuf object per value."""
        rows = (
            (serialize_key(config, key), microseconds_of(at), Map(val=values).SerializeToString())
            for key, values, at, _ in data
        )
        self._upsert(config, table, list(rows), overwrite=False)
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Feast's way to read."""
        fields = requested_features or [field.name for field in table.features]
        keys = [serialize_key(config, key) for key in entity_keys]
        return [
            (None, None)
            if row is None
            else (instant_of(row[0]), {name: row[1][name] for name in fields if name in row[1]})
            for row in self.read_rows(config, table, keys, fields)
        ]

    def write_columns(
        self,
        config: RepoConfig,
        table: FeatureView,
        keys: Sequence[bytes],
        event_us: Sequence[int],
        columns: Mapping[str, Column],
        overwrite: bool = False,
    ) -> None:
        """See `EncodedStore`. Rows go in in key order, which keeps the index local."""
        entries = [_map_entries(name, column) for name, column in columns.items()]
        rows = sorted(zip(keys, event_us, map(b"".join, zip(*entries, strict=True)), strict=True))
        self._upsert(config, table, rows, overwrite)

    def read_rows(
        self, config: RepoConfig, table: FeatureView, keys: Sequence[bytes], fields: Sequence[str]
    ) -> list[StoredRow | None]:
        """See `EncodedStore`."""
        found: dict[bytes, StoredRow] = {}
        with self._failing(config):
            connection = self._read_connection(config)
            for chunk in chunks(keys, KEYS_A_QUERY):
                rows = connection.execute(
                    f"select entity_key, event_us, features from {_table(config, table)}"
                    f" where entity_key in ({','.join('?' * len(chunk))})",
                    chunk,
                )
                found.update((key, (at, Map.FromString(features).val)) for key, at, features in rows)
        return [found.get(key) for key in keys]

    def delete_entities(
        self, config: RepoConfig, tables: Sequence[FeatureView], keys: Sequence[bytes]
    ) -> int:
        """See `EncodedStore`: the file and its log keep no byte of them.

        Deleted cells are overwritten (secure_delete) and the log is emptied; raises `OnlineStoreUnavailable`
        if somebody reads for so long that it cannot be, and then the call is to be repeated.
        """
        deleted = 0
        with self._failing(config):
            connection = self._write_connection(config)
            made = {name for (name,) in connection.execute("select name from sqlite_master").fetchall()}
            with connection:
                for table in tables:
                    if compute_table_id(config.project, table) not in made:  # not applied yet
                        continue
                    deleted += connection.executemany(
                        f"delete from {_table(config, table)} where entity_key = ?", [(key,) for key in keys]
                    ).rowcount
            (is_busy, _, _) = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        if is_busy:
            raise OnlineStoreUnavailable(
                config.online_store.path, "a reader holds the log, which may still have deleted rows; repeat"
            )
        return deleted

    def keys_between(self, config: RepoConfig, table: FeatureView, start_us: int, end_us: int) -> set[bytes]:
        """See `EncodedStore`."""
        with self._failing(config):
            rows = self._write_connection(config).execute(
                f"select entity_key from {_table(config, table)} where event_us between ? and ?",
                (start_us, end_us),
            )
            return {key for (key,) in rows}

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create the tables of these views, drop those of the others."""
        with self._failing(config), self._write_connection(config) as connection:
            for table in tables_to_keep:
                name = _table(config, table)
                connection.execute(
                    f"create table if not exists {name} (entity_key blob not null primary key,"
                    " event_us integer not null, features blob not null)"
                )
                index = _quoted(f"{compute_table_id(config.project, table)}_event_us")
                connection.execute(f"create index if not exists {index} on {name} (event_us)")
            for table in tables_to_delete:
                connection.execute(f"drop table if exists {_table(config, table)}")

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove the file."""
        self.disconnect()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{config.online_store.path}{suffix}").unlink(missing_ok=True)

    def disconnect(self) -> None:
        """Close the connections; they open again when needed."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    def _upsert(
        self,
        config: RepoConfig,
        table: FeatureView,
        rows: Sequence[tuple[bytes, int, bytes]],
        overwrite: bool,
    ) -> None:
        condition = "" if overwrite else " where excluded.event_us >= event_us"
        with self._failing(config):
            connection = self._write_connection(config)
            for chunk in chunks(rows, ROWS_A_COMMIT):
                with connection:
                    connection.executemany(
                        f"insert into {_table(config, table)} (entity_key, event_us, features)"
                        " values (?, ?, ?) on conflict (entity_key) do update"
                        f" set event_us = excluded.event_us, features = excluded.features{condition}",
                        chunk,
                    )

    def _read_connection(self, config: RepoConfig) -> sqlite3.Connection:
        if self._reader is None:
            path = Path(config.online_store.path).absolute()
            if not path.exists():
                raise OnlineStoreUnavailable(str(path), "no such file; materialize with `attune run`")
            self._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._reader.execute(f"pragma busy_timeout = {config.online_store.read_timeout_ms}")
            self._reader.execute("pragma query_only = on")
        return self._reader

    def _write_connection(self, config: RepoConfig) -> sqlite3.Connection:
        if self._writer is None:
            path = Path(config.online_store.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = sqlite3.connect(path, check_same_thread=False)
            self._writer.execute(f"pragma busy_timeout = {config.online_store.write_timeout_ms}")
            self._writer.execute("pragma journal_mode = wal")
            self._writer.execute("pragma synchronous = normal")
            self._writer.execute("pragma secure_delete = on")
        return self._writer

    @contextmanager
    def _failing(self, config: RepoConfig) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self.disconnect()
            raise OnlineStoreUnavailable(config.online_store.path, str(error)) from error


def serialize_key(config: RepoConfig, key: EntityKey) -> bytes:
    """Feast's serialized form of a key, in the version that the repository uses."""
    raw: bytes = serialize_entity_key(key, config.entity_key_serialization_version)
    return raw


def microseconds_of(at: datetime) -> int:
    """Microseconds since 1970; an instant without zone is UTC."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)


def instant_of(microseconds: int) -> datetime:
    """The UTC instant this many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


def chunks(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive slices of at most this many rows."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _table(config: RepoConfig, table: FeatureView) -> str:
    return _quoted(compute_table_id(config.project, table))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _map_entries(name: str, column: Column) -> Column:
    """Each value as an entry of a serialized `feast.types.Map`; concatenated entries are a whole message."""
    key = name.encode()
    key = b"\x0a" + varint(len(key)) + key + b"\x12"
    prefixes: dict[int, bytes] = {}
    for size in {len(value) for value in column}:
        tail = key + varint(size)
        prefixes[size] = b"\x0a" + varint(len(tail) + size) + tail
    return [prefixes[len(value)] + value for value in column]
