"""From published rows to the online store: what changed in a window, the latest row of each entity.

Feast's own path builds one protobuf object per value and is dominated by that; this one encodes whole columns
(`encoding`) and hands them to our store. What is stored is the same: a test compares the bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore, FeatureView

from feature_repo.definitions import VIEWS, view_named
from feature_repo.encoding import encode_column, entity_id, entity_keys, microseconds
from feature_repo.entities import USER_ID
from feature_repo.erasure import NOBODY, Erased
from feature_repo.errors import DuplicateRows, MissingSource
from feature_repo.layout import Home
from feature_repo.offline_store import feature_sql, file_source, has_files, parquet, query, source_pattern
from feature_repo.online_store import EPOCH, EncodedStore, microseconds_of
from feature_repo.sources import FEATURE_AT
from feature_repo.store import online_store

logger = logging.getLogger(__name__)

ROWS_A_BATCH = 20_000


def materialize(
    store: FeatureStore,
    home: Home,
    start: datetime | None,
    end: datetime,
    views: Sequence[str] | None = None,
    erased: Erased = NOBODY,
) -> dict[str, int]:
    """Bring online what is published with a `feature_at` from `start` to `end`, both included.

    The latest row of each entity in the window is written unless a newer one is stored. An entity whose
    stored row lies in the window but is not published any more (its day was replaced) gets its latest row
    from before the window, or is forgotten. So after days were rebuilt, pass the end of the first of them as
    `start`; None is the beginning of time. Definitions must have been applied. Whoever is `erased` is not
    written, and forgotten where stored in the window.

    Returns the rows written for each view: all views that have data, or the named ones. Raises
    `MissingSource` for a named view without data, `DuplicateRows`, and `OnlineStoreUnavailable`.
    """
    target = online_store(store.config)
    counts: dict[str, int] = {}
    try:
        for view in VIEWS if views is None else [view_named(name) for name in views]:
            pattern = source_pattern(home.root, file_source(view))
            if has_files(pattern):
                counts[view.name] = _materialize_view(
                    store, target, view, pattern, start or EPOCH, end, erased
                )
            elif views is not None:
                raise MissingSource(view.name, pattern)
    finally:
        target.disconnect()
    return counts


def _materialize_view(
    store: FeatureStore,
    target: EncodedStore,
    view: FeatureView,
    pattern: str,
    start: datetime,
    end: datetime,
    erased: Erased,
) -> int:
    rows = _latest(view, pattern, f"{FEATURE_AT} between {_instant(start)} and {_instant(end)}")
    rows = _kept(view, rows, erased)
    written = _write(store, target, view, rows)
    stored = target.keys_between(store.config, view, microseconds_of(start), microseconds_of(end))
    count = len(written) + _restore(store, target, view, pattern, start, stored - written, erased)
    store.registry.apply_materialization(store.get_feature_view(view.name), store.project, start, end)
    logger.info("materialized %s: %d rows until %s", view.name, count, end.isoformat())
    return count


def _restore(
    store: FeatureStore,
    target: EncodedStore,
    view: FeatureView,
    pattern: str,
    start: datetime,
    vanished: set[bytes],
    erased: Erased,
) -> int:
    """Give entities that have no published row in the window their latest one from before, or none."""
    if not vanished:
        return 0
    key = view.join_keys[0]
    ids = pa.table({key: [entity_id(each, key) for each in vanished]})
    earlier = _latest(
        view, pattern, f'{FEATURE_AT} < {_instant(start)} and "{key}" in (select "{key}" from ids)', ids=ids
    )
    restored = _write(store, target, view, _kept(view, earlier, erased), overwrite=True)
    target.delete_entities(store.config, [view], list(vanished - restored))
    return len(restored)


def _kept(view: FeatureView, rows: pa.Table, erased: Erased) -> pa.Table:
    """The rows of entities that were not erased; items never are."""
    if not erased or view.join_keys[0] != USER_ID:
        return rows
    return rows.filter(pa.array(~erased.mask(rows[USER_ID].cast(pa.string()))))


def _latest(view: FeatureView, pattern: str, where: str, **tables: pa.Table) -> pa.Table:
    """The latest row of each entity among those that meet the condition; raises `DuplicateRows`."""
    key = view.join_keys[0]
    columns = ", ".join(f'{feature_sql(view, field.name)} as "{field.name}"' for field in view.features)
    rows = query(
        f"with rows as (select * from {parquet(pattern)} where {where}),"
        f' latest as (select "{key}" as __key, max({FEATURE_AT}) as __at from rows group by "{key}")'
        f' select "{key}", {FEATURE_AT} as __at, {columns}'
        f' from rows semi join latest on "{key}" = __key and {FEATURE_AT} = __at',
        **tables,
    )
    if pc.count_distinct(rows[key]).as_py() != rows.num_rows:
        counts = rows.group_by(key).aggregate([([], "count_all")])
        raise DuplicateRows(view.name, counts.filter(pc.field("count_all") > 1)[key][0].as_py())
    return rows


def _write(
    store: FeatureStore, target: EncodedStore, view: FeatureView, rows: pa.Table, overwrite: bool = False
) -> set[bytes]:
    """Write rows in batches; the keys that were offered."""
    offered: set[bytes] = set()
    for batch in _batches(rows):
        keys = entity_keys(view.join_keys[0], batch[view.join_keys[0]].to_pylist())
        columns = {field.name: encode_column(batch[field.name], field.dtype) for field in view.features}
        target.write_columns(store.config, view, keys, microseconds(batch["__at"]), columns, overwrite)
        offered.update(keys)
    return offered


def _batches(rows: pa.Table) -> Iterator[pa.Table]:
    return (rows.slice(start, ROWS_A_BATCH) for start in range(0, rows.num_rows, ROWS_A_BATCH))


def _instant(at: datetime) -> str:
    return f"timestamptz '{(at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()}'"
