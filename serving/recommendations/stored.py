"""Answers that may be given again: kept in memory, aged by events, found again in receipts."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import orjson

from serving.decision_log import DecisionLog
from serving.decisions.ranking import decide
from serving.decisions.receipt import KIND, effect_of
from serving.errors import StoreUnavailable
from serving.recommendations.answer import answer_of
from serving.recommendations.ask import RecommendAsk
from serving.recommendations.inputs import ONLY_FOR_PAGES, POPULAR_RUNG
from serving.recommendations.knowledge import Known
from serving.releases import ServedRelease
from serving.rules import BusinessRules

KEPT_STORED = 20_000
# By how much of the TTL an ordinary event ages a stored result.
AGING = 1 / 12


class VisitorEvent(Protocol):
    """What ages stored results."""

    @property
    def user_id(self) -> str | None: ...

    @property
    def anonymous_id(self) -> str | None: ...


Question = tuple[int, bool]
"""What was asked: the limit, and whether to leave out what was bought."""


@dataclass(slots=True)
class _Stored:
    """An answer that may be given again until it expires (monotonic seconds); JSON takes the least memory."""

    answer: bytes
    release: str
    rules_version: int
    expires_at: float


class StoredAnswers:
    """The stored answers of this process, by visitor and question; `receipts` reach beyond it.

    `seconds` is how long an answer may be given again. Whether it may still be shown is the caller's to ask.
    """

    def __init__(
        self,
        seconds: float,
        rules: BusinessRules,
        receipts: DecisionLog | None,
        shares_store: bool = False,
    ) -> None:
        """`shares_store`: other workers hear of events too, so that only receipts know what still holds."""
        self._seconds = seconds
        self._shares_store = shares_store
        self._rules = rules
        self._receipts = receipts
        self._stored: OrderedDict[str, dict[Question, _Stored]] = OrderedDict()
        self._invalid_since: OrderedDict[str, int] = OrderedDict()

    async def find(self, visitor_id: str, ask: RecommendAsk, release: ServedRelease) -> dict[str, Any] | None:
        """The stored answer, if it is young enough, of this release and of the rules in force."""
        of_visitor = self._stored.get(visitor_id, {})
        question = (ask.limit, ask.exclude_seen)
        stored = of_visitor.get(question)
        if stored is None:
            return await self._from_receipt(visitor_id, ask, release)
        made_under = (stored.release, stored.rules_version)
        in_force = (release.release_id, self._rules.book.version)
        if made_under != in_force or stored.expires_at <= time.monotonic():
            del of_visitor[question]
            return None
        return cast(dict[str, Any], orjson.loads(stored.answer)) | {"stored": True}

    def keep(
        self, ask: RecommendAsk, answer: dict[str, Any], release: ServedRelease, age: float = 0.0
    ) -> None:
        """Keep a personal answer that nothing was missing from; `age` is in seconds."""
        if self._shares_store or ask.visitor_id is None or answer["degraded"] or not answer["personalized"]:
            return
        expires_at = time.monotonic() + self._seconds - age
        rules_version = self._rules.book.version
        kept = _Stored(orjson.dumps(answer), release.release_id, rules_version, expires_at)
        self._stored.setdefault(ask.visitor_id, {})[ask.limit, ask.exclude_seen] = kept
        if len(self._stored) > KEPT_STORED:
            self._stored.popitem(last=False)

    def invalidate(self, visitor_id: str) -> None:
        """Significant behaviour: stored answers of this visitor are not given again."""
        self._stored.pop(visitor_id, None)
        self._invalid_since[visitor_id] = time.time_ns() // 1_000
        if len(self._invalid_since) > KEPT_STORED:
            self._invalid_since.popitem(last=False)

    def observe(self, events: Iterable[VisitorEvent]) -> None:
        """A listener of the tracker: every event ages its visitor's stored answers."""
        if not self._stored:
            return
        aged = AGING * self._seconds
        for visitor_id in {event.user_id or event.anonymous_id for event in events}:
            for stored in self._stored.get(visitor_id or "", {}).values():
                stored.expires_at -= aged

    def forget(self, is_erased: Callable[[str], bool]) -> None:
        """Drop what memory holds of erased visitors."""
        for visitor_id in [each for each in self._stored if is_erased(each)]:
            del self._stored[visitor_id]
        for visitor_id in [each for each in self._invalid_since if is_erased(each)]:
            del self._invalid_since[visitor_id]

    async def _from_receipt(
        self, visitor_id: str, ask: RecommendAsk, release: ServedRelease
    ) -> dict[str, Any] | None:
        """The last answer that the operational store has, of another process or of before a restart.

        Only of this release, to the same question, and where the visitor did nothing since.
        """
        if self._receipts is None or self._seconds <= 0:
            return None
        now = time.time_ns() // 1_000
        since = max(now - int(self._seconds * 1e6), self._invalid_since.get(visitor_id, 0) + 1)
        try:
            row = await self._receipts.latest_untouched(visitor_id, KIND, since)
        except StoreUnavailable:
            return None
        if row is None or row.release != release.release_id:
            return None
        inputs = orjson.loads(row.inputs)
        asked = (inputs["limit"], inputs.get("exclude_seen", False))
        if asked != (ask.limit, ask.exclude_seen) or not ONLY_FOR_PAGES.isdisjoint(inputs):
            return None
        if inputs["rung"] == POPULAR_RUNG or inputs["rules_version"] != self._rules.book.version:
            return None
        effect = effect_of(orjson.dumps(inputs["rules"]), release.index)
        outcome = decide(inputs, release.index, effect)
        elapsed = (now - row.at) / 1e6
        ages = {name: round(age + elapsed, 3) for name, age in inputs.get("ages", {}).items()}
        known = Known(arms=inputs.get("arms", {}))
        answer = answer_of(ask, known, outcome, release.index, inputs, ages)
        answer["release"] = release.release_id
        answer["model_versions"] = release.model_versions
        self.keep(ask, answer, release, elapsed)
        return answer | {"stored": True}
