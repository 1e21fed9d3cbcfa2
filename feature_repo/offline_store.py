"""Our Feast offline store: DuckDB over the published Parquet files.

It differs from Feast's own DuckDB store in four things:

- paths of sources are relative to its `root` (ATTUNE_HOME), so that one set of definitions serves every home;
- a point-in-time join is an ASOF join on keys and instants, then an equality join for the fields, where
  Feast's joins every earlier row before it drops all but the latest: memory grows with the entity rows, not
  with the history;
- rows come back in the order of the entity frame;
- instants are whole seconds, as in every online store (a Feast timestamp is seconds), so both sides agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, RepoConfig
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage
from feast.types import UnixTimestamp

from feature_repo.errors import DuplicateRows, MissingSource


class AttuneDuckDBOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """`root` is ATTUNE_HOME: paths of sources are relative to it."""

    type: Literal["feature_repo.offline_store.AttuneDuckDBOfflineStore"] = (
        "feature_repo.offline_store.AttuneDuckDBOfflineStore"
    )
    root: str


class AttuneDuckDBOfflineStore(DuckDBOfflineStore):
    """Point-in-time frames and latest rows from the published Parquet files."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        """For each entity row the latest feature row at or before its instant, within the view's lifetime."""
        if not isinstance(entity_df, pd.DataFrame):
            raise TypeError(
                f"entity_df is a {type(entity_df).__name__}: pass a DataFrame of keys and instants"
            )
        instant = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        instants, joins, columns = [], [], []
        for index, view in enumerate(feature_views):
            names = [
                name for prefix, name in (ref.split(":") for ref in feature_refs) if prefix == _name(view)
            ]
            pattern = _pattern(config, view)
            instants.append(_instants_sql(f"at{index}", view, instant, pattern))
            joins.append(_join_sql(f"at{index}", f"v{index}", view, names, pattern))
            prefix = f"{_name(view)}__" if full_feature_names else ""
            columns += [f'v{index}."f_{name}" as "{prefix}{name}"' for name in names]
        kept = [f'e."{name}"' for name in entity_df.columns]
        sql = (
            f"with {', '.join(instants)} select {', '.join(kept + columns)} from entities e"
            f" {' '.join(joins)} order by e.__row"
        )
        entities = _numbered(entity_df, instant)
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[str(name) for name in entity_df.columns if name != instant],
            min_event_timestamp=entity_df[instant].min(),
            max_event_timestamp=entity_df[instant].max(),
        )
        return DuckDBRetrievalJob(sql, entities, full_feature_names, metadata)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The latest row of each entity among those from `start_date` to `end_date`, both included."""
        keys = ", ".join(f'"{key}"' for key in join_key_columns)
        sql = (
            _select_window(config, data_source, join_key_columns, feature_name_columns, start_date, end_date)
            + f' qualify row_number() over (partition by {keys} order by "{timestamp_field}" desc) = 1'
        )
        return DuckDBRetrievalJob(sql)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row from `start_date` to `end_date`, both included."""
        return DuckDBRetrievalJob(
            _select_window(config, data_source, join_key_columns, feature_name_columns, start_date, end_date)
        )

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: Any,
    ) -> None:
        raise NotImplementedError("served features are logged as impression events, not by Feast")

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Any
    ) -> None:
        raise NotImplementedError("feature rows are published by the transforms, not written through Feast")


class DuckDBRetrievalJob(RetrievalJob):
    """One query, run when its result is asked for."""

    def __init__(
        self,
        sql: str,
        entities: pa.Table | None = None,
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        super().__init__()
        self._sql = sql
        self._entities = entities
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        result = query(self._sql, entities=self._entities)
        if self._entities is not None and result.num_rows != self._entities.num_rows:
            raise DuplicateRows(f"one of {', '.join(self._views())}")
        return result

    def _views(self) -> list[str]:
        return sorted({ref.split(":")[0] for ref in self._metadata.features}) if self._metadata else []

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Write the result to one Parquet file."""
        if not isinstance(storage, SavedDatasetFileStorage):
            raise TypeError(f"{type(storage).__name__}: only SavedDatasetFileStorage can be written")
        path = Path(storage.file_options.uri)
        if path.exists() and not allow_overwrite:
            raise FileExistsError(f"{path} exists; pass allow_overwrite=True to replace it")
        pq.write_table(self._to_arrow_internal(timeout), path)


def query(sql: str, **tables: pa.Table | None) -> pa.Table:
    """The result of one query, in UTC, over Parquet files and the named Arrow tables."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set enable_progress_bar = false")
        for name, table in tables.items():
            if table is not None:
                # A table, not a view on Arrow: without a row count DuckDB plans an ASOF join as nested loops.
                connection.register("given", table)
                connection.execute(f"create table {name} as select * from given")
                connection.unregister("given")
        return connection.sql(sql).to_arrow_table()


def source_pattern(root: str | Path, source: FileSource) -> str:
    """Absolute pattern of a source's files."""
    return str(Path(root) / source.path)


def has_files(pattern: str) -> bool:
    """Whether any file matches."""
    path = Path(pattern)
    return next(path.parent.glob(path.name), None) is not None


def parquet(pattern: str) -> str:
    """SQL that reads the files of a pattern as one table; files may differ in columns added later."""
    escaped = pattern.replace("'", "''")
    return f"read_parquet('{escaped}', union_by_name = true, hive_partitioning = false)"


def feature_sql(view: FeatureView, name: str) -> str:
    """One field as SQL: instants floored to the second, everything else as stored."""
    dtype = next(field.dtype for field in view.features if field.name == name)
    return f"date_trunc('second', \"{name}\")" if dtype == UnixTimestamp else f'"{name}"'


def file_source(view: FeatureView) -> FileSource:
    """The Parquet files behind a view."""
    assert isinstance(view.batch_source, FileSource), f"{view.name} has no file source"
    return view.batch_source


def _name(view: FeatureView) -> str:
    name: str = view.projection.name_to_use()  # type: ignore[no-untyped-call]
    return name


def _pattern(config: RepoConfig, view: FeatureView) -> str:
    pattern = source_pattern(config.offline_store.root, file_source(view))
    if not has_files(pattern):
        raise MissingSource(view.name, pattern)
    return pattern


def _numbered(entity_df: pd.DataFrame, instant: str) -> pa.Table:
    """Entity rows with their number, and instants of the resolution that the files have.

    Of another resolution DuckDB would cast each side of each comparison, and no longer sees an ASOF join.
    """
    table = pa.Table.from_pandas(entity_df, preserve_index=False)
    at = table.column_names.index(instant)
    table = table.set_column(at, instant, table[instant].cast(pa.timestamp("us", "UTC"), safe=False))
    return table.append_column("__row", pa.array(range(table.num_rows), pa.int64()))


def _instants_sql(name: str, view: FeatureView, instant: str, pattern: str) -> str:
    """A table of each entity row's number, keys, and the `feature_at` of the row that it sees (or null)."""
    keys = _join_keys(view)
    source = file_source(view)
    on = [f'e."{entity}" = f."{key}"' for key, entity in keys.items()]
    on.append(f'e."{instant}" >= f."{source.timestamp_field}"')
    columns = ", ".join([f'"{key}"' for key in keys] + [f'"{source.timestamp_field}"'])
    seen = f'f."{source.timestamp_field}"'
    if view.ttl:
        seconds = int(view.ttl.total_seconds())
        seen = f'case when {seen} + interval {seconds} second >= e."{instant}" then {seen} end'
    return (
        f"{name} as (select e.__row, {seen} as __at from entities e"
        f" asof left join (select {columns} from {parquet(pattern)}) f on {' and '.join(on)})"
    )


def _join_sql(instants: str, alias: str, view: FeatureView, names: Sequence[str], pattern: str) -> str:
    """Join the fields of the row that each entity row sees."""
    keys = _join_keys(view)
    selected = [f'"{key}" as "__{key}"' for key in keys]
    selected += [f'"{file_source(view).timestamp_field}" as __at']
    selected += [f'{feature_sql(view, name)} as "f_{name}"' for name in names]
    on = [f'e."{entity}" = {alias}."__{key}"' for key, entity in keys.items()]
    on.append(f"{instants}.__at = {alias}.__at")
    return (
        f"join {instants} on e.__row = {instants}.__row"
        f" left join (select {', '.join(selected)} from {parquet(pattern)}) {alias} on {' and '.join(on)}"
    )


def _join_keys(view: FeatureView) -> dict[str, str]:
    """Key column of the view -> key column of the entity frame."""
    return view.projection.join_key_map or {column.name: column.name for column in view.entity_columns}


def _select_window(
    config: RepoConfig,
    source: DataSource,
    keys: Sequence[str],
    features: Sequence[str],
    start: datetime | None,
    end: datetime | None,
) -> str:
    assert isinstance(source, FileSource)
    pattern = source_pattern(config.offline_store.root, source)
    if not has_files(pattern):
        raise MissingSource(source.name, pattern)
    at = source.timestamp_field
    columns = ", ".join(f'"{name}"' for name in dict.fromkeys([*keys, *features, at]))
    bounds = [
        f"\"{at}\" {sign} timestamptz '{bound.isoformat()}'"
        for sign, bound in ((">=", start), ("<=", end))
        if bound is not None
    ]
    where = f" where {' and '.join(bounds)}" if bounds else ""
    return f"select {columns} from {parquet(pattern)}{where}"
