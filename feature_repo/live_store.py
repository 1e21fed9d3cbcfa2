"""Live rows into the online store and out of it: the push path of `user_live`.

Feast's own push builds a frame and an object per value; this encodes a row directly and hands batches to our
store, where the newest `feature_at` wins. What is stored is the same: a test reads it through Feast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from feast import FeatureStore
from feast.protos.feast.types.Value_pb2 import Int64List, StringList, Value

from feature_repo.encoding import NULL, entity_keys
from feature_repo.entities import USER_ID
from feature_repo.live import LiveUser
from feature_repo.live_features import user_live
from feature_repo.sources import FEATURE_AT
from feature_repo.store import online_store

LIVE = user_live.name
LIVE_FIELDS: tuple[str, ...] = tuple(field.name for field in user_live.features)
"""What `OnlineReader.read_users` is to be asked for."""

# A visitor, the instant of the log (microseconds) that their row was derived from, and the row.
LiveRow = tuple[str, int, LiveUser]


class LiveWriter:
    """Writes live rows. For one thread; connects when first used."""

    def __init__(self, store: FeatureStore) -> None:
        self._config = store.config
        self._store = online_store(store.config)
        self._is_prepared = False

    def write(self, rows: Sequence[LiveRow]) -> None:
        """Write these rows; a stored one derived from a later instant stays. Raises `OnlineStoreUnavailable`.

        A home that was made by an older version has no table for them, so it is made if it is missing.
        """
        if not self._is_prepared:
            update: Any = self._store
            update.update(self._config, [], [user_live], [], [], partial=True)
            self._is_prepared = True
        keys = entity_keys(USER_ID, [visitor for visitor, _, _ in rows])
        instants = [at for _, at, _ in rows]
        values = [_encoded(at, row) for _, at, row in rows]
        columns = {name: [each[name] for each in values] for name in LIVE_FIELDS}
        self._store.write_columns(self._config, user_live, keys, instants, columns)

    def forget(self, visitor_ids: Sequence[str]) -> None:
        """Delete the rows of these visitors. Raises `OnlineStoreUnavailable`."""
        self._store.delete_entities(self._config, [user_live], entity_keys(USER_ID, visitor_ids))

    def close(self) -> None:
        """Close the connection; a later write opens it again."""
        self._store.disconnect()


def live_user(row: Mapping[str, Any]) -> LiveUser:
    """A row of `LIVE_FIELDS`, as `OnlineReader` reads it."""
    return LiveUser(
        recent=tuple(
            zip(row["recent_items"] or (), row["recent_types"] or (), row["recent_us"] or (), strict=True)
        ),
        session_id=row["session_id"],
        session_started_at=row["session_started_us"],
        session_event_count=row["session_event_count"] or 0,
        counts=dict(zip(row["count_types"] or (), row["count_values"] or (), strict=True)),
        counts_since=row["counts_since_us"] or 0,
        searches=tuple(row["searches"] or ()),
        categories=tuple(row["categories"] or ()),
        last_event_at=row["last_event_us"] or 0,
        engagement_score=row["engagement_score"] or 0.0,
        significance=row["significance"] or 0.0,
        sequence=row["sequence"] or 0,
    )


def _encoded(at: int, row: LiveUser) -> dict[str, bytes]:
    """Each field as a serialized value."""
    return {
        FEATURE_AT: _serialized(Value(unix_timestamp_val=at // 1_000_000)),
        "recent_items": _texts([item for item, _, _ in row.recent]),
        "recent_types": _texts([kind for _, kind, _ in row.recent]),
        "recent_us": _integers([when for _, _, when in row.recent]),
        "session_id": _text(row.session_id),
        "session_started_us": _integer(row.session_started_at),
        "session_event_count": _integer(row.session_event_count),
        "count_types": _texts(list(row.counts)),
        "count_values": _integers(list(row.counts.values())),
        "counts_since_us": _integer(row.counts_since),
        "searches": _texts(row.searches),
        "categories": _texts(row.categories),
        "last_event_us": _integer(row.last_event_at),
        "engagement_score": _serialized(Value(double_val=row.engagement_score)),
        "significance": _serialized(Value(double_val=row.significance)),
        "sequence": _integer(row.sequence),
    }


def _text(value: str | None) -> bytes:
    return NULL if value is None else _serialized(Value(string_val=value))


def _integer(value: int | None) -> bytes:
    return NULL if value is None else _serialized(Value(int64_val=value))


def _texts(values: Sequence[str]) -> bytes:
    return _serialized(Value(string_list_val=StringList(val=values)))


def _integers(values: Sequence[int]) -> bytes:
    return _serialized(Value(int64_list_val=Int64List(val=values)))


def _serialized(value: Value) -> bytes:
    raw: bytes = value.SerializeToString()
    return raw
