"""Dagster's event log on SQLite, made fast enough for a year of daily partitions in one run.

Dagster logs one materialization per asset *and day*, so a first run over a year of days writes about ten
thousand events. The stock SQLite storage opens a database, compiles the statement, commits and checkpoints
twice for each of them: 15 assets over 365 days took 128 s on two cores (23 ms an event). This subclass keeps
the connections open, commits without a sync for each event (the log is history, never the state that a run
resumes from), and writes the batches that Dagster hands over (`DAGSTER_EVENT_BATCH_SIZE`, set by
`orchestration.settings.process_environment`) in one transaction each: the same run takes under 10 s.

`dagster.yaml` names this class; a team replaces it by PostgreSQL there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import ASSET_EVENTS, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster_shared.record import replace
from sqlalchemy import create_engine
from sqlalchemy import event as engine_events
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection, Engine

BUSY_TIMEOUT_SECONDS = 60
# A shard is one run's log: enough for the run at hand, the index, and a few that somebody looks at.
OPEN_SHARDS = 8


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """`SqliteEventLogStorage` with open connections and one transaction a batch. Same files, same schema."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> BatchedSqliteEventLogStorage:
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._open_engine(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _open_engine(self, shard: str) -> Engine:
        """The shard's engine, its schema created on first use; the longest unused one makes room."""
        engine = self._engines.get(shard)
        if engine is None:
            engine = create_engine(
                create_db_conn_string(self._base_dir, shard),
                pool_size=1,
                connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            engine_events.listen(engine, "connect", _relax_sync)
            self._initdb(engine)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        while len(self._engines) > OPEN_SHARDS:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store asset events of one run: a transaction for the run's log, another for the index."""
        if len({entry.run_id for entry in events}) != 1:
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(entry) for entry in events]
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
        mirrored = [
            (entry, row)
            for entry, row in zip(events, rows, strict=True)
            if entry.dagster_event_type in ASSET_EVENTS
        ]
        if mirrored:
            self._store_mirrored([entry for entry, _ in mirrored], [row for _, row in mirrored])
        for entry in events:
            if entry.dagster_event_type == DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                self._store_planned_check(entry)

    def _store_mirrored(self, events: list[EventLogEntry], rows: list[dict[str, Any]]) -> None:
        """Copy asset events to the index that spans runs; the last event of each asset is its state."""
        table = SqlEventLogStorageTable
        statement = table.insert().returning(table.c.id, sort_by_parameter_order=True)
        with self.index_connection() as connection:
            ids = [int(event_id) for (event_id,) in connection.execute(statement, rows)]
            self._store_asset_event_tags(connection, events, ids)
            last = {
                str(row["asset_key"]): (entry, event_id)
                for entry, row, event_id in zip(events, rows, ids, strict=True)
            }
            for asset_key, (entry, event_id) in last.items():
                values = self._get_asset_entry_values(entry, event_id, True)
                _put_asset(connection, asset_key, values)

    def _store_planned_check(self, entry: EventLogEntry) -> None:
        with self.index_connection() as connection:
            result = connection.execute(self.prepare_insert_event(entry))
            event_id = _inserted_id(result)
        self.store_asset_check_event(entry, event_id)

    def _store_asset_check_evaluation_planned(self, event: EventLogEntry, event_id: int | None) -> None:
        """One row a run, which the evaluation then completes: checks judge what a run leaves, not its days.

        The stock storage plans a row for each day of the run, and none of them is ever completed.
        """
        assert event.dagster_event is not None
        planned = event.dagster_event.event_specific_data
        assert isinstance(planned, AssetCheckEvaluationPlanned)
        of_the_run = event.dagster_event._replace(
            event_specific_data=replace(planned, partitions_subset=None)
        )
        super()._store_asset_check_evaluation_planned(event._replace(dagster_event=of_the_run), event_id)

    def dispose(self) -> None:
        super().dispose()
        while self._engines:
            self._engines.popitem()[1].dispose()


def _relax_sync(connection: Any, _record: Any) -> None:
    """In WAL mode `NORMAL` loses at most the last events on a power cut, never the file."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _put_asset(connection: Connection, asset_key: str, values: dict[str, Any]) -> None:
    """Insert or update the asset's state."""
    if values:
        statement = insert(AssetKeyTable).values(asset_key=asset_key, **values)
        connection.execute(
            statement.on_conflict_do_update(index_elements=[AssetKeyTable.c.asset_key], set_=values)
        )


def _inserted_id(result: Any) -> int:
    return int(result.inserted_primary_key[0])
