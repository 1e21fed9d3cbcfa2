"""Recommendations: read what is known, decide, describe, write the receipt. Every face calls these functions.

The decision itself is `serving.decisions.ranking.decide`, a pure function of inputs that the receipt keeps.
Here is what gathers the inputs, and the ladder of what an answer can rest on:

    live     the visitor acted since the batch: what they touched joins the stored list
    batch    a stored list, or for a newcomer of the batch the fold-in of what they touched in it
    segment  no list and no touched item: what their value segment, or their categories, buy
    popular  nothing is known, nothing can be read, or nothing personal is allowed

Answers are dicts of JSON values in the shape of `serving.api.schemas`; they are built by hand because a
recommendation is the hot path.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import orjson

from serving.decision_log import DECIDERS, DecisionLog, new_decision_id
from serving.decisions.candidates import COLLABORATIVE, CONTENT, HYBRID, MOST_TOUCHED, touch_strengths
from serving.decisions.catalogue import CatalogueIndex
from serving.decisions.diversity import DEFAULT_STRENGTH
from serving.decisions.exploration import DEFAULT_EPSILON, TAIL
from serving.decisions.fallback import best_scores, recency_strengths
from serving.decisions.ranking import Outcome, Shown, decide, reason
from serving.decisions.receipt import KIND, effect_of, output_of, recompute
from serving.decisions.rules import Actions, Effect, Situation
from serving.decisions.slots import PERSONALIZED_PICKS, fill_slot
from serving.errors import StoreUnavailable
from serving.features import FeatureReader, Reading, Row
from serving.metrics import Metrics
from serving.people.permissions import NO_SIGNALS, Permissions, Signals
from serving.releases import ReleaseHolder, ServedRelease
from serving.rules import BusinessRules
from serving.values import instant

CANDIDATES, BEHAVIOUR, PREDICTIONS = "user_candidates", "user_behavior", "user_predictions"
CANDIDATE_FIELDS = ("item_ids", "scores", "algorithms", "release_id", "feature_at")
SEEN_FIELDS = (*CANDIDATE_FIELDS, "seen")
RECENT_FIELDS = ("recent_items", "recent_categories", "feature_at")
SEGMENT_FIELDS = ("value_segment",)
NEW_CUSTOMER = "new_customer"
UNKNOWN_CUSTOMER = "unknown_customer"
NOT_ALLOWED = "personalization_not_allowed"
EXPERIMENT = "experiment"
# What an answer for a newcomer may still wait for after the first read found nothing.
SECOND_READ_SECONDS = 0.04
LIVE, BATCH, SEGMENT, POPULAR_RUNG = "live", "batch", "segment", "popular"
RUNGS = (LIVE, BATCH, SEGMENT, POPULAR_RUNG)
# How much of the stored list a decision looks at: what fits, what rules may take away, and the tail.
SPARE = 10
FOLDED_ITEMS = 60
KEPT_FOLD_INS = 2_000
INLINE_FOLD_IN_CELLS = 2_000_000
KEPT_STORED = 50_000
# By how much of the TTL an ordinary event ages a stored result.
AGING = 1 / 12
YIELD_EVERY = 16
# Inputs of a decision for a page, or by other weights: no answer to the plain question.
ONLY_FOR_PAGES = frozenset({"slots", "page", "current", "page_category", "weights"})

ALGORITHM_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "collaborative": {COLLABORATIVE: 1.0},
    "collaborative_filtering": {COLLABORATIVE: 1.0},
    "content": {CONTENT: 1.0},
    "content_based": {CONTENT: 1.0},
    "content_based_enhanced": {CONTENT: 1.0},
    "hybrid": {HYBRID: 1.0},
    "hybrid_neural": {HYBRID: 1.0},
}
WEIGHT_NAMES: Mapping[str, str] = {name: next(iter(weights)) for name, weights in ALGORITHM_WEIGHTS.items()}


@dataclass(slots=True)
class RecommendAsk:
    """What somebody asks to be recommended.

    `slots` asks for a page instead of a list: slot -> how many items. `rules` are the request's own switches
    and filters, which add to the rules in force and never take one away. `reuse` accepts a stored answer.
    `attributes` are those of the context that rules may look at, such as device.
    """

    visitor_id: str | None
    limit: int = 10
    exclude_seen: bool = False
    page: str | None = None
    current_item: str | None = None
    category: str | None = None
    slots: Mapping[str, int] | None = None
    weights: Mapping[str, float] | None = None
    rules: Actions | None = None
    signals: Signals = NO_SIGNALS
    kind: str = KIND
    reuse: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)


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


class Parameters(Protocol):
    """What experiments set for a visitor."""

    @property
    def values(self) -> Mapping[str, Any]: ...

    @property
    def arms(self) -> Mapping[str, str]: ...


class Experiments(Protocol):
    """The running experiments."""

    def parameters(
        self,
        visitor_id: str | None,
        permissions: Permissions,
        attributes: Mapping[str, Any] | None = None,
        scope: str | None = None,
    ) -> Parameters: ...

    def expose(self, visitor_id: str, arms: Mapping[str, str]) -> None: ...


class VisitorEvent(Protocol):
    """What ages stored results."""

    @property
    def user_id(self) -> str | None: ...

    @property
    def anonymous_id(self) -> str | None: ...


@dataclass(frozen=True)
class DecisionOptions:
    """How this process decides.

    `exploration` is the probability that a place of a list is explored, `diversity` the strength of the
    penalty for what is alike, `stored_seconds` how long a stored answer may be given again. `receipts`: every
    decision is written down. `asks_online`: other processes track events too, so that memory alone does not
    hold all live features.
    """

    exploration: float = DEFAULT_EPSILON
    diversity: float = DEFAULT_STRENGTH
    stored_seconds: float = 3600.0
    receipts: bool = True
    asks_online: bool = False


ALLOWED = Permissions()


@dataclass(slots=True)
class _Stored:
    """An answer that may be given again until it expires (monotonic seconds)."""

    answer: dict[str, Any]
    release: str
    expires_at: float


@dataclass(slots=True)
class _Known:
    """What was found out about one visitor."""

    row: Row | None = None
    recent: Row | None = None
    segment: str | None = None
    live: LiveVisitor | None = None
    failure: str | None = None
    refusal: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    arms: Mapping[str, str] = field(default_factory=dict)


class Personalizer:
    """Answers for customers. One instance a process, on its event loop.

    Parts that are None are not there: nothing is written down, no experiment runs, everything is allowed.
    """

    def __init__(
        self,
        reader: FeatureReader,
        releases: ReleaseHolder,
        metrics: Metrics,
        *,
        rules: BusinessRules | None = None,
        log: DecisionLog | None = None,
        live: LiveFeatures | None = None,
        permissions: Callable[[str | None, Signals], Permissions] | None = None,
        experiments: Experiments | None = None,
        disabled_by: Callable[[str], str | None] | None = None,
        owner: Callable[[str], str] | None = None,
        options: DecisionOptions | None = None,
    ) -> None:
        self._reader = reader
        self._releases = releases
        self._metrics = metrics
        self._rules = rules or BusinessRules()
        self._log = log
        self._live = live
        self._permissions = permissions
        self._experiments = experiments
        self._owner = owner
        self._options = options or DecisionOptions()
        self._disabled_by = None if disabled_by is None else disabled_by("recommendations")
        self._is_live = disabled_by is None or disabled_by("live_reranking") is None
        self._stored: OrderedDict[tuple[str, int, bool], _Stored] = OrderedDict()
        self._invalid_since: OrderedDict[str, int] = OrderedDict()
        self._fold_ins: OrderedDict[tuple[str, tuple[str, ...]], list[tuple[str, float]]] = OrderedDict()

    # answers

    async def recommend(self, ask: RecommendAsk) -> dict[str, Any]:
        """Items for one visitor. Always answers: a newcomer or a silent store falls back."""
        release = self._releases.current
        if ask.reuse:
            stored = await self._reusable(ask, release)
            if stored is not None:
                return stored
        known = self._permitted(ask)
        if known.refusal is None and ask.visitor_id is not None:
            visitor_id = ask.visitor_id if self._owner is None else self._owner(ask.visitor_id)
            await self._read_one(visitor_id, ask, known, release)
        fold_in = None if _has_list(known.row) else await self._fold_in(known, release)
        answer = self._decide(ask, known, release, fold_in)
        self._metrics.count_answers("recommendations", [answer["fallback_reason"]])
        answer["release"] = release.release_id
        answer["model_versions"] = release.model_versions
        if ask.reuse:
            self._store(ask, answer, release)
        return answer

    async def recommend_batch(
        self,
        customer_ids: Sequence[str],
        limit: int = 10,
        exclude_seen: bool = False,
        signals: Signals = NO_SIGNALS,
    ) -> dict[str, Any]:
        """The same for many customers, in the order asked, from batched reads."""
        release = self._releases.current
        asks = [RecommendAsk(each, limit, exclude_seen, signals=signals) for each in customer_ids]
        knowns = [self._permitted(ask) for ask in asks]
        owner = self._owner or (lambda visitor_id: visitor_id)
        wanted = [index for index, known in enumerate(knowns) if known.refusal is None]
        ids = [owner(customer_ids[index]) for index in wanted]
        await self._read_many(ids, [knowns[index] for index in wanted], exclude_seen, release)
        results = []
        for number, (ask, known) in enumerate(zip(asks, knowns, strict=True)):
            fold_in = await self._fold_in(known, release)
            results.append(self._decide(ask, known, release, fold_in))
            if number % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)  # others get their turn
        self._metrics.count_answers("recommendations", [each["fallback_reason"] for each in results])
        return {
            "results": results,
            "release": release.release_id,
            "model_versions": release.model_versions,
        }

    def similar(self, item_id: str, count: int) -> list[dict[str, Any]]:
        """What is like an item, best first; empty for one that the catalogue does not have."""
        return self._related("similar_products", item_id, count)

    def complementary(self, item_id: str, count: int) -> list[dict[str, Any]]:
        """What is bought together with an item, best first."""
        return self._related("complementary_products", item_id, count)

    def trending(self, category: str | None, count: int) -> list[dict[str, Any]]:
        """What rises, in one category or in all; filled up by what is popular."""
        release = self._releases.current
        kind = "trending" if category is None else "trending_in_category"
        blocked = self._effect(RecommendAsk(None), release, None).blocked
        found = fill_slot(kind, count, release.index, None, category, (), set(), blocked)
        return [_plain_item(Shown(*each), place, release.index) for place, each in enumerate(found, 1)]

    def describe(self, item_id: str) -> dict[str, Any]:
        """Title, category and price of an item; nulls for one that the catalogue does not have."""
        return {"item_id": item_id, **self._releases.current.describe(item_id)}

    # stored answers

    def invalidate(self, visitor_id: str) -> None:
        """Significant behaviour: stored answers of this visitor are not given again."""
        self._drop_stored(visitor_id)
        self._invalid_since[visitor_id] = time.time_ns() // 1_000
        if len(self._invalid_since) > KEPT_STORED:
            self._invalid_since.popitem(last=False)

    def observe(self, events: Iterable[VisitorEvent]) -> None:
        """A listener of the tracker: every event ages its visitor's stored answers."""
        if not self._stored:
            return
        aged = AGING * self._options.stored_seconds
        visitors = {event.user_id or event.anonymous_id for event in events}
        for key, stored in self._stored.items():
            if key[0] in visitors:
                stored.expires_at -= aged

    def forget(self, is_erased: Callable[[str], bool]) -> None:
        """Drop what memory holds of erased visitors."""
        for key in [key for key in self._stored if is_erased(key[0])]:
            del self._stored[key]
        for visitor_id in [each for each in self._invalid_since if is_erased(each)]:
            del self._invalid_since[visitor_id]

    def _drop_stored(self, visitor_id: str) -> None:
        for key in [key for key in self._stored if key[0] == visitor_id]:
            del self._stored[key]

    async def _reusable(self, ask: RecommendAsk, release: ServedRelease) -> dict[str, Any] | None:
        """The stored answer, if it is young enough, of this release, and still allowed to be shown."""
        visitor_id = ask.visitor_id
        if visitor_id is None or self._permitted(ask).refusal is not None:
            return None
        key = (visitor_id, ask.limit, ask.exclude_seen)
        stored = self._stored.get(key)
        if stored is None:
            return await self._from_receipt(ask, visitor_id, release)
        if stored.release != release.release_id or stored.expires_at <= time.monotonic():
            del self._stored[key]
            return None
        return stored.answer | {"stored": True}

    async def _from_receipt(
        self, ask: RecommendAsk, visitor_id: str, release: ServedRelease
    ) -> dict[str, Any] | None:
        """The last answer that the operational store has, of another process or of before a restart.

        Only of this release, to the same question, and where the visitor did nothing since.
        """
        if self._log is None or not self._options.receipts or self._options.stored_seconds <= 0:
            return None
        now = time.time_ns() // 1_000
        since = max(now - int(self._options.stored_seconds * 1e6), self._invalid_since.get(visitor_id, 0) + 1)
        try:
            row = await self._log.latest_untouched(visitor_id, KIND, since)
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
        known = _Known(arms=inputs.get("arms", {}))
        answer = _answer(ask, known, outcome, release.index, inputs, ages)
        answer["release"] = release.release_id
        answer["model_versions"] = release.model_versions
        self._store(ask, answer, release, elapsed)
        return answer | {"stored": True}

    def _store(
        self, ask: RecommendAsk, answer: dict[str, Any], release: ServedRelease, age: float = 0.0
    ) -> None:
        if ask.visitor_id is None or answer["degraded"] or not answer["personalized"]:
            return
        key = (ask.visitor_id, ask.limit, ask.exclude_seen)
        expires_at = time.monotonic() + self._options.stored_seconds - age
        self._stored[key] = _Stored(answer, release.release_id, expires_at)
        if len(self._stored) > KEPT_STORED:
            self._stored.popitem(last=False)

    # what is known

    def _permitted(self, ask: RecommendAsk) -> _Known:
        """What may be looked at, and what experiments set; nothing is read yet."""
        if self._disabled_by is not None:
            return _Known(refusal=self._disabled_by)
        if self._permissions is None:
            permissions = ALLOWED
        else:
            permissions = self._permissions(ask.visitor_id, ask.signals)
            if not permissions.personalization:
                return _Known(refusal=permissions.reason or NOT_ALLOWED)
        known = _Known()
        if self._experiments is not None:
            found = self._experiments.parameters(
                ask.visitor_id, permissions, ask.attributes, "recommendations"
            )
            if found.arms:
                known.values, known.arms = found.values, found.arms
                if found.values.get("recommendations.algorithm") == "popular":
                    # The control of an experiment on personalization itself: what everybody gets.
                    known.refusal = EXPERIMENT
                if ask.visitor_id is not None:
                    self._experiments.expose(ask.visitor_id, found.arms)
        return known

    async def _read_one(
        self, visitor_id: str, ask: RecommendAsk, known: _Known, release: ServedRelease
    ) -> None:
        if self._live is not None and self._is_live:
            known.live = None if self._options.asks_online else self._live.known(visitor_id)
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
        known.failure, known.row = reading.failure, reading.rows[0]
        if known.failure is None and not _has_list(known.row):
            recent, segments = await self._read_newcomers(ids, release, SECOND_READ_SECONDS)
            known.recent, known.segment = recent.rows[0], _segment(segments.rows[0]) or known.segment
            if known.recent is None:
                known.failure = recent.failure

    async def _read_many(
        self, ids: Sequence[str], knowns: Sequence[_Known], exclude_seen: bool, release: ServedRelease
    ) -> None:
        if not ids:
            return
        if self._live is not None and self._is_live:
            for known, live in zip(knowns, await self._live.read(ids), strict=True):
                known.live = live
        ask = RecommendAsk(None, exclude_seen=exclude_seen)
        needs_seen = any(self._needs_seen(ask, known) for known in knowns)
        fields = SEEN_FIELDS if needs_seen else CANDIDATE_FIELDS
        reading = await self._reader.read(CANDIDATES, ids, fields)
        for known, row in zip(knowns, reading.rows, strict=True):
            known.failure, known.row = reading.failure, row
        if self._rules.needs_segment:
            segments = await self._reader.read(PREDICTIONS, ids, SEGMENT_FIELDS)
            for known, row in zip(knowns, segments.rows, strict=True):
                known.segment = _segment(row)
        late = [
            index for index, known in enumerate(knowns) if known.failure is None and not _has_list(known.row)
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

    def _needs_seen(self, ask: RecommendAsk, known: _Known) -> bool:
        return (
            ask.exclude_seen
            or (ask.rules is not None and (ask.rules.exclude_seen or ask.rules.respect_brand_preferences > 0))
            or self._rules.may_need_seen
            or ask.weights is not None
            or bool(known.values)
        )

    async def _fold_in(self, known: _Known, release: ServedRelease) -> list[tuple[str, float]] | None:
        """The model's items for the history of somebody without a stored list, best score 1."""
        if _has_list(known.row) or (known.live is None and known.recent is None):
            return None
        factors = release.release.factors
        history = [item_id for item_id, _, _ in (known.live.recent if known.live is not None else ())]
        history += (known.recent or {}).get("recent_items") or ()
        items = tuple(dict.fromkeys(item for item in history if item in factors.position))[:FOLDED_ITEMS]
        if not items:
            return None
        key = (release.release_id, items)
        found = self._fold_ins.get(key)
        if found is None:
            if factors.vectors.size > INLINE_FOLD_IN_CELLS:
                found = await asyncio.to_thread(fold_in, items, release)
            else:
                found = fold_in(items, release)
            self._fold_ins[key] = found
            if len(self._fold_ins) > KEPT_FOLD_INS:
                self._fold_ins.popitem(last=False)
        return found

    # decisions

    def _effect(self, ask: RecommendAsk, release: ServedRelease, segment: str | None) -> Effect:
        situation = None
        if self._rules.is_conditional:
            situation = Situation(
                datetime.now(UTC), ask.page, _page_category(ask, release.index), segment, ask.attributes
            )
        return self._rules.effect(release.index, situation, ask.rules)

    def _decide(
        self,
        ask: RecommendAsk,
        known: _Known,
        release: ServedRelease,
        folded: list[tuple[str, float]] | None,
    ) -> dict[str, Any]:
        index = release.index
        effect = self._effect(ask, release, known.segment)
        decision_id = new_decision_id()
        now = time.time()
        inputs, ages = self._inputs(ask, known, release, effect, folded, decision_id, now)
        outcome = decide(inputs, index, effect)
        row = known.row
        if outcome.removed and "stored" in inputs and sum(map(len, outcome.removed.values())) > SPARE:
            assert row is not None
            if len(row["item_ids"]) > len(inputs["stored"]["items"]):
                inputs["stored"] = _stored_list(row, len(row["item_ids"]))
                outcome = decide(inputs, index, effect)
        rung = inputs["rung"]
        if self._log is not None and self._options.receipts:
            output = output_of(outcome, index, rung)
            visitor_id = None if known.refusal is not None else ask.visitor_id
            inputs["rules"] = orjson.Fragment(effect.text)
            self._log.record(ask.kind, visitor_id, inputs, output, release.release_id, decision_id)
        return _answer(ask, known, outcome, index, inputs, ages)

    def _inputs(
        self,
        ask: RecommendAsk,
        known: _Known,
        release: ServedRelease,
        effect: Effect,
        folded: list[tuple[str, float]] | None,
        decision_id: str,
        now: float,
    ) -> tuple[dict[str, Any], dict[str, float]]:
        """The inputs of the decision (see `serving.decisions.receipt`) and the ages of the features."""
        index, options, values = release.index, self._options, known.values
        inputs: dict[str, Any] = {
            "id": decision_id,
            "limit": ask.limit,
            "rung": POPULAR_RUNG,
            "explore": _share(values.get("recommendations.exploration"), options.exploration),
            "diversity": options.diversity,
            "rules_version": self._rules.book.version,
        }
        if ask.slots:
            inputs["slots"] = dict(ask.slots)
        if ask.page is not None:
            inputs["page"] = ask.page
        if ask.current_item is not None:
            inputs["current"] = ask.current_item
        category = _page_category(ask, index)
        if category is not None:
            inputs["page_category"] = category
        ages: dict[str, float] = {}
        if known.arms:
            inputs["arms"] = dict(known.arms)
        if known.refusal is not None:
            return inputs, ages
        row, live = known.row, known.live
        weights = _weights(ask, values)
        if weights is not None:
            inputs["weights"] = weights
        if known.segment is not None:
            inputs["segment"] = known.segment
            inputs["rung"] = SEGMENT
        if row is not None and row["item_ids"]:
            inputs["stored"] = _stored_list(row, max(ask.limit, _picks(ask)) + TAIL + SPARE)
            inputs["rung"] = BATCH
            ages["candidates"] = _age(row["feature_at"], now)
        if known.recent is not None:
            ages["behaviour"] = _age(known.recent.get("feature_at"), now)
            recent_items = known.recent.get("recent_items") or ()
            inputs["categories"] = list(known.recent.get("recent_categories") or ())
            if folded:
                inputs["rung"] = BATCH
            elif recent_items or inputs["categories"]:
                inputs["rung"] = SEGMENT
            touched = touch_strengths(
                [(item, "product_view", 0) for item in recent_items], None, index.position
            )
            if touched:
                inputs["touched"] = touched
        if live is not None and (live.recent or live.categories):
            self._add_live(inputs, live, index)
            ages["live"] = round(max(0.0, now - live.last_event_at / 1e6), 3)
        if folded:
            inputs["fold_in"] = folded
        self._add_seen(inputs, ask, effect, row, index)
        if ages:
            inputs["ages"] = ages
        return inputs, ages

    def _add_live(self, inputs: dict[str, Any], live: LiveVisitor, index: CatalogueIndex) -> None:
        touched = touch_strengths(live.recent, live.last_event_at, index.position)
        if not touched and not live.categories:
            return
        earlier = inputs.get("touched")
        if earlier:
            present = {each[0] for each in touched}
            touched += [each for each in earlier if each[0] not in present][: MOST_TOUCHED - len(touched)]
        inputs["rung"] = LIVE
        inputs["touched"] = touched
        inputs["categories"] = list(live.categories)
        started_at = live.session_started_at or 0
        views: dict[str, int] = {}
        bought: dict[str, None] = {}
        stepped: set[str] = set()
        for item_id, event_type, event_at in live.recent:
            if event_type == "purchase":
                bought[item_id] = None
            if event_at < started_at:
                continue
            if event_type == "product_view":
                views[item_id] = views.get(item_id, 0) + 1
            else:
                stepped.add(item_id)
        inputs["session"] = {
            "categories": list(live.categories),
            "views": [each for each in views.items() if each[0] not in stepped and each[1] > 1],
        }
        if bought:
            inputs["bought_now"] = list(bought)

    def _add_seen(
        self,
        inputs: dict[str, Any],
        ask: RecommendAsk,
        effect: Effect,
        row: Row | None,
        index: CatalogueIndex,
    ) -> None:
        """What was bought, where a rule, the request or other weights ask for it."""
        seen = list((row or {}).get("seen") or ())
        if ask.exclude_seen or effect.exclude_seen:
            inputs["exclude_seen"] = True
            inputs["seen"] = seen or [item for item, _, _ in inputs.get("touched", ())]
        if effect.brand_strength > 0:
            brands = _brand_shares([*seen, *(item for item, _, _ in inputs.get("touched", ()))], index)
            if brands:
                inputs["brands"] = brands
        if "weights" in inputs and "touched" not in inputs and seen:
            # Other weights than the list's own need something to weigh: what was bought last.
            touched = touch_strengths([(item, "product_view", 0) for item in seen], None, index.position)
            if touched:
                inputs["touched"] = touched

    def _related(self, kind: str, item_id: str, count: int) -> list[dict[str, Any]]:
        release = self._releases.current
        index = release.index
        anchor = index.position.get(item_id)
        if anchor is None:
            return []
        blocked = self._effect(RecommendAsk(None), release, None).blocked
        category = index.category[anchor]
        found = fill_slot(kind, count, index, anchor, category, (), {anchor}, blocked)
        return [_plain_item(Shown(*each), place, index) for place, each in enumerate(found, 1)]


def fold_in(items: Sequence[str], release: ServedRelease) -> list[tuple[str, float]]:
    """The model's best items for a history, latest first, each with its score over the best one."""
    factors = release.release.factors
    positions = [factors.position[item] for item in items]
    user = factors.fold_in(positions, recency_strengths(len(items)))
    scores = factors.scores(user[np.newaxis])[0]
    best = best_scores(factors.item_ids, scores, FOLDED_ITEMS)
    top = best[0][1] if best else 1.0
    return [(item_id, round(score / top, 5)) for item_id, score in best]


def decide_again(inputs: Mapping[str, Any], release: ServedRelease) -> dict[str, Any]:
    """The output of a receipt's inputs, computed again."""
    return recompute(inputs, release.index)


DECIDERS[KIND] = decide_again


def _picks(ask: RecommendAsk) -> int:
    return ask.slots.get(PERSONALIZED_PICKS, 0) if ask.slots else 0


def _has_list(row: Row | None) -> bool:
    return row is not None and bool(row["item_ids"])


def _segment(row: Row | None) -> str | None:
    return None if row is None else row.get("value_segment")


def _stored_list(row: Row, count: int) -> dict[str, Any]:
    names: dict[str, int] = {}
    kinds = [names.setdefault(name, len(names)) for name in row["algorithms"][:count]]
    return {
        "items": list(row["item_ids"][:count]),
        "scores": list(row["scores"][:count]),
        "kinds": kinds,
        "algorithms": list(names),
        "release": row["release_id"],
    }


def _weights(ask: RecommendAsk, values: Mapping[str, Any]) -> dict[str, float] | None:
    """The weights of the request, else those of an experiment; None for the defaults."""
    if ask.weights is not None:
        return dict(ask.weights)
    named = ALGORITHM_WEIGHTS.get(str(values.get("recommendations.algorithm")))
    if named is not None:
        return dict(named)
    given = values.get("recommendations.weights")
    if not isinstance(given, Mapping):
        return None
    found = {
        WEIGHT_NAMES[name]: float(value)
        for name, value in given.items()
        if name in WEIGHT_NAMES and isinstance(value, int | float) and value >= 0
    }
    return found if sum(found.values()) > 0 else None


def _share(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else default


def _page_category(ask: RecommendAsk, index: CatalogueIndex) -> str | None:
    if ask.category is not None:
        return ask.category
    position = index.position.get(ask.current_item) if ask.current_item is not None else None
    return None if position is None else index.category[position]


def _brand_shares(items: Iterable[str], index: CatalogueIndex) -> dict[str, float]:
    counts: dict[str, int] = {}
    for item_id in items:
        position = index.position.get(item_id)
        name = None if position is None else index.brand[position]
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    most = max(counts.values(), default=1)
    return {name: round(count / most, 4) for name, count in counts.items()}


def _age(at: Any, now: float) -> float:
    found = instant(at)
    return 0.0 if found is None else round(max(0.0, now - found.timestamp()), 3)


def _answer(
    ask: RecommendAsk,
    known: _Known,
    outcome: Outcome,
    index: CatalogueIndex,
    inputs: Mapping[str, Any],
    ages: dict[str, float],
) -> dict[str, Any]:
    items = [_item(shown, place, index) for place, shown in enumerate(outcome.shown, 1)]
    rung, decision_id, stored = inputs["rung"], inputs["id"], inputs.get("stored")
    fallback = known.refusal or known.failure
    if fallback is None and rung != LIVE and stored is None:
        fallback = NEW_CUSTOMER if "behaviour" in ages else UNKNOWN_CUSTOMER
    answer: dict[str, Any] = {
        "customer_id": ask.visitor_id,
        "recommendation_id": decision_id,
        "decision_id": decision_id,
        "recommendations": items,
        "rung": rung,
        "personalized": rung != POPULAR_RUNG,
        "reason": known.refusal,
        "feature_age_seconds": min(ages.values()) if ages else None,
        "feature_ages": ages,
        "candidates_release": None if stored is None else stored["release"],
        "fallback": fallback is not None,
        "fallback_reason": fallback,
        "degraded": [] if known.failure is None else [known.failure],
        "experiments": dict(known.arms),
        "stored": False,
    }
    if ask.slots:
        slots: dict[str, list[dict[str, Any]]] = {kind: [] for kind in ask.slots}
        for shown, item in zip(outcome.shown, items, strict=True):
            slots[shown.slot or ""].append(item)
        answer["slots"] = slots
    return answer


def _item(shown: Shown, place: int, index: CatalogueIndex) -> dict[str, Any]:
    return {
        "rank": place,
        "position": place,
        **index.descriptions[shown.position],
        "score": shown.score,
        "algorithm": shown.algorithm,
        "reason": reason(shown, index),
        "propensity": shown.propensity,
        "slot": shown.slot,
    }


def _plain_item(shown: Shown, place: int, index: CatalogueIndex) -> dict[str, Any]:
    return _item(shown._replace(score=round(shown.score, 6)), place, index)
