"""What is known of a visitor: live features, the stored list, and for newcomers what they touched.

One batched read answers for whoever has a stored list; only for who has none a second one follows.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from serving.features import FeatureReader, Reading, Row
from serving.recommendations.ask import RecommendAsk
from serving.releases import ServedRelease
from serving.rules import BusinessRules

CANDIDATES, BEHAVIOUR, PREDICTIONS = "user_candidates", "user_behavior", "user_predictions"
CANDIDATE_FIELDS = ("item_ids", "scores", "algorithms", "release_id", "feature_at")
SEEN_FIELDS = (*CANDIDATE_FIELDS, "seen")
RECENT_FIELDS = ("recent_items", "recent_categories", "feature_at")
SEGMENT_FIELDS = ("value_segment",)
# What an answer for a newcomer may still wait for after the first read found nothing.
SECOND_READ_SECONDS = 0.04


class LiveVisitor(Protocol):
    """What is known live of one visitor; `feature_repo.live.LiveUser` has it."""

    @property
    def recent(self) -> Sequence[tuple[str, str, int]]: ...

    @property
    def session_started_at(self) -> int | None: ...

    @property
    def categories(self) -> Sequence[str]: ...

    @property
    def last_event_at(self) -> int: ...


class LiveFeatures(Protocol):
    """Where live features come from; `serving.live.LiveFeatures` is one."""

    def known(self, visitor_id: str) -> LiveVisitor | None: ...

    async def read(self, visitor_ids: Sequence[str]) -> Sequence[LiveVisitor | None]: ...


@dataclass(slots=True)
class Known:
    """What was found out about one visitor.

    `refusal` is why nothing personal may be shown, `failure` why something could not be read. `values` and
    `arms` are those of experiments. `folded` is the model's list for the history of who has no stored one.
    """

    row: Row | None = None
    recent: Row | None = None
    segment: str | None = None
    live: LiveVisitor | None = None
    failure: str | None = None
    refusal: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    arms: Mapping[str, str] = field(default_factory=dict)
    folded: list[tuple[str, float]] | None = None


class Knowledge:
    """Reads what is known. `asks_online`: memory alone does not hold all live features."""

    def __init__(
        self,
        reader: FeatureReader,
        rules: BusinessRules,
        live: LiveFeatures | None,
        owner: Callable[[str], str] | None,
        asks_online: bool,
        withdrawn: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._reader = reader
        self._rules = rules
        self._live = live
        self._owner = owner
        self._asks_online = asks_online
        self._withdrawn = withdrawn

    async def read_one(
        self, visitor_id: str, ask: RecommendAsk, known: Known, release: ServedRelease
    ) -> None:
        """Add what is known of the visitor who asks."""
        if self._owner is not None:
            visitor_id = self._owner(visitor_id)
        if self._live is not None:
            known.live = None if self._asks_online else self._live.known(visitor_id)
            if known.live is None:
                [known.live] = await self._live.read([visitor_id])
        fields = SEEN_FIELDS if self._needs_seen(ask, known) else CANDIDATE_FIELDS
        ids = (visitor_id,)
        if self._rules.needs_segment:
            reading, segments = await asyncio.gather(
                self._reader.read(CANDIDATES, ids, fields),
                self._reader.read(PREDICTIONS, ids, SEGMENT_FIELDS),
            )
            known.segment = _segment(segments.rows[0])
        else:
            reading = await self._reader.read(CANDIDATES, ids, fields)
        known.failure, known.row = reading.failure, standing(reading.rows[0], self._withdrawn())
        if known.failure is None and not has_list(known.row):
            recent, segments = await self._read_newcomers(ids, release, SECOND_READ_SECONDS)
            known.recent, known.segment = recent.rows[0], _segment(segments.rows[0]) or known.segment
            if known.recent is None:
                known.failure = recent.failure

    async def read_many(
        self, visitor_ids: Sequence[str], knowns: Sequence[Known], exclude_seen: bool, release: ServedRelease
    ) -> None:
        """The same for many, from batched reads."""
        if not visitor_ids:
            return
        ids = visitor_ids if self._owner is None else [self._owner(each) for each in visitor_ids]
        if self._live is not None:
            for known, live in zip(knowns, await self._live.read(ids), strict=True):
                known.live = live
        ask = RecommendAsk(None, exclude_seen=exclude_seen)
        needs_seen = any(self._needs_seen(ask, known) for known in knowns)
        fields = SEEN_FIELDS if needs_seen else CANDIDATE_FIELDS
        reading = await self._reader.read(CANDIDATES, ids, fields)
        for known, row in zip(knowns, reading.rows, strict=True):
            known.failure, known.row = reading.failure, standing(row, self._withdrawn())
        if self._rules.needs_segment:
            segments = await self._reader.read(PREDICTIONS, ids, SEGMENT_FIELDS)
            for known, row in zip(knowns, segments.rows, strict=True):
                known.segment = _segment(row)
        late = [
            index for index, known in enumerate(knowns) if known.failure is None and not has_list(known.row)
        ]
        if late:
            recent, segments = await self._read_newcomers([ids[index] for index in late], release, None)
            for index, row, predicted in zip(late, recent.rows, segments.rows, strict=True):
                knowns[index].recent, knowns[index].segment = row, _segment(predicted)
                if row is None:
                    knowns[index].failure = recent.failure

    async def _read_newcomers(
        self, ids: Sequence[str], release: ServedRelease, within: float | None
    ) -> tuple[Reading, Reading]:
        """What somebody without a list touched, and the value segment, where the release has lists for it."""
        behaviour = self._reader.read(BEHAVIOUR, ids, RECENT_FIELDS, within)
        if not release.relations.by_segment:
            return await behaviour, Reading([None] * len(ids))
        both = await asyncio.gather(behaviour, self._reader.read(PREDICTIONS, ids, SEGMENT_FIELDS, within))
        return both[0], both[1]

    def _needs_seen(self, ask: RecommendAsk, known: Known) -> bool:
        return (
            ask.exclude_seen
            or (ask.rules is not None and ask.rules.needs_seen)
            or self._rules.may_need_seen
            or ask.weights is not None
            or bool(known.values)
        )


def standing(row: Row | None, withdrawn: frozenset[str]) -> Row | None:
    """A row of candidates; without its list if that is of a release that somebody went back from."""
    if row is None or row["release_id"] not in withdrawn:
        return row
    return row | {"item_ids": [], "scores": [], "algorithms": []}


def has_list(row: Row | None) -> bool:
    """Whether the batch left a list for the visitor."""
    return row is not None and bool(row["item_ids"])


def _segment(row: Row | None) -> str | None:
    return None if row is None else row.get("value_segment")
