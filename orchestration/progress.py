"""What a person sees of a long command: bars on a terminal, one line per finished stage elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class View(Protocol):
    """Where a command reports its stages; every stage that begins ends, or fails."""

    def begin(self, stage: str) -> None: ...

    def advance(self, stage: str, done: int, total: int | None, note: str = "") -> None: ...

    def end(self, stage: str, note: str = "") -> None: ...

    def fail(self, stage: str, note: str = "") -> None: ...

    def say(self, text: str) -> None: ...


class PlainView:
    """One line when a stage has ended, with its seconds: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started: dict[str, float] = {}

    def begin(self, stage: str) -> None:
        self._started[stage] = monotonic()

    def advance(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        """Not shown: a log wants results."""

    def end(self, stage: str, note: str = "") -> None:
        self._line("done", stage, note)

    def fail(self, stage: str, note: str = "") -> None:
        self._line("FAILED", stage, note)

    def say(self, text: str) -> None:
        self._console.print(escape(text))

    def _line(self, word: str, stage: str, note: str) -> None:
        seconds = monotonic() - self._started.get(stage, monotonic())
        self._console.print(escape(f"  {word:<6} {stage:<34} {seconds:6.1f} s  {note}".rstrip()))


class TerminalView:
    """A spinner or bar for each stage, kept on screen with its time when it has ended."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}[/dim]"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, stage: str) -> None:
        self._tasks[stage] = self._progress.add_task(escape(stage), total=None, note="")

    def advance(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        if stage in self._tasks:
            self._progress.update(self._tasks[stage], completed=done, total=total, note=escape(note))

    def end(self, stage: str, note: str = "") -> None:
        if stage in self._tasks:
            task = self._tasks.pop(stage)
            self._progress.update(task, total=1, completed=1, note=escape(note))
            self._progress.stop_task(task)

    def fail(self, stage: str, note: str = "") -> None:
        if stage in self._tasks:
            task = self._tasks.pop(stage)
            self._progress.update(task, description=f"[red]✗ {escape(stage)}[/red]", note=escape(note))
            self._progress.stop_task(task)

    def say(self, text: str) -> None:
        self._progress.console.print(escape(text))


@contextmanager
def open_view(console: Console | None = None) -> Iterator[View]:
    """The view that fits where the output goes."""
    # Bound to today's stdout: a run redirects what libraries print into its log.
    target = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if not target.is_terminal:
        yield PlainView(target)
        return
    with TerminalView(target) as view:
        yield view
