"""The business rules in force: loaded at the start, followed, replaced by version.

The last version in the operational store counts. `rules.yaml` in the home is read at the start: if it differs
from the last version that came from a file, it becomes a new version. Without either, `DEFAULT_RULES` hold as
version 0. Other processes' versions are noticed within a few seconds.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson
import sqlalchemy as sa

from serving.decisions.catalogue import CatalogueIndex
from serving.decisions.receipt import MOST_COMPILED
from serving.decisions.rules import (
    DEFAULT_RULES,
    MAX_RULES,
    REQUEST,
    Actions,
    Effect,
    HeldRule,
    Rule,
    RuleSet,
    Situation,
    compile_rules,
    holds,
)
from serving.declared import read_list
from serving.errors import StoreUnavailable
from serving.store.rules import append_version, latest_from_file, latest_version, versions

logger = logging.getLogger(__name__)

T = TypeVar("T")
POLL_SECONDS = 2.0
RULES_FILE = "rules.yaml"
DEFAULT_SOURCE = "default"


class Store(Protocol):
    """What the rules need of the operational store."""

    async def read(self, query: Callable[[sa.Connection], T]) -> T: ...

    async def write(self, change: Callable[[sa.Connection], T]) -> T: ...


@dataclass(frozen=True)
class RuleBook:
    """One version of the rules, split by whether they have conditions."""

    version: int
    source: str
    rules: tuple[Rule, ...]

    @property
    def enabled(self) -> tuple[Rule, ...]:
        """The rules that may hold."""
        return tuple(rule for rule in self.rules if rule.enabled)


class BusinessRules:
    """The rules in force. One instance a process, on its event loop."""

    def __init__(self, store: Store | None = None, file: Path | None = None) -> None:
        self._store = store
        self._file = file
        self._watcher: asyncio.Task[None] | None = None
        self._effects: dict[tuple[object, ...], Effect] = {}
        self._effects_of: CatalogueIndex | None = None
        self.use(RuleBook(0, DEFAULT_SOURCE, DEFAULT_RULES.rules))

    def use(self, book: RuleBook) -> None:
        """Put a version into force."""
        self.book = book
        always = tuple(rule for rule in book.enabled if rule.when.model_dump(exclude_defaults=True) == {})
        self._always = always
        self._conditional = tuple(rule for rule in book.enabled if rule not in always)
        self.needs_segment = any(rule.when.segments for rule in self._conditional)
        self.may_need_seen = any(rule.then.needs_seen for rule in book.enabled)
        self._effects.clear()

    async def start(self) -> None:
        """Load what is in force; a store that is away leaves the file's rules, or the default ones."""
        listed = None if self._file is None else read_rules_file(self._file)
        if listed is not None:
            self.use(RuleBook(0, "file", listed.rules))
        if self._store is not None:
            with contextlib.suppress(StoreUnavailable):
                await self._take_file(listed)
                await self.refresh()
            self._watcher = asyncio.create_task(self._watch(), name="rules-watch")

    async def close(self) -> None:
        """Stop following."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher

    async def refresh(self) -> None:
        """Use the last version of the store, if that is another one."""
        if self._store is None:
            return
        found = await self._store.read(latest_version)
        if found is not None and found[0] != self.book.version:
            version, source, body = found
            self.use(RuleBook(version, source, RuleSet.model_validate({"rules": orjson.loads(body)}).rules))
            logger.info("rules changed", extra={"version": version, "rules": len(self.book.rules)})

    async def replace(self, wanted: RuleSet, source: str = "api") -> RuleBook:
        """Put these rules into force as a new version; returns once they are stored."""
        if self._store is None:
            self.use(RuleBook(self.book.version + 1, source, wanted.rules))
            return self.book
        body = _body(wanted)
        at = time.time_ns() // 1_000
        version = await self._store.write(lambda connection: append_version(connection, at, source, body))
        self.use(RuleBook(version, source, wanted.rules))
        return self.book

    async def describe(self) -> dict[str, Any]:
        """The rules in force and the versions before."""
        history = [] if self._store is None else await self._store.read(lambda each: versions(each, 20))
        return {
            "version": self.book.version,
            "source": self.book.source,
            "rules": [rule.model_dump(mode="json", exclude_defaults=True) for rule in self.book.rules],
            "history": [
                {
                    "version": version,
                    "at": datetime.fromtimestamp(at / 1e6, UTC).isoformat(),
                    "source": source,
                }
                for version, at, source in history
            ],
        }

    def effect(
        self, index: CatalogueIndex, situation: Situation | None, asked: Actions | None = None
    ) -> Effect:
        """The joint effect of the rules that hold and of what the request asks for, on one release."""
        held: tuple[Rule, ...] = ()
        if self._conditional and situation is not None:
            held = tuple(rule for rule in self._conditional if holds(rule.when, situation))
        if index is not self._effects_of:
            self._effects, self._effects_of = {}, index
        key = (
            tuple(rule.id for rule in held),
            None if asked is None else asked.model_dump_json(exclude_defaults=True),
        )
        effect = self._effects.get(key)
        if effect is None:
            active: list[Rule | HeldRule] = [*self._always, *held]
            if asked is not None:
                active.append(HeldRule(REQUEST, asked))
            effect = compile_rules(active, index)
            if len(self._effects) >= MOST_COMPILED:
                self._effects.clear()
            self._effects[key] = effect
        return effect

    @property
    def is_conditional(self) -> bool:
        """Whether any rule looks at the situation."""
        return bool(self._conditional)

    async def _take_file(self, listed: RuleSet | None) -> None:
        assert self._store is not None
        if listed is None:
            return
        body, at = _body(listed), time.time_ns() // 1_000

        def append_if_new(connection: sa.Connection) -> None:
            last = latest_from_file(connection)
            if last != body:
                append_version(connection, at, "file", body)

        await self._store.write(append_if_new)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            with contextlib.suppress(StoreUnavailable):
                await self.refresh()


def read_rules_file(path: Path) -> RuleSet | None:
    """The rules of a YAML file: a list of rules, or an object with `rules`. None if there is no file.

    Raises `InvalidDeclarations` with line, field and value.
    """
    if not path.exists():
        return None
    listed = read_list(path, "rules", Rule, MAX_RULES, name="id", may_be_bare=True)
    return RuleSet(rules=tuple(listed))


def _body(wanted: RuleSet) -> str:
    return orjson.dumps(
        [rule.model_dump(mode="json", exclude_defaults=True) for rule in wanted.rules]
    ).decode()
