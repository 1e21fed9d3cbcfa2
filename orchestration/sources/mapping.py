"""The mapping of somebody's files onto the contract: a small YAML file, read with line numbers.

Every problem raises MappingError naming the file, the line, the field and what would be right.
docs/tabular_mapping.md describes the format.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from feature_repo.content import CONTENT_SCHEMA
from feature_repo.events import (
    CUSTOMER_SCHEMA,
    EVENT_SCHEMA,
    ITEM_SCHEMA,
    UnknownEventType,
    canonical_event_type,
)
from feature_repo.marketing import SPEND_SCHEMA
from orchestration.errors import MappingError, SourceMissing, SourceUnreadable, one_line
from orchestration.sources.files import FORMATS

NAMES = ("mapping.yml", "mapping.yaml")
SECTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # section: (the contract's fields, those that must be mapped)
    "events": (tuple(EVENT_SCHEMA.names), ("event_type", "event_at")),
    "items": (tuple(ITEM_SCHEMA.names), ("item_id",)),
    "customers": (tuple(CUSTOMER_SCHEMA.names), ("user_id",)),
    "content": (tuple(CONTENT_SCHEMA.names), ("content_id", "kind")),
    "marketing_spend": (tuple(SPEND_SCHEMA.names), ("day", "channel", "amount")),
}
UNITS = ("s", "ms", "us")


@dataclass(frozen=True)
class ColumnMapping:
    """Where one field's values come from: a column, or one constant for all rows.

    ``format`` (strptime) or ``unit`` (of a number since 1970) say how an instant is written.
    """

    field: str
    line: int
    column: str | None = None
    constant: str | None = None
    format: str | None = None
    unit: str | None = None


@dataclass(frozen=True)
class TableMapping:
    """One kind of file: which files, how they are written, and what their columns mean."""

    files: str
    line: int
    columns: tuple[ColumnMapping, ...]
    format: str | None = None
    time_zone: str = "UTC"
    event_types: Mapping[str, str] | None = None


@dataclass(frozen=True)
class TabularMapping:
    """A whole mapping file; ``folder`` is where relative file names start."""

    path: Path
    events: tuple[TableMapping, ...]
    items: tuple[TableMapping, ...] = ()
    customers: tuple[TableMapping, ...] = ()
    content: tuple[TableMapping, ...] = ()
    marketing_spend: tuple[TableMapping, ...] = ()

    @property
    def folder(self) -> Path:
        return self.path.parent


def read_mapping(path: Path) -> TabularMapping:
    """Reads the mapping file, or the ``mapping.yml`` of a folder; raises SourceMissing or MappingError."""
    file = _find(path)
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise MappingError(file, line, "YAML", error.problem or one_line(error)) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceUnreadable(file, str(error)) from error
    reader = _Reader(file)
    if root is None:
        raise MappingError(file, 1, "events", "the file is empty; see docs/tabular_mapping.md")
    top = reader.entries(root, "mapping", ("version", *SECTIONS))
    version = reader.optional_text(top, "version")
    if version not in (None, "1"):
        raise MappingError(file, reader.line(top["version"]), "version", f"{version!r} is unknown; write 1")
    if "events" not in top:
        raise MappingError(file, reader.line(root), "events", "is missing: the section that maps event files")
    tables = {
        name: tuple(reader.table(node, name) for node in _as_list(top[name]))
        for name in SECTIONS
        if name in top
    }
    return TabularMapping(
        file,
        tables["events"],
        tables.get("items", ()),
        tables.get("customers", ()),
        tables.get("content", ()),
        tables.get("marketing_spend", ()),
    )


@dataclass(frozen=True)
class _Reader:
    """Nodes into mappings; holds the file for its errors."""

    path: Path

    def table(self, node: yaml.Node, section: str) -> TableMapping:
        known = ("files", "format", "time_zone", "columns") + (
            ("event_types",) if section == "events" else ()
        )
        entries = self.entries(node, section, known)
        for name in ("files", "columns"):
            if name not in entries:
                raise MappingError(self.path, self.line(node), f"{section}.{name}", "is missing")
        file_format = self.optional_text(entries, "format")
        if file_format is not None and file_format not in FORMATS:
            self._unknown(entries["format"], f"{section}.format", file_format, FORMATS)
        return TableMapping(
            files=self.text(entries["files"], f"{section}.files"),
            line=self.line(entries["files"]),
            columns=self._columns(entries["columns"], section),
            format=file_format,
            time_zone=self._time_zone(entries, section),
            event_types=self._event_types(entries, section),
        )

    def entries(self, node: yaml.Node, field: str, known: Iterable[str]) -> dict[str, yaml.Node]:
        """The entries of a mapping node; raises for another node, an unknown or a repeated key."""
        if not isinstance(node, yaml.MappingNode):
            raise MappingError(self.path, self.line(node), field, "should be a mapping of names to values")
        names = tuple(known)
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.text(key, field)
            if names and name not in names:
                self._unknown(key, field, name, names)
            if name in found:
                raise MappingError(self.path, self.line(key), f"{field}.{name}", "is given twice")
            found[name] = value
        return found

    def text(self, node: yaml.Node, field: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
            raise MappingError(self.path, self.line(node), field, "should be a single value")
        return str(node.value)

    def optional_text(self, entries: Mapping[str, yaml.Node], name: str) -> str | None:
        return self.text(entries[name], name) if name in entries else None

    def line(self, node: yaml.Node) -> int:
        return int(node.start_mark.line) + 1

    def _columns(self, node: yaml.Node, section: str) -> tuple[ColumnMapping, ...]:
        fields, required = SECTIONS[section]
        entries = self.entries(node, f"{section}.columns", fields)
        for name in required:
            if name not in entries:
                raise MappingError(
                    self.path,
                    self.line(node),
                    f"{section}.columns.{name}",
                    "must be mapped to a column or constant",
                )
        return tuple(self._column(name, value, section) for name, value in entries.items())

    def _column(self, name: str, node: yaml.Node, section: str) -> ColumnMapping:
        field = f"{section}.columns.{name}"
        line = self.line(node)
        if isinstance(node, yaml.ScalarNode):
            return ColumnMapping(name, line, column=self.text(node, field))
        entries = self.entries(node, field, ("column", "constant", "format", "unit"))
        values = {key: self.text(value, f"{field}.{key}") for key, value in entries.items()}
        if ("column" in values) == ("constant" in values):
            raise MappingError(self.path, line, field, "needs either column or constant")
        if "unit" in values and values["unit"] not in UNITS:
            self._unknown(entries["unit"], f"{field}.unit", values["unit"], UNITS)
        return ColumnMapping(name, line, **values)

    def _time_zone(self, entries: Mapping[str, yaml.Node], section: str) -> str:
        name = self.optional_text(entries, "time_zone") or "UTC"
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            problem = f"{name!r} is no time zone; write one like Europe/Berlin"
            raise MappingError(
                self.path, self.line(entries["time_zone"]), f"{section}.time_zone", problem
            ) from error
        return name

    def _event_types(self, entries: Mapping[str, yaml.Node], section: str) -> Mapping[str, str] | None:
        if "event_types" not in entries:
            return None
        field = f"{section}.event_types"
        types = {}
        for value, node in self.entries(entries["event_types"], field, ()).items():
            try:
                types[value] = canonical_event_type(self.text(node, f"{field}.{value}"))
            except UnknownEventType as error:
                raise MappingError(self.path, self.line(node), f"{field}.{value}", str(error)) from error
        return types

    def _unknown(self, node: yaml.Node, field: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise MappingError(
            self.path, self.line(node), field, f"{name!r} is unknown; {hint}known are {', '.join(names)}"
        )


def _find(path: Path) -> Path:
    for file in (path, *(path / name for name in NAMES)):
        if file.is_file():
            return file
    raise SourceMissing(path, "a mapping file, or a folder with mapping.yml (see docs/tabular_mapping.md)")


def _as_list(node: yaml.Node) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]
