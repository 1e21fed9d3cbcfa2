"""Recommendations: read what is known, decide, describe, write the receipt. Every face calls these functions.

The decision itself is `serving.decisions.ranking.decide`, a pure function of inputs that the receipt keeps.
The parts stand in `serving.recommendations`, the ladder of what an answer can rest on in its `inputs`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from feature_repo.events import MESSAGE_LIST
from serving.decision_log import DECIDERS, DecisionLog, new_decision_id
from serving.decisions.diversity import DEFAULT_STRENGTH
from serving.decisions.exploration import DEFAULT_EPSILON
from serving.decisions.ranking import decide
from serving.decisions.receipt import KIND, output_of, recompute
from serving.decisions.rules import Effect, Situation
from serving.features import FeatureReader
from serving.metrics import Metrics
from serving.people.permissions import NO_SIGNALS, Permissions, Signals
from serving.recommendations.answer import answer_of
from serving.recommendations.ask import RecommendAsk, page_category
from serving.recommendations.fold_ins import FoldIns
from serving.recommendations.inputs import POPULAR_RUNG, SPARE, add_known, add_page, stored_list
from serving.recommendations.knowledge import Knowledge, Known, LiveFeatures, has_list
from serving.recommendations.stored import StoredAnswers
from serving.recommendations.terms import Experiments, Terms
from serving.releases import ReleaseHolder, ServedRelease
from serving.rules import BusinessRules

YIELD_EVERY = 16


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


class Personalizer:
    """Answers for customers. One instance a process, on its event loop.

    Parts that are None are not there: nothing is written down, no experiment runs, everything is allowed.
    `stored` are the answers that may be given again; who tracks behaviour and erasure tells it.
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
        self._releases = releases
        self._metrics = metrics
        self._rules = rules or BusinessRules()
        self._options = options or DecisionOptions()
        self._receipts = log if self._options.receipts else None
        disabled = None if disabled_by is None else disabled_by("recommendations")
        is_live = disabled_by is None or disabled_by("live_reranking") is None
        self._terms = Terms(permissions, experiments, disabled)
        self._knowledge = Knowledge(
            reader,
            self._rules,
            live if is_live else None,
            owner,
            self._options.asks_online,
            lambda: releases.withdrawn,
        )
        self._fold_ins = FoldIns()
        self.stored = StoredAnswers(
            self._options.stored_seconds, self._rules, self._receipts, self._options.asks_online
        )

    # answers

    async def recommend(self, ask: RecommendAsk) -> dict[str, Any]:
        """Items for one visitor. Always answers: a newcomer or a silent store falls back."""
        release = self._releases.current
        known = self._terms.begin(ask)
        if ask.reuse and known.refusal is None and ask.visitor_id is not None:
            stored = await self.stored.find(ask.visitor_id, ask, release)
            if stored is not None:
                return stored
        if known.refusal is None and ask.visitor_id is not None:
            await self._knowledge.read_one(ask.visitor_id, ask, known, release)
        if not has_list(known.row):
            known.folded = await self._fold_ins.find(known, release)
        answer = self._decide(ask, known, release)
        self._metrics.count_answers("recommendations", [answer["fallback_reason"]])
        answer["release"] = release.release_id
        answer["model_versions"] = release.model_versions
        if ask.reuse:
            self.stored.keep(ask, answer, release)
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
        knowns = [self._terms.begin(ask) for ask in asks]
        wanted = [index for index, known in enumerate(knowns) if known.refusal is None]
        ids = [customer_ids[index] for index in wanted]
        await self._knowledge.read_many(ids, [knowns[index] for index in wanted], exclude_seen, release)
        results = []
        for number, (ask, known) in enumerate(zip(asks, knowns, strict=True)):
            known.folded = await self._fold_ins.find(known, release)
            results.append(self._decide(ask, known, release))
            if number % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)  # others get their turn
        self._metrics.count_answers("recommendations", [each["fallback_reason"] for each in results])
        return {
            "results": results,
            "release": release.release_id,
            "model_versions": release.model_versions,
        }

    # decisions

    def _effect(self, ask: RecommendAsk, release: ServedRelease, segment: str | None) -> Effect:
        situation = None
        if self._rules.is_conditional:
            situation = Situation(
                datetime.now(UTC), ask.page, page_category(ask, release.index), segment, ask.attributes
            )
        return self._rules.effect(release.index, situation, ask.rules)

    def _decide(self, ask: RecommendAsk, known: Known, release: ServedRelease) -> dict[str, Any]:
        index, options = release.index, self._options
        effect = self._effect(ask, release, known.segment)
        inputs: dict[str, Any] = {
            "id": new_decision_id(),
            "limit": ask.limit,
            "rung": POPULAR_RUNG,
            "explore": _share(known.values.get("recommendations.exploration"), options.exploration),
            "diversity": options.diversity,
            "rules_version": self._rules.book.version,
        }
        add_page(inputs, ask, index)
        ages = add_known(inputs, ask, known, index, effect, time.time())
        outcome = decide(inputs, index, effect)
        row = known.row
        if outcome.removed and "stored" in inputs and sum(map(len, outcome.removed.values())) > SPARE:
            assert row is not None
            if len(row["item_ids"]) > len(inputs["stored"]["items"]):
                inputs["stored"] = stored_list(row, len(row["item_ids"]))
                outcome = decide(inputs, index, effect)
        if self._receipts is not None:
            output = output_of(outcome, index, inputs["rung"])
            visitor_id = None if known.refusal is not None else ask.visitor_id
            inputs["rules"] = orjson.Fragment(effect.text)
            self._receipts.record(ask.kind, visitor_id, inputs, output, release.release_id, inputs["id"])
        return answer_of(ask, known, outcome, index, inputs, ages)


def decide_again(inputs: Mapping[str, Any], release: ServedRelease) -> dict[str, Any]:
    """The output of a receipt's inputs, computed again."""
    return recompute(inputs, release.index)


DECIDERS[KIND] = DECIDERS[MESSAGE_LIST] = decide_again


def _share(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else default
