"""The answers of the service: read, decide, describe. Both faces (native and HTTP) call these functions.

Answers are dicts of JSON values in the shape of `serving.api.schemas`; they are built by hand because a
recommendation is the hot path.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import numpy as np

from serving.decisions.fallback import (
    RankedItems,
    best_scores,
    popular,
    popular_in,
    recency_strengths,
)
from serving.decisions.ranking import Ranked, fill_up, take_candidates
from serving.decisions.segments import segments
from serving.errors import UnknownCustomer
from serving.features import FeatureReader, Reading, Row
from serving.metrics import Metrics
from serving.releases import ReleaseHolder, ServedRelease

CANDIDATES, BEHAVIOUR, PREDICTIONS = "user_candidates", "user_behavior", "user_predictions"
CANDIDATE_FIELDS = ("item_ids", "scores", "algorithms", "release_id", "feature_at")
SEEN_FIELDS = (*CANDIDATE_FIELDS, "seen")
RECENT_FIELDS = ("recent_items", "recent_categories", "feature_at")
NEW_CUSTOMER = "new_customer"
UNKNOWN_CUSTOMER = "unknown_customer"
# What an answer for a newcomer may still wait for after the first read found nothing.
SECOND_READ_SECONDS = 0.04
SCORED_CELLS = 16_000_000

Derive = Callable[[Mapping[str, Any], datetime], Mapping[str, Any]]


@dataclass(frozen=True)
class ProfileView:
    """What a profile reads: fields of the behaviour and predictions views, and the derivation of both."""

    behaviour_fields: tuple[str, ...]
    prediction_fields: tuple[str, ...]
    derive: Derive


@dataclass(frozen=True, slots=True)
class _Decision:
    """What one customer is shown, and why."""

    items: list[Ranked]
    fallback: str | None
    feature_at: datetime | None = None
    candidates_release: str | None = None


class Personalizer:
    """Answers for customers. One instance a process, on its event loop."""

    def __init__(
        self,
        reader: FeatureReader,
        releases: ReleaseHolder,
        profile_view: ProfileView,
        metrics: Metrics,
        follows_wall_clock: bool = False,
    ) -> None:
        self._reader = reader
        self._releases = releases
        self._profile_view = profile_view
        self._metrics = metrics
        self._follows_wall_clock = follows_wall_clock

    async def recommend(self, customer_id: str, limit: int, exclude_seen: bool) -> dict[str, Any]:
        """Items for one customer, best first. Always answers: a newcomer or a silent store falls back."""
        release = self._releases.current
        [decision] = await self._decide([customer_id], limit, exclude_seen, release)
        self._metrics.count_answers("recommendations", [decision.fallback])
        return {
            **_recommendation(customer_id, decision, release, datetime.now(UTC)),
            "release": release.release_id,
            "model_versions": release.model_versions,
        }

    async def recommend_batch(
        self, customer_ids: Sequence[str], limit: int, exclude_seen: bool
    ) -> dict[str, Any]:
        """The same for many customers, in the order asked, from batched reads and one matrix product."""
        release = self._releases.current
        decisions = await self._decide(customer_ids, limit, exclude_seen, release)
        self._metrics.count_answers("recommendations", [each.fallback for each in decisions])
        now = datetime.now(UTC)
        return {
            "results": [
                _recommendation(customer_id, decision, release, now)
                for customer_id, decision in zip(customer_ids, decisions, strict=True)
            ],
            "release": release.release_id,
            "model_versions": release.model_versions,
        }

    async def profile(self, customer_id: str) -> dict[str, Any]:
        """Features, predictions and tiers of one customer; raises `UnknownCustomer` if nothing is stored.

        A silent store gives an empty profile that says so: whether the customer exists is not known then.
        """
        release, view = self._releases.current, self._profile_view
        behaviour, predictions = await asyncio.gather(
            self._reader.read(BEHAVIOUR, (customer_id,), view.behaviour_fields),
            self._reader.read(PREDICTIONS, (customer_id,), view.prediction_fields),
        )
        failure = behaviour.failure or predictions.failure
        features, predicted = behaviour.rows[0], predictions.rows[0]
        if failure is None and features is None and predicted is None:
            raise UnknownCustomer(customer_id)
        self._metrics.count_answers("profile", [failure])
        return self._describe_profile(customer_id, features or {}, predicted or {}, failure, release)

    # recommendations

    async def _decide(
        self, customer_ids: Sequence[str], limit: int, exclude_seen: bool, release: ServedRelease
    ) -> list[_Decision]:
        fields = SEEN_FIELDS if exclude_seen else CANDIDATE_FIELDS
        reading = await self._reader.read(CANDIDATES, customer_ids, fields)
        if reading.failure is not None:
            shown = _Decision(_popular(release, limit), reading.failure)
            return [shown] * len(customer_ids)
        decisions = [_from_candidates(row, limit, exclude_seen, release) for row in reading.rows]
        newcomers = [index for index, decision in enumerate(decisions) if decision is None]
        if newcomers:
            ids = [customer_ids[index] for index in newcomers]
            found = await self._decide_for_newcomers(ids, limit, exclude_seen, release)
            for index, decision in zip(newcomers, found, strict=True):
                decisions[index] = decision
        return [decision for decision in decisions if decision is not None]

    async def _decide_for_newcomers(
        self, customer_ids: Sequence[str], limit: int, exclude_seen: bool, release: ServedRelease
    ) -> list[_Decision]:
        within = SECOND_READ_SECONDS if len(customer_ids) == 1 else None
        reading = await self._reader.read(BEHAVIOUR, customer_ids, RECENT_FIELDS, within)
        if all(row is None for row in reading.rows):
            reason = reading.failure or UNKNOWN_CUSTOMER
            return [_Decision(_popular(release, limit), reason)] * len(customer_ids)
        return await asyncio.to_thread(_for_newcomers, reading, limit, exclude_seen, release)

    # profiles

    def _describe_profile(
        self, customer_id: str, features: Row, predicted: Row, failure: str | None, release: ServedRelease
    ) -> dict[str, Any]:
        now = datetime.now(UTC)
        feature_at = _instant(features.get("feature_at"))
        as_of = now if self._follows_wall_clock else max(release.as_of, feature_at or release.as_of)
        if features:
            features = features | dict(self._profile_view.derive(features, as_of))
        return {
            "customer_id": customer_id,
            "as_of": as_of.isoformat(),
            "features": {name: json_value(value) for name, value in features.items()},
            "predictions": _predictions(predicted),
            "segments": segments(features, predicted, release.price_bands),
            "feature_age_seconds": _age(feature_at or _instant(predicted.get("feature_at")), now),
            "fallback": failure is not None,
            "fallback_reason": failure,
            "release": release.release_id,
            "model_versions": release.model_versions,
        }


def _from_candidates(
    row: Row | None, limit: int, exclude_seen: bool, release: ServedRelease
) -> _Decision | None:
    """The decision for a customer with stored candidates; None for anybody else."""
    if row is None or not row["item_ids"]:
        return None
    seen: Collection[str] = frozenset(row["seen"] or ()) if exclude_seen else ()
    items = take_candidates(row["item_ids"], row["scores"], row["algorithms"], limit, seen)
    if len(items) < limit:
        items = fill_up(items, _popular_lists(release), limit, seen)
    return _Decision(items, None, _instant(row["feature_at"]), row["release_id"])


def _for_newcomers(
    reading: Reading, limit: int, exclude_seen: bool, release: ServedRelease
) -> list[_Decision]:
    """Decisions for customers without candidates, from what they touched last; runs on a thread."""
    histories = [list((row or {}).get("recent_items") or ()) for row in reading.rows]
    folded = _fold_in(histories, limit, exclude_seen, release)
    decisions: list[_Decision] = []
    for row, history, items in zip(reading.rows, histories, folded, strict=True):
        seen = frozenset(history) if exclude_seen else frozenset[str]()
        if len(items) < limit and row is not None:
            categories = _category_lists(release, row.get("recent_categories") or ())
            items = fill_up(items, popular_in(categories), limit, seen)
        items = fill_up(items, _popular_lists(release), limit, seen)
        reason = UNKNOWN_CUSTOMER if row is None else NEW_CUSTOMER
        decisions.append(_Decision(items, reason, _instant((row or {}).get("feature_at"))))
    return decisions


def _fold_in(
    histories: Sequence[Sequence[str]], limit: int, exclude_seen: bool, release: ServedRelease
) -> list[list[Ranked]]:
    """The model's items for each history, nothing where it knows none of them."""
    factors = release.release.factors
    found: list[list[Ranked]] = [[] for _ in histories]
    known: list[tuple[int, list[int], list[float]]] = []
    for index, history in enumerate(histories):
        strengths = recency_strengths(len(history))
        pairs = [
            (factors.position[item], strength)
            for item, strength in zip(history, strengths, strict=True)
            if item in factors.position
        ]
        if pairs:
            known.append((index, [pair[0] for pair in pairs], [pair[1] for pair in pairs]))
    rows = max(1, SCORED_CELLS // max(1, len(factors.item_ids)))
    for start in range(0, len(known), rows):
        chunk = known[start : start + rows]
        users = np.stack([factors.fold_in(positions, strengths) for _, positions, strengths in chunk])
        for (index, _, _), scores in zip(chunk, factors.scores(users), strict=True):
            seen = frozenset(histories[index]) if exclude_seen else frozenset[str]()
            found[index] = best_scores(factors.item_ids, scores, limit, seen)
    return found


def _category_lists(release: ServedRelease, categories: Sequence[str]) -> list[RankedItems]:
    by_category = release.release.popularity.by_category
    return [by_category[name] for name in categories if name in by_category]


def _popular_lists(release: ServedRelease) -> Any:
    popularity = release.release.popularity
    return popular(popularity.recent, popularity.overall)


def _popular(release: ServedRelease, limit: int) -> list[Ranked]:
    return fill_up([], _popular_lists(release), limit)


def _recommendation(
    customer_id: str, decision: _Decision, release: ServedRelease, now: datetime
) -> dict[str, Any]:
    return {
        "customer_id": customer_id,
        "recommendation_id": uuid4().hex,
        "recommendations": [
            {
                "rank": rank,
                "item_id": item.item_id,
                "score": item.score,
                "algorithm": item.algorithm,
                **release.describe(item.item_id),
            }
            for rank, item in enumerate(decision.items, 1)
        ],
        "feature_age_seconds": _age(decision.feature_at, now),
        "candidates_release": decision.candidates_release,
        "fallback": decision.fallback is not None,
        "fallback_reason": decision.fallback,
    }


def _predictions(row: Row) -> dict[str, Any]:
    return {
        "lifetime_value": json_value(row.get("clv_90d")),
        "lifetime_value_low": json_value(row.get("clv_90d_low")),
        "lifetime_value_high": json_value(row.get("clv_90d_high")),
        "interval_level": 0.8,
        "horizon_days": 90,
        "churn_probability": json_value(row.get("churn_probability")),
    }


def _age(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else round(max(0.0, (now - at).total_seconds()), 3)


def _instant(value: Any) -> datetime | None:
    """A stored instant as a UTC datetime; the store gives datetimes, naive ones meaning UTC."""
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def json_value(value: Any) -> Any:
    """A stored value as JSON has it: NaN is null, an instant ISO text, an array a list."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        instant = _instant(value)
        return None if instant is None else instant.isoformat()
    if isinstance(value, list | tuple):
        return [json_value(each) for each in value]
    return value
