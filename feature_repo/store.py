"""The gateway to Feast: open, apply, retrieve point in time, read online. Materializing is `materialization`.

Ids are str here, always: Feast casts another type in silence and finds nothing, so it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pandas as pd
from feast import FeatureStore, FeatureView, RepoConfig
from feast.infra.online_stores.helpers import get_online_store_from_config

from feature_repo.definitions import SERVICES, VIEWS, objects, service_named, view_named
from feature_repo.encoding import decode_value, entity_keys
from feature_repo.entities import ITEM_ID, USER_ID
from feature_repo.errors import InvalidEntityId, UnknownFeature
from feature_repo.layout import Home
from feature_repo.online_store import EncodedStore, instant_of
from feature_repo.redis_store import connection_string
from feature_repo.sources import FEATURE_AT

PROJECT = "attune"
EVENT_TIMESTAMP = "event_timestamp"

Row = dict[str, Any]


def open_store(home: Home, redis_url: str | None = None, redis_password: str | None = None) -> FeatureStore:
    """The feature store of a home; nothing is read or written yet. The same as `feature_store.yaml`."""
    return FeatureStore(config=repo_config(home, redis_url, redis_password))


def repo_config(home: Home, redis_url: str | None = None, redis_password: str | None = None) -> RepoConfig:
    """Feast's configuration: SQL registry, DuckDB offline, SQLite online unless there is a Redis."""
    home = Home(home.root.absolute())
    online: dict[str, Any] = {
        "type": "feature_repo.online_store.AttuneSqliteOnlineStore",
        "path": str(home.online_db),
    }
    if redis_url:
        online = {
            "type": "feature_repo.redis_store.AttuneRedisOnlineStore",
            "connection_string": connection_string(redis_url, redis_password),
        }
    return RepoConfig(
        project=PROJECT,
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{home.registry_db}", "cache_ttl_seconds": 0},
        offline_store={
            "type": "feature_repo.offline_store.AttuneDuckDBOfflineStore",
            "root": str(home.root),
        },
        online_store=online,
        entity_key_serialization_version=3,
        repo_path=home.root,
    )


def apply_definitions(store: FeatureStore) -> None:
    """Make the registry and the online tables equal to the definitions; what these lack is removed."""
    home_of(store).features.mkdir(parents=True, exist_ok=True)
    obsolete = [
        *_not_in(store.list_feature_services(), {service.name for service in SERVICES}),
        *_not_in(store.list_feature_views(), {view.name for view in VIEWS}),
    ]
    store.apply(objects(), objects_to_delete=obsolete, partial=False)


def home_of(store: FeatureStore) -> Home:
    """The home that a store was opened on."""
    return Home(Path(cast("Any", store.config.offline_store).root))


def retrieve(store: FeatureStore, service_name: str, entity_frame: pd.DataFrame) -> pd.DataFrame:
    """The features of a service as they were known at each row's instant.

    `entity_frame` has the keys of the service (str) and `event_timestamp` (with zone). It comes back row by
    row, with any other columns it had and the features, null where nothing was known. A row known exactly at
    the instant is seen. Definitions must have been applied.

    Raises `InvalidEntityId`, `UnknownFeature`, `MissingSource`, and `ValueError` for an instant without zone.
    """
    service = service_named(service_name)
    for key in (USER_ID, ITEM_ID):
        if key in entity_frame:
            _check_ids(key, entity_frame[key].tolist())
    if not isinstance(entity_frame[EVENT_TIMESTAMP].dtype, pd.DatetimeTZDtype):
        raise ValueError(
            f"{EVENT_TIMESTAMP} is {entity_frame[EVENT_TIMESTAMP].dtype}: make it UTC instants, as by"
            " pd.to_datetime(..., utc=True)"
        )
    if entity_frame.empty:
        names = [name for projection in service.feature_view_projections for name in _names(projection)]
        return entity_frame.reindex(columns=[*entity_frame.columns, *names])
    return store.get_historical_features(entity_df=entity_frame, features=service).to_df()


class OnlineReader:
    """Reads online rows in batches, as Python values. For one thread; connects when first used."""

    def __init__(self, store: FeatureStore) -> None:
        self._config = store.config
        self._store = online_store(store.config)
        self._plans: dict[tuple[str, tuple[str, ...]], FeatureView] = {}

    def read_users(self, view: str, user_ids: Sequence[str], fields: Sequence[str]) -> list[Row | None]:
        """For each user the named fields of a user view, or None if nothing is stored; see `read`."""
        return self.read(view, user_ids, fields)

    def read(self, view: str, ids: Sequence[str], fields: Sequence[str]) -> list[Row | None]:
        """For each id the named fields of a view, or None if nothing is stored.

        Every row also has `feature_at`, from when it is known. A missing value is None, an instant a UTC
        datetime, an array a list. Raises `InvalidEntityId`, `UnknownFeature` and `OnlineStoreUnavailable`.
        """
        plan = self._plans.get((view, tuple(fields))) or self._plan(view, tuple(fields))
        key = plan.join_keys[0]
        _check_ids(key, ids)
        rows = self._store.read_rows(self._config, plan, entity_keys(key, ids), fields)
        return [
            None
            if row is None
            else {
                FEATURE_AT: instant_of(row[0]),
                **{
                    name: decode_value(row[1][name]) if name in row[1] else None
                    for name in fields
                    if name != FEATURE_AT
                },
            }
            for row in rows
        ]

    def close(self) -> None:
        """Close the connection; a later read opens it again."""
        self._store.disconnect()

    def _plan(self, view_name: str, fields: tuple[str, ...]) -> FeatureView:
        view = view_named(view_name)
        known = {field.name for field in view.features}
        for name in fields:
            if name not in known:
                raise UnknownFeature(f"field of {view_name}", name, known)
        self._plans[view_name, fields] = view
        return view


def online_store(config: RepoConfig) -> EncodedStore:
    """A new instance of the configured online store, with connections of its own."""
    return cast("EncodedStore", get_online_store_from_config(config.online_store))


def delete_user(store: FeatureStore, user_id: str) -> int:
    """Forget one user in the online store; how many rows that were. The published files are not touched."""
    _check_ids(USER_ID, [user_id])
    views = [view for view in VIEWS if view.join_keys == [USER_ID]]
    keys = entity_keys(USER_ID, [user_id])
    target = online_store(store.config)
    try:
        return target.delete_entities(store.config, views, keys)
    finally:
        target.disconnect()


def materialized_until(store: FeatureStore) -> dict[str, datetime | None]:
    """For each view the latest instant up to which it was materialized, None if never."""
    return {view.name: store.get_feature_view(view.name).most_recent_end_time for view in VIEWS}


def _check_ids(key: str, ids: Sequence[Any]) -> None:
    for value in ids:
        if type(value) is not str or not value:
            raise InvalidEntityId(key, value)


def _names(projection: Any) -> list[str]:
    return [field.name for field in projection.features]


def _not_in(registered: Sequence[Any], defined: set[str]) -> list[Any]:
    return [each for each in registered if each.name not in defined]
