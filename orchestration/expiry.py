"""What is older than it may be kept is removed: landed events, quarantine, landed log rows and decisions.

Of campaigns' messages what they said is removed; that somebody got one stays, for caps and for the effect.

Tables that were computed from it stay as they are until something else rebuilds them. Landing applies the
same policy, so what is removed here does not come back from its source.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from feature_repo.columns import DAY_MICROS
from feature_repo.erasure import store_exists
from feature_repo.event_log import events, open_engine
from feature_repo.layout import Home
from orchestration.completion import read_note, write_note
from orchestration.errors import PipelineError, one_line
from orchestration.landed import QUARANTINE_SCHEMA, landed_days, quarantine_path
from orchestration.parquet_files import read_metadata, write_atomically
from orchestration.retention import Retention
from orchestration.rewriting import landed_files, shrink_day, steady_days
from orchestration.settings import Settings
from orchestration.sources.base import EVENT_LOG
from orchestration.sources.event_log import Mark, decision_table

IDS_A_QUERY = 500
# What became of decisions; the events behind it are landed by themselves.
outcome_table = sa.table("decision_outcomes", *map(sa.column, ("sequence", "at")))
message_table = sa.table("campaign_messages", *map(sa.column, ("planned_at", "content")))
SAID_NOTHING = "{}"


@dataclass(frozen=True)
class Expired:
    """Rows that were removed."""

    events: int = 0
    quarantined: int = 0
    log: int = 0
    decisions: int = 0
    messages: int = 0

    @property
    def total(self) -> int:
        return self.events + self.quarantined + self.log + self.decisions + self.messages


def expire(settings: Settings) -> Expired:
    """Applies the retention of the settings; the caller holds the home's lock. Again, it finds nothing."""
    landed, quarantined = expire_landed(settings.home, settings.retention)
    log, decisions, messages = expire_stored(settings)
    return Expired(landed, quarantined, log, decisions, messages + expire_plans(settings))


def expire_landed(home: Home, retention: Retention) -> tuple[int, int]:
    """Events and refused rows of the days that crossed a limit since the last time; how many of each."""
    last_day = max(landed_days(home), default=None)
    if last_day is None:
        return 0, 0
    note = read_note(home.retention_mark) or {}
    policy = repr(retention)
    before = date.fromisoformat(note["last_day"]) if note.get("policy") == policy else None
    if before == last_day:
        return 0, 0
    removed = refused = 0
    with steady_days(home):
        for source, day, path in landed_files(home):
            if before is not None and _state(retention, day, before) == _state(retention, day, last_day):
                continue
            if _state(retention, day, last_day) == (False, (), True):
                continue
            table = pq.ParquetFile(path).read()
            kept = retention.kept(table, day, last_day)
            quarantine = None
            if not retention.keeps_quarantine(day, last_day):
                stale = quarantine_path(home, source, day)
                if stale.is_file():
                    refused += pq.read_metadata(stale).num_rows
                    quarantine = QUARANTINE_SCHEMA.empty_table()
            if kept.num_rows < table.num_rows or quarantine is not None:
                removed += table.num_rows - kept.num_rows
                shrink_day(home, source, day, kept, quarantine)
    write_note(home.retention_mark, {"last_day": str(last_day), "policy": policy})
    return removed, refused


def _state(retention: Retention, day: date, last_day: date) -> tuple[bool, tuple[str, ...], bool]:
    """What of a day is too old, seen from a last day."""
    rest, others = retention.expired_types((last_day - day).days)
    return rest, tuple(others), retention.keeps_quarantine(day, last_day)


def expire_plans(settings: Settings) -> int:
    """Rows of plans whose content is removed: as old as decisions may be, seen from the newest plan."""
    days, plans = settings.retention.decisions, sorted(settings.home.campaign_runs.glob("*/*.parquet"))
    if days is None or not plans:
        return 0
    newest = max(date.fromisoformat(path.stem) for path in plans)
    count = 0
    for path in plans:
        if (newest - date.fromisoformat(path.stem)).days <= days:
            continue
        table = pq.ParquetFile(path).read()
        said = table.num_rows - table["content"].null_count
        if said:
            for name in ("content", "subject"):
                nothing = pa.nulls(table.num_rows, pa.string())
                table = table.set_column(table.schema.get_field_index(name), name, nothing)
            write_atomically(path, table, read_metadata(path))
            count += said
    return count


def expire_stored(settings: Settings) -> tuple[int, int, int]:
    """Rows of the event log and decisions that are landed and older than they are kept there; and messages
    whose content was."""
    home, retention = settings.home, settings.retention
    url = settings.operational_url
    mark = Mark.read(home)
    if not store_exists(url):
        return 0, 0, 0
    engine = open_engine(url, writes=True, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            names = set(sa.inspect(connection).get_table_names())
            log = decisions = messages = 0
            if events.name in names and retention.log is not None:
                log = _purge(
                    connection,
                    events,
                    events.c.sequence,
                    events.c.received_at,
                    mark.events,
                    retention.log,
                    sa.not_(events.c.event_id.in_(_refused_ids(home))),
                )
            if decision_table.name in names and retention.decisions is not None:
                table = decision_table.c
                decisions = _purge(
                    connection, decision_table, table.sequence, table.at, mark.decisions, retention.decisions
                )
            if outcome_table.name in names and retention.decisions is not None:
                table = outcome_table.c
                decisions += _purge(
                    connection, outcome_table, table.sequence, table.at, sys.maxsize, retention.decisions
                )
            if message_table.name in names and retention.decisions is not None:
                messages = _silence(connection, retention.decisions)
            return log, decisions, messages
    except SQLAlchemyError as error:
        cause = one_line(getattr(error, "orig", None) or error)
        raise PipelineError(f"retention: the operational store refused ({cause}); run again.") from error
    finally:
        engine.dispose()


def _purge(
    connection: sa.Connection,
    table: sa.TableClause,
    sequence: sa.ColumnElement[int],
    written_at: sa.ColumnElement[int],
    until: int,
    days: int,
    *conditions: sa.ColumnElement[bool],
) -> int:
    newest = connection.execute(sa.select(written_at).order_by(sequence.desc()).limit(1)).scalar()
    if newest is None or until == 0:
        return 0
    too_old = written_at < newest - days * DAY_MICROS
    return int(connection.execute(sa.delete(table).where(sequence <= until, too_old, *conditions)).rowcount)


def _silence(connection: sa.Connection, days: int) -> int:
    """Empties old messages; none of them is sent any more."""
    table = message_table.c
    newest = connection.execute(sa.select(sa.func.max(table.planned_at))).scalar() or 0
    is_old = (table.planned_at < newest - days * DAY_MICROS) & (table.content != SAID_NOTHING)
    return int(
        connection.execute(sa.update(message_table).where(is_old).values(content=SAID_NOTHING)).rowcount
    )


def _refused_ids(home: Home) -> list[str]:
    """Events of the log that landing refused: they exist nowhere else as they were, so the log keeps them."""
    files = [str(path) for path in home.quarantine.glob(f"event_date=*/{EVENT_LOG}.parquet")]
    if not files:
        return []
    found = pa_dataset.dataset(files, schema=QUARANTINE_SCHEMA).to_table(columns=["event_id", "reason"])
    kept = found.filter(pc.not_equal(found["reason"], "duplicate"))
    return [each for each in kept["event_id"].to_pylist() if each is not None][:IDS_A_QUERY]
