"""Our Feast online store on Redis: Feast's own layout, the rules of `online_store`.

Feast's class keeps the older of two rows of the same instant, which would freeze the row of a rebuilt day;
and one short timeout serves reads and bulk writes alike. Both are put right here; an entity can be deleted.
What Redis itself persists (AOF, snapshots) forgets a deleted entity when it is next rewritten.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from feast import FeatureView, RepoConfig
from feast.infra.online_stores.helpers import _mmh3 as field_hash
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from redis import Redis
from redis.exceptions import RedisError

from feature_repo.encoding import Column, key_prefix
from feature_repo.errors import OnlineStoreUnavailable
from feature_repo.online_store import FeastRow, StoredRow, chunks, microseconds_of, serialize_key

ROWS_A_PIPELINE = 2_000
READ_SECONDS = 0.05
WRITE_SECONDS = 30.0

_TypeName = Literal["feature_repo.redis_store.AttuneRedisOnlineStore"]


class AttuneRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """Feast's configuration; timeouts in `connection_string` are those of reads."""

    type: _TypeName = "feature_repo.redis_store.AttuneRedisOnlineStore"  # type: ignore[assignment]


class AttuneRedisOnlineStore(RedisOnlineStore):
    """One hash per entity, with the fields of all its views."""

    _writer: Any | None = None

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[FeastRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Feast's way to write: one protobuf object per value."""
        rows = [
            (
                serialize_key(config, key),
                microseconds_of(at),
                {field: value.SerializeToString() for field, value in values.items()},
            )
            for key, values, at, _ in data
        ]
        self._write(config, table, rows, overwrite=False)
        if progress:
            progress(len(data))

    def write_columns(
        self,
        config: RepoConfig,
        table: FeatureView,
        keys: Sequence[bytes],
        event_us: Sequence[int],
        columns: Mapping[str, Column],
        overwrite: bool = False,
    ) -> None:
        """See `online_store.EncodedStore`."""
        names = list(columns)
        rows = [
            (key, at, dict(zip(names, values, strict=True)))
            for key, at, values in zip(keys, event_us, zip(*columns.values(), strict=True), strict=True)
        ]
        self._write(config, table, rows, overwrite)

    def read_rows(
        self, config: RepoConfig, table: FeatureView, keys: Sequence[bytes], fields: Sequence[str]
    ) -> list[StoredRow | None]:
        """See `online_store.EncodedStore`."""
        wanted = [_at_field(table), *(_value_field(table, name) for name in fields)]
        project = config.project.encode()
        with self._failing(config):
            if len(keys) == 1:
                replies = [self._get_client(config.online_store).hmget(keys[0] + project, wanted)]
            else:
                with self._get_client(config.online_store).pipeline(transaction=False) as pipe:
                    for key in keys:
                        pipe.hmget(key + project, wanted)
                    replies = pipe.execute()
        return [_stored_row(reply, fields) for reply in replies]

    def delete_entities(
        self, config: RepoConfig, tables: Sequence[FeatureView], keys: Sequence[bytes]
    ) -> int:
        """See `online_store.EncodedStore`."""
        project = config.project.encode()
        deleted = 0
        with self._failing(config), self._write_client(config).pipeline(transaction=False) as pipe:
            for table in tables:
                stored = [_at_field(table), *(_value_field(table, field.name) for field in table.features)]
                for key in keys:
                    pipe.hdel(key + project, *stored)
            deleted = sum(removed > 0 for removed in pipe.execute())
        return deleted

    def keys_between(self, config: RepoConfig, table: FeatureView, start_us: int, end_us: int) -> set[bytes]:
        """See `online_store.EncodedStore`. Redis has no index on time: this visits every entity."""
        project = config.project.encode()
        prefix = key_prefix(table.join_keys[0])
        with self._failing(config):
            client = self._write_client(config)
            keys = [
                key
                for key in client.scan_iter(match=prefix + b"*" + project, count=ROWS_A_PIPELINE)
                if _is_whole_key(key, prefix, project)
            ]
            instants = self._stored_instants(client, table, keys)
        return {
            key[: -len(project)]
            for key, at in zip(keys, instants, strict=True)
            if at is not None and start_us <= at <= end_us
        }

    def disconnect(self) -> None:
        """Close the connections; they open again when needed."""
        for client in (self._client, self._writer):
            if client is not None:
                client.close()
        self._client = self._writer = None

    def _write(
        self,
        config: RepoConfig,
        table: FeatureView,
        rows: Sequence[tuple[bytes, int, dict[str, bytes]]],
        overwrite: bool,
    ) -> None:
        project = config.project.encode()
        with self._failing(config):
            client = self._write_client(config)
            for chunk in chunks(rows, ROWS_A_PIPELINE):
                newest = dict(
                    zip(
                        (key for key, _, _ in chunk),
                        self._stored_instants(client, table, [key + project for key, _, _ in chunk]),
                        strict=True,
                    )
                )
                with client.pipeline(transaction=False) as pipe:
                    for key, at, values in chunk:
                        known = newest[key]
                        if overwrite or known is None or at >= known:
                            newest[key] = at
                            pipe.hset(key + project, mapping=_hash_of(table, at, values))
                    pipe.execute()

    def _stored_instants(self, client: Any, table: FeatureView, keys: Sequence[bytes]) -> list[int | None]:
        """Microseconds of the stored row of each whole key."""
        instants: list[int | None] = []
        for chunk in chunks(keys, ROWS_A_PIPELINE):
            with client.pipeline(transaction=False) as pipe:
                for key in chunk:
                    pipe.hget(key, _at_field(table))
                instants += [None if raw is None else _microseconds(raw) for raw in pipe.execute()]
        return instants

    def _write_client(self, config: RepoConfig) -> Any:
        if self._writer is None:
            [node], options = self._parse_connection_string(config.online_store.connection_string)
            self._writer = Redis(**node, **(options | {"socket_timeout": WRITE_SECONDS}))
        return self._writer

    @contextmanager
    def _failing(self, config: RepoConfig) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            where = config.online_store.connection_string.split(",")[0]
            raise OnlineStoreUnavailable(f"redis {where}", str(error)) from error


def connection_string(url: str, password: str | None = None) -> str:
    """Feast's connection string for `redis://[user:password@]host[:port][/db]` (`rediss://` for TLS).

    A `password` given separately stands in for the one in the URL. Raises `ValueError` on another form.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError(f"REDIS_URL={_without_password(url)!r} is not redis://host:port/db (or rediss://…)")
    try:
        port = parts.port or 6379
        database = int(parts.path.strip("/") or 0)
    except ValueError as error:
        raise ValueError(f"REDIS_URL={_without_password(url)!r} has no whole port and database") from error
    secret = password or (unquote(parts.password) if parts.password else None)
    options: dict[str, Any] = {
        "db": database,
        "ssl": True if parts.scheme == "rediss" else None,
        "username": unquote(parts.username) if parts.username else None,
        "password": secret,
        "socket_timeout": READ_SECONDS,
        "socket_connect_timeout": READ_SECONDS,
    }
    given = [f"{name}={_json(value)}" for name, value in options.items() if value is not None]
    return ",".join([f"{parts.hostname}:{port}", *given, "retry=null"])


def _json(value: Any) -> str:
    """JSON without a comma, at which Feast would split."""
    return json.dumps(value).replace(",", "\\u002c")


def _without_password(url: str) -> str:
    return url.rsplit("@", 1)[-1]


def _at_field(table: FeatureView) -> bytes:
    return f"_ts:{table.name}".encode()


def _value_field(table: FeatureView, name: str) -> bytes:
    raw: bytes = field_hash(f"{table.name}:{name}")
    return raw


def _hash_of(table: FeatureView, at: int, values: Mapping[str, bytes]) -> dict[bytes, bytes]:
    instant = Timestamp(seconds=at // 1_000_000, nanos=at % 1_000_000 * 1_000).SerializeToString()
    return {_at_field(table): instant} | {_value_field(table, name): raw for name, raw in values.items()}


def _microseconds(raw: bytes) -> int:
    instant = Timestamp.FromString(raw)
    return int(instant.seconds * 1_000_000 + instant.nanos // 1_000)


def _stored_row(reply: Sequence[bytes | None], fields: Sequence[str]) -> StoredRow | None:
    at, *values = reply
    if at is None:
        return None
    return _microseconds(at), {
        name: Value.FromString(raw) for name, raw in zip(fields, values, strict=True) if raw is not None
    }


def _is_whole_key(key: bytes, prefix: bytes, project: bytes) -> bool:
    """Whether this is the key of one entity of this project, not of one whose project's name ends alike."""
    size = int.from_bytes(key[len(prefix) : len(prefix) + 4], "little")
    return len(key) == len(prefix) + 4 + size + len(project)
