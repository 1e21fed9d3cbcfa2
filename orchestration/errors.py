"""What can go wrong in orchestration: each error is one line that names the thing and the remedy.

AttuneError                     exit code 1; the base of everything the command prints without a traceback
├── SettingsError               2  an environment value is wrong
├── HomeLocked                  3  another run works in the same home
├── SourceError                 4  the input cannot be used
│   ├── SourceMissing           4  no such path, or nothing in it
│   ├── SourceUnreadable        4  a file that is not what its name says, or may not be read
│   ├── SourceColumnMissing     4  a column is absent or renamed
│   ├── SourceColumnType        4  a column has another type
│   ├── MappingError            4  a mapping file is wrong; names its line and field
│   └── UnknownSource           2  no adapter of that name
├── LandingError                1  events could not be written (full disk, no permission)
├── WrongRequest                2  a command's argument that cannot be used
├── UnknownRelease              5  no such release is kept, or it is broken
├── PipelineError               1  a stage failed; carries the stage
├── NothingToDo                 5  a command needs what has not been produced yet, such as a release
└── GateRefused                 6  no model passed the gate and there is none to release
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class AttuneError(Exception):
    """Base of all expected failures; ``str(error)`` is one line with the remedy."""

    exit_code: ClassVar[int] = 1


class SourceError(AttuneError):
    """The input cannot be used as it is."""

    exit_code: ClassVar[int] = 4


class SourceMissing(SourceError):
    """A source path that does not exist or holds none of the expected files."""

    def __init__(self, path: Path, expected: str) -> None:
        self.path = path
        super().__init__(f"{path}: not found; expected {expected}. Check --path.")


class SourceUnreadable(SourceError):
    """A file that exists but cannot be read as what it should be."""

    def __init__(self, path: Path, cause: str) -> None:
        self.path = path
        super().__init__(f"{path}: cannot be read ({one_line(cause)}). Restore or re-export the file.")


class SourceColumnMissing(SourceError):
    """A column that the source needs is absent."""

    def __init__(self, path: Path, column: str, existing: list[str]) -> None:
        self.path = path
        self.column = column
        super().__init__(
            f"{path}: column {column!r} is missing; the file has {', '.join(existing) or 'no columns'}. "
            "Rename it or use --source tabular with a mapping."
        )


class SourceColumnType(SourceError):
    """A column has a type that cannot hold what it should."""

    def __init__(self, path: Path, column: str, expected: str, found: str) -> None:
        self.path = path
        self.column = column
        super().__init__(
            f"{path}: column {column!r} should be {expected} but is {found}. "
            "Convert it or re-export the file."
        )


class MappingError(SourceError):
    """A mapping file is wrong; names file, line and field."""

    def __init__(self, path: Path, line: int | None, field: str, problem: str) -> None:
        self.path = path
        self.line = line
        self.field = field
        where = f"{path}:{line}" if line else f"{path}"
        super().__init__(f"{where}: {field}: {problem}")


class UnknownSource(SourceError):
    """No adapter has this name."""

    exit_code: ClassVar[int] = 2

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"unknown source {name!r}; --source takes {', '.join(known)}.")


class LandingError(AttuneError):
    """Events could not be written; what was landed before is untouched."""

    exit_code: ClassVar[int] = 1


class HomeLocked(AttuneError):
    """Another run holds the home's lock."""

    exit_code: ClassVar[int] = 3


class SettingsError(AttuneError):
    """An environment value is wrong; names it and the allowed values."""

    exit_code: ClassVar[int] = 2


class WrongRequest(AttuneError):
    """An argument of a command cannot be used; names it and what can."""

    exit_code: ClassVar[int] = 2


class UnknownRelease(AttuneError):
    """A release that is not kept, or cannot be read."""

    exit_code: ClassVar[int] = 5


class PipelineError(AttuneError):
    """A stage of the run failed."""

    exit_code: ClassVar[int] = 1


class NothingToDo(AttuneError):
    """A command needs something that no run has produced yet."""

    exit_code: ClassVar[int] = 5


class GateRefused(AttuneError):
    """No candidate passed the gate and there is no champion, so nothing can be released."""

    exit_code: ClassVar[int] = 6


def one_line(text: object) -> str:
    """The first line of a message, for errors that are printed as one line."""
    return str(text).strip().split("\n", 1)[0]
