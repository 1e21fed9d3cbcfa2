"""Export: one JSON document of everything that is held about a person, in every store, streamed.

The operational store is read page by page, online features in one batch, the batch's files by DuckDB; no more
than a page is in memory. One export at a time in a process: it reads files that others want to read as well.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from feature_repo.erasure import STORES, SUBJECT_COLUMNS, TABLES_OF_NOBODY, subjects_of
from feature_repo.layout import Home
from serving.features import FeatureReader
from serving.store import all_tables
from serving.store.database import Database
from serving.values import instant_text, json_value

PAGE_ROWS = 1000
READ_SECONDS = 10.0
DUCKDB_SETTINGS: dict[str, str | int | float | list[str]] = {"threads": 1, "memory_limit": "512MB"}
# What a run landed, published and predicted; the other files hold nobody, or the same rows once more.
EXPORTED = ("landing/", "marts/", "features/", "campaigns/")

Row = dict[str, Any]
Views = Callable[[], Mapping[str, Sequence[str]]]


class Export:
    """Writes documents about people. One instance a process."""

    def __init__(
        self, database: Database, reader: FeatureReader, home: Home, views: Views | None = None
    ) -> None:
        self._database = database
        self._reader = reader
        self._home = home
        self._views = views or user_views
        self._turn = asyncio.Semaphore(1)

    async def document(self, user_id: str) -> AsyncIterator[bytes]:
        """The document in pieces. Raises `StoreUnavailable` before the first piece, or not at all."""
        subjects = await self._database.read(partial(subjects_of, user_id=user_id))
        return self._pieces(user_id, subjects)

    async def _pieces(self, user_id: str, subjects: list[str]) -> AsyncIterator[bytes]:
        async with self._turn:
            head = {
                "user_id": user_id,
                "anonymous_ids": subjects[1:],
                "exported_at": datetime.now(UTC).isoformat(),
            }
            yield orjson.dumps(head)[:-1]
            yield b',"operational":{'
            for number, table in enumerate(subject_tables()):
                yield _named(number, table.name)
                async for piece in _listed(self._rows(table, subjects)):
                    yield piece
            yield b'},"online_features":'
            yield orjson.dumps(await self._online(subjects), default=str)
            yield b',"files":{'
            for number, (name, pattern) in enumerate(await asyncio.to_thread(file_groups, self._home)):
                yield _named(number, name)
                async for piece in _listed(_in_threads(file_rows(pattern, subjects))):
                    yield piece
            yield b"}}"

    async def _rows(self, table: sa.Table, subjects: Sequence[str]) -> AsyncIterator[list[Row]]:
        offset = 0
        while True:
            query = partial(_page, table=table, subjects=subjects, offset=offset)
            rows = await self._database.read(query, READ_SECONDS)
            yield rows
            if len(rows) < PAGE_ROWS:
                return
            offset += PAGE_ROWS

    async def _online(self, subjects: Sequence[str]) -> dict[str, Any]:
        """View -> id -> row, or why a view could not be read."""
        found: dict[str, Any] = {}
        for view, fields in (await asyncio.to_thread(self._views)).items():
            reading = await self._reader.read(view, subjects, fields)
            if reading.failure is not None:
                found[view] = {"unavailable": reading.failure}
                continue
            found[view] = {
                subject: {name: json_value(value) for name, value in row.items()}
                for subject, row in zip(subjects, reading.rows, strict=True)
                if row is not None
            }
        return found


def subject_tables() -> list[sa.Table]:
    """Every table of the operational store that says whose its rows are."""
    return [
        table
        for table in all_tables().sorted_tables
        if table.name not in TABLES_OF_NOBODY and any(name in table.c for name in SUBJECT_COLUMNS)
    ]


def user_views() -> dict[str, list[str]]:
    """The fields of every view that is keyed by the user."""
    from feature_repo.definitions import VIEWS
    from feature_repo.entities import USER_ID

    return {
        view.name: [field.name for field in view.features] for view in VIEWS if view.join_keys == [USER_ID]
    }


def file_groups(home: Home) -> list[tuple[str, list[str]]]:
    """Name and Parquet files of every group of the batch's files that can hold a person."""
    groups: dict[str, list[str]] = {}
    for store in STORES:
        if store.by not in ("rows", "marts") or not store.pattern.startswith(EXPORTED):
            continue
        if store.by == "marts":
            root, prefix = home.current_marts, "marts/current"
        else:
            root, prefix = home.root / store.pattern.removesuffix("/**"), store.pattern.removesuffix("/**")
        if root.is_file():
            groups[prefix] = [str(root)]
            continue
        for path in sorted(root.resolve().rglob("*.parquet")) if root.exists() else ():
            groups.setdefault(_group(prefix, path.relative_to(root.resolve())), []).append(str(path))
    return list(groups.items())


def _group(prefix: str, path: Path) -> str:
    """Folders by day belong together; others are tables of their own."""
    first = path.parts[0]
    return prefix if len(path.parts) == 1 or "=" in first else f"{prefix}/{first}"


def file_rows(paths: Sequence[str], subjects: Sequence[str]) -> Iterator[list[Row]]:
    """Pages of the rows of these people in Parquet files of one table; to be run on a thread."""
    import duckdb

    with duckdb.connect(config=DUCKDB_SETTINGS) as connection:
        source = "read_parquet($paths, union_by_name = true)"
        columns = connection.execute(f"select * from {source} limit 0", {"paths": list(paths)}).description
        condition = _condition([column[0] for column in columns or ()])
        if condition is None:
            return
        query = f"select * from {source} where {condition}"
        rows = connection.execute(query, {"paths": list(paths), "subjects": list(subjects)})
        names = [column[0] for column in rows.description or ()]
        while page := rows.fetchmany(PAGE_ROWS):
            yield [{name: json_value(value) for name, value in zip(names, row, strict=True)} for row in page]


def _condition(columns: Sequence[str]) -> str | None:
    """Which rows are about the subjects; quarantined ones say so in their raw form only."""
    found = [name for name in SUBJECT_COLUMNS if name in columns]
    tests = [f"list_contains($subjects, cast({name} as varchar))" for name in found]
    if not tests and "raw" in columns:
        extracted = [f"json_extract_string(raw, '$.{name}')" for name in SUBJECT_COLUMNS]
        tests = [
            f"(case when json_valid(raw) then list_contains($subjects, {each}) else false end)"
            for each in extracted
        ]
    return " or ".join(tests) or None


def _page(connection: sa.Connection, table: sa.Table, subjects: Sequence[str], offset: int) -> list[Row]:
    conditions = [table.c[name].in_(subjects) for name in SUBJECT_COLUMNS if name in table.c]
    query = sa.select(table).where(sa.or_(*conditions)).order_by(*table.primary_key.columns)
    rows = connection.execute(query.limit(PAGE_ROWS).offset(offset))
    names = [str(column.name) for column in table.columns]
    return [{name: _shown(name, value) for name, value in zip(names, row, strict=True)} for row in rows]


def _shown(name: str, value: Any) -> Any:
    """A stored value as a reader understands it: instants as text, JSON as JSON."""
    if isinstance(value, int) and not isinstance(value, bool) and (name == "at" or name.endswith("_at")):
        return instant_text(value)
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(value)
    return json_value(value)


async def _listed(pages: AsyncIterator[list[Row]]) -> AsyncIterator[bytes]:
    """A JSON list of the rows of all pages."""
    yield b"["
    is_first = True
    async for rows in pages:
        if rows:
            yield (b"" if is_first else b",") + orjson.dumps(rows, default=str)[1:-1]
            is_first = False
    yield b"]"


async def _in_threads(pages: Iterator[list[Row]]) -> AsyncIterator[list[Row]]:
    """The pages of an iterator that reads files, off the event loop."""
    while (page := await asyncio.to_thread(next, pages, None)) is not None:
        yield page


def _named(number: int, name: str) -> bytes:
    return (b"," if number else b"") + orjson.dumps(name) + b":"
