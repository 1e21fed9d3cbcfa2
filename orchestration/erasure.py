"""Erasing people from every store of an installation, and proving it to whoever asked.

`erase` takes an id: it and every anonymous id that was linked to it get a tombstone, then everything that
`feature_repo.erasure.STORES` names is gone through. `complete_pending` does the same for tombstones that the
service has set; there the ids are not known, only their hashes, so every id that is kept is hashed first.

All of it is idempotent and the tombstone is completed last: a kill anywhere is repaired by the next run. The
caller holds the home's lock.
"""

from __future__ import annotations

import json
import mmap
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from feature_repo.erasure import (
    STORES,
    SUBJECT_COLUMNS,
    Erased,
    Store,
    add_tombstones,
    complete_tombstones,
    delete_subjects,
    erased_in,
    store_exists,
    store_of,
    subject_hash,
    subjects_in,
    subjects_of,
)
from feature_repo.event_log import events, identities, open_engine, salts, tombstones
from feature_repo.layout import Home
from orchestration.errors import PipelineError, one_line
from orchestration.landed import QUARANTINE_SCHEMA, quarantine_path
from orchestration.landing import forgotten
from orchestration.marts import MANIFEST, READER_CONFIG
from orchestration.parquet_files import remove, write_atomically
from orchestration.raw_forms import names_any, texts_of
from orchestration.rewriting import (
    drop_rows,
    landed_files,
    read_json,
    relinked,
    shrink_day,
    steady_days,
    subject_columns_of,
)
from orchestration.settings import Settings

MARK = b"*"
"""Stands for each character of an id within a message."""
SHORTEST_TEXT = 6
SMALL_FILE = 64 * 1024 * 1024
"""A database up to this size is rewritten in any case; a larger one if a byte of the id is still in it."""


@dataclass
class Receipt:
    """Rows removed from each store (`text` and `sqlite` stores: places where the id was overwritten)."""

    subjects: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, store: str, count: int) -> None:
        """Count what was removed from a store; none counts too, for it was looked at."""
        self.removed[store] = self.removed.get(store, 0) + count

    @property
    def total(self) -> int:
        return sum(self.removed.values())

    def lines(self) -> list[str]:
        """For people: every store with what was removed from it."""
        width = max(map(len, self.removed), default=0)
        return [f"{name:<{width}}  {count:,}" for name, count in sorted(self.removed.items())]


def erase(settings: Settings, user_id: str) -> Receipt:
    """Erases a user and the visitors who turned out to be them, from now on and from everything kept."""
    engine = _store(settings, create=True)
    assert engine is not None
    with _writing(engine) as connection:
        ids = subjects_of(connection, user_id)
        add_tombstones(connection, ids, _now())
    return _complete(settings, engine, frozenset(ids))


def complete_pending(settings: Settings) -> Receipt | None:
    """Erases whom the service marked since; None if nobody waits."""
    engine = _store(settings, create=False)
    if engine is None:
        return None
    with _writing(engine) as connection:
        if not erased_in(connection, pending=True):
            return None
    return _complete(settings, engine, frozenset())


def _complete(settings: Settings, engine: sa.Engine, known: frozenset[str]) -> Receipt:
    started = time.monotonic()
    home = settings.home
    with _writing(engine) as connection:
        pending = erased_in(connection, pending=True)
        unknown = Erased(pending.salt, pending.hashes - {subject_hash(pending.salt, each) for each in known})
        ids = {*known, *subjects_in(connection, unknown)}
    ids |= _ids_in_files(home, unknown)
    receipt = Receipt(len(ids))
    with steady_days(home):
        _erase_landed(home, ids, receipt)
    for store in STORES:
        _ERASERS.get(store.by, _nothing)(settings, store, ids, receipt)
    _erase_warehouse(home, ids, receipt)
    _erase_marts(home, ids, receipt)
    _erase_online(settings, ids, receipt)
    with _writing(engine) as connection:
        for table, count in delete_subjects(connection, sorted(ids)).items():
            receipt.add(f"operational: {table}", count)
        receipt.add("operational", 0)
    engine.dispose()
    if settings.operational_url.get_backend_name() == "sqlite":
        scrub(home.operational_db, ids)
    with _writing(engine) as connection:
        complete_tombstones(connection, sorted(pending.hashes), _now())
    receipt.seconds = time.monotonic() - started
    return receipt


# the operational store


def _store(settings: Settings, create: bool) -> sa.Engine | None:
    url = settings.operational_url
    if not create and not store_exists(url):
        return None
    engine = open_engine(url, writes=True, poolclass=NullPool)
    if create:
        with _writing(engine) as connection:
            for table in (events, identities, tombstones, salts):
                table.create(connection, checkfirst=True)
    return engine


class _writing:  # noqa: N801 (used like a function)
    """A transaction of the operational store; what it refuses is a PipelineError."""

    def __init__(self, engine: sa.Engine) -> None:
        self._transaction = engine.begin()

    def __enter__(self) -> sa.Connection:
        try:
            return self._transaction.__enter__()
        except SQLAlchemyError as error:
            raise _refused(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self._transaction.__exit__(kind, error, trace)  # type: ignore[arg-type]
        except SQLAlchemyError as failure:
            raise _refused(failure) from failure
        if isinstance(error, SQLAlchemyError):
            raise _refused(error) from error


def _refused(error: SQLAlchemyError) -> PipelineError:
    cause = one_line(getattr(error, "orig", None) or error)
    return PipelineError(f"erasure: the operational store refused ({cause}); run the same command again.")


def _now() -> int:
    return time.time_ns() // 1000


# whom the hashes mean


def _ids_in_files(home: Home, erased: Erased) -> set[str]:
    """Every kept id whose hash this is: in rows, raw forms and the warehouse."""
    found: set[str] = set()
    if not erased:
        return found
    for path in _parquet_files(home):
        for name in subject_columns_of(path):
            column = pq.read_table(path, columns=[name], partitioning=None)[name].cast(pa.string())
            found |= erased.among(each for each in pc.unique(column).to_pylist() if each is not None)
    for path in home.quarantine.rglob("*.parquet"):
        for raw in pq.read_table(path, columns=["raw"], partitioning=None)["raw"].to_pylist():
            found |= erased.among(texts_of(raw))
    if home.warehouse.exists():
        with _warehouse(home.warehouse, read_only=True) as connection:
            for table, columns in _subject_tables(connection):
                for column in columns:
                    rows = connection.execute(
                        f'select distinct "{column}" from {table} where "{column}" is not null'
                    ).fetchall()
                    found |= erased.among(str(value) for (value,) in rows)
    return found


def _parquet_files(home: Home) -> Iterator[Path]:
    """Files with people in rows, and the current marts, whose earlier versions have nobody else."""
    for store in STORES:
        if store.by == "rows":
            yield from (path for path in _files(home, store) if path.suffix == ".parquet")
    yield from sorted((home.current_marts).glob("*/*.parquet"))


def _files(home: Home, store: Store) -> Iterator[Path]:
    """The files of a store, and none that an earlier store of the list names."""
    folder = home.root / store.pattern.partition("*")[0].rpartition("/")[0]
    if not folder.exists():
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and store_of(path.relative_to(home.root)) is store:
            yield path


# landed files


def _erase_landed(home: Home, ids: set[str], receipt: Receipt) -> None:
    """Events and refused rows of each day, together, so that the counts of a day stay true."""
    wanted = pa.array(sorted(ids), pa.string())
    receipt.add("landing/events", 0)
    receipt.add("landing/quarantine", 0)
    for source, day, path in landed_files(home):
        found = pq.ParquetFile(path).read(columns=["user_id", "anonymous_id"])
        users, visitors = (np.asarray(pc.is_in(found[name], wanted)) for name in found.column_names)
        refused, quarantine = _without(quarantine_path(home, source, day), ids)
        if users.any() or visitors.any() or refused:
            rows, is_theirs = forgotten(pq.ParquetFile(path).read(), users, visitors)
            shrink_day(home, source, day, rows.filter(pa.array(~is_theirs)), quarantine)
            receipt.add("landing/events", int(is_theirs.sum()))
            receipt.add("landing/quarantine", refused)
    for path in sorted(home.quarantine.rglob("*.parquet")):  # days without events, and unknown days
        refused, quarantine = _without(path, ids)
        if refused and quarantine is not None:
            receipt.add("landing/quarantine", refused)
            if quarantine.num_rows:
                write_atomically(path, quarantine)
            else:
                remove(path)


def _without(path: Path, ids: set[str]) -> tuple[int, pa.Table | None]:
    """How many refused rows name one of them, and the others; None where there are none to change."""
    if not path.is_file():
        return 0, None
    table = pq.ParquetFile(path).read().cast(QUARANTINE_SCHEMA)
    long_ids = [each for each in ids if len(each) >= SHORTEST_TEXT and not each.isdigit()]
    named = [
        names_any(row["raw"], ids.__contains__)
        or any(each in f"{row['raw']} {row['detail']} {row['event_id']}" for each in long_ids)
        for row in table.to_pylist()
    ]
    return sum(named), table.filter(pa.array([not one for one in named], pa.bool_()))


# other files


def _nothing(settings: Settings, store: Store, ids: set[str], receipt: Receipt) -> None:
    """Nobody is in there, or another function takes care of it."""


def _erase_rows(settings: Settings, store: Store, ids: set[str], receipt: Receipt) -> None:
    """Rows of Parquet files with a subject column."""
    if store.pattern.startswith(("landing/events", "landing/quarantine")):
        return
    wanted = pa.array(sorted(ids), pa.string())
    files = (path for path in _files(settings.home, store) if path.suffix == ".parquet")
    receipt.add(_label(store), sum(drop_rows(path, wanted) for path in files))


def _erase_text(settings: Settings, store: Store, ids: set[str], receipt: Receipt) -> None:
    """The ids where they stand as words, overwritten in place: whoever writes the file may go on.

    In logs any id; elsewhere only ids that can be nothing else, for a number may be any count.
    """
    is_log = store.pattern.startswith("logs/")
    pattern = _words(each for each in ids if is_log or _is_distinct(each))
    count = 0
    for path in _files(settings.home, store) if pattern else ():
        for found in pattern.finditer(path.read_bytes()) if pattern else ():
            with path.open("r+b") as file:
                file.seek(found.start())
                file.write(MARK * len(found.group()))
            count += 1
    receipt.add(_label(store), count)


def _erase_sqlite(settings: Settings, store: Store, ids: set[str], receipt: Receipt) -> None:
    """Databases of tools, which hold figures and messages: an id within a message is overwritten.

    Only ids that can be nothing else: a number may be any count.
    """
    distinct = [each for each in ids if _is_distinct(each)]
    count = 0
    for path in _files(settings.home, store):
        if not path.name.endswith((".db", ".sqlite")) or not any(
            _has_bytes(near, distinct) for near in (path, _wal(path))
        ):
            continue
        with closing(sqlite3.connect(path)) as connection:
            count += _overwrite(connection, distinct)
        scrub(path, ids, always=True)
    receipt.add(_label(store), count)


def _overwrite(connection: sqlite3.Connection, ids: list[str]) -> int:
    count = 0
    connection.execute("pragma secure_delete = on")
    tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, *_rest in connection.execute(f'pragma table_info("{table}")').fetchall():
            for each in ids:
                count += connection.execute(
                    f'update "{table}" set "{column}" = replace("{column}", ?, ?)'
                    f' where typeof("{column}") = \'text\' and instr("{column}", ?) > 0',
                    (each, (MARK * len(each)).decode(), each),
                ).rowcount
    connection.commit()
    return count


_ERASERS: Mapping[str, Callable[[Settings, Store, set[str], Receipt], None]] = {
    "rows": _erase_rows,
    "text": _erase_text,
    "sqlite": _erase_sqlite,
}


# warehouse and marts


def _erase_warehouse(home: Home, ids: set[str], receipt: Receipt) -> None:
    """Deletes the rows, then copies the database into a new file: the old one keeps what was deleted."""
    receipt.add("warehouse", 0)
    if not home.warehouse.exists():
        return
    with _warehouse(home.warehouse) as connection:
        connection.execute("create temp table subjects (id varchar)")
        connection.executemany("insert into subjects values (?)", [(each,) for each in sorted(ids)])
        for table, columns in _subject_tables(connection):
            condition = " or ".join(f'"{column}" in (select id from subjects)' for column in columns)
            row = connection.execute(f"delete from {table} where {condition}").fetchone()
            receipt.add("warehouse", int(row[0]) if row else 0)
    fresh = home.warehouse.with_name(f".{home.warehouse.name}")
    fresh.unlink(missing_ok=True)
    with duckdb.connect(config=READER_CONFIG) as connection:
        name = home.warehouse.stem
        connection.execute(f"attach '{_quoted(home.warehouse)}' as \"{name}\" (read_only)")
        connection.execute(f"attach '{_quoted(fresh)}' as rewritten")
        connection.execute(f'copy from database "{name}" to rewritten')
    fresh.replace(home.warehouse)
    for path in home.warehouse.parent.glob("*.wal"):
        path.unlink()


def _warehouse(path: Path, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(path), read_only=read_only, config=READER_CONFIG)
    except duckdb.IOException as error:
        raise PipelineError(
            f"{path} cannot be opened: {one_line(error)}. Close what has it open, then erase again."
        ) from error


def _subject_tables(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, list[str]]]:
    """Qualified name and subject columns of every table that has some; views hold nothing."""
    names = ", ".join(f"'{name}'" for name in SUBJECT_COLUMNS)
    rows = connection.execute(
        "select schema_name, table_name, list(column_name order by column_name) from duckdb_columns()"
        f" where column_name in ({names}) and not internal"
        " and (schema_name, table_name) in (select (schema_name, table_name) from duckdb_tables()"
        " where not temporary) group by all order by all"
    ).fetchall()
    return [(f'"{schema}"."{table}"', columns) for schema, table, columns in rows]


def _erase_marts(home: Home, ids: set[str], receipt: Receipt) -> None:
    """Every kept version; files that versions share are shared again."""
    receipt.add("marts", 0)
    if not home.mart_versions.exists():
        return
    wanted = pa.array(sorted(ids), pa.string())
    paths = sorted(home.mart_versions.glob("*/*/*.parquet"))
    removed, changed = relinked(paths, lambda path: drop_rows(path, wanted))
    receipt.add("marts", removed)
    for version in sorted({path.parents[1] for path in changed}):
        _count_again(version, [path for path in changed if path.parents[1] == version])


def _count_again(version: Path, changed: list[Path]) -> None:
    """Rows and fingerprints of the changed files in the manifest, so that the next publish links them."""
    path = version / MANIFEST
    if not path.exists():
        return
    manifest = read_json(path)
    with duckdb.connect(config=READER_CONFIG) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for file in changed:
            entry = manifest["files"].get(file.parent.name, {}).get(file.stem)
            if entry is None:
                continue
            found = connection.execute(
                "select count(*), bit_xor(hash(mart)) from read_parquet(?) as mart", [str(file)]
            ).fetchone()
            rows, mark = found or (0, None)
            manifest["rows"][file.parent.name] += rows - entry["rows"]
            entry["rows"] = rows
            entry["fingerprint"] = f"{mark or 0:016x}" if entry["fingerprint"] else ""
    temporary = path.with_name(f".{MANIFEST}")
    temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    temporary.replace(path)


# online features


def _erase_online(settings: Settings, ids: set[str], receipt: Receipt) -> None:
    """The rows of every view that is keyed by user, in SQLite or Redis."""
    receipt.add("features online", 0)
    home = settings.home
    if not home.registry_db.exists() or not ids:
        return
    from feature_repo.store import apply_definitions, delete_user, open_store

    store = open_store(home, settings.redis_url)
    apply_definitions(store)
    for each in sorted(ids):
        receipt.add("features online", delete_user(store, each))
    if not settings.redis_url:
        scrub(home.online_db, ids)


# bytes


def scrub(path: Path, ids: set[str], always: bool = False) -> None:
    """Leaves no byte of deleted rows in a SQLite file or its log.

    `secure_delete` overwrites what is deleted, but not what moved within the file before: so a small file is
    rewritten, and a large one if an id still occurs in it.
    """
    if not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        (is_busy, _, _) = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        if always or path.stat().st_size <= SMALL_FILE or _has_bytes(path, list(ids)):
            connection.execute("vacuum")
            (is_busy, _, _) = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    if is_busy and any(_has_bytes(near, list(ids)) for near in (path, _wal(path))):
        raise PipelineError(f"{path}: a reader keeps deleted rows in its log; run the same command again.")


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _has_bytes(path: Path, ids: Iterable[str]) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(each.encode()) >= 0 for each in ids)


def _is_distinct(subject_id: str) -> bool:
    """Whether an id is unlike anything else that a message may hold."""
    return len(subject_id) >= SHORTEST_TEXT and not subject_id.isdigit()


def _words(ids: Iterable[str]) -> re.Pattern[bytes] | None:
    found = [re.escape(each.encode()) for each in sorted(ids)]
    return re.compile(rb"(?<![A-Za-z0-9])(?:" + b"|".join(found) + rb")(?![A-Za-z0-9])") if found else None


def _label(store: Store) -> str:
    return store.pattern.replace("/**", "")


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
