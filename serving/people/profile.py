"""What is known and expected of one customer: behaviour, demography, interests, predictions, tiers.

A customer is known by the batch, by an event in the log, or by having been created; of anybody else there is
no profile. What a silent store withholds is named, not guessed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from serving.decisions.insights import habits
from serving.decisions.segments import segments
from serving.errors import StoreUnavailable, UnknownCustomer
from serving.features import FeatureReader, Row
from serving.live import LiveState
from serving.metrics import Metrics
from serving.people.history import History
from serving.people.insights import Insights, catalogue_of, described_live, engagement, past_or_nothing
from serving.releases import ReleaseHolder, ServedRelease
from serving.values import age_seconds, instant, json_value

BEHAVIOUR, PREDICTIONS = "user_behavior", "user_predictions"
STORE_AWAY = "operational_store_unavailable"
NOT_COLLECTED = "nothing that was collected says it"
NO_SECOND_ORDER = "it takes two orders on different days"
AGE_GROUPS = ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (55, "45-54"), (65, "55-64"))

Derive = Callable[[Mapping[str, Any], datetime], Mapping[str, Any]]
Lookup = Callable[[str], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class ProfileView:
    """What a profile reads: fields of the behaviour and predictions views, and the derivation of both."""

    behaviour_fields: tuple[str, ...]
    prediction_fields: tuple[str, ...]
    derive: Derive


@dataclass(frozen=True, slots=True)
class Parts:
    """Which groups of attributes a profile is asked for."""

    preferences: bool = True
    predictions: bool = True
    segments: bool = True


ALL_PARTS = Parts()


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a profile looks beyond the feature store.

    `customer_of` raises `UnknownCustomer`; both lookups raise `StoreUnavailable`.
    """

    live: LiveState
    history: History
    insights: Insights
    customer_of: Lookup
    preferences_of: Lookup
    is_erased: Callable[[str], bool]


class Profiles:
    """Answers about customers. One instance a process, on its event loop."""

    def __init__(
        self,
        reader: FeatureReader,
        releases: ReleaseHolder,
        view: ProfileView,
        sources: Sources,
        metrics: Metrics,
        follows_wall_clock: bool = False,
    ) -> None:
        self._reader = reader
        self._releases = releases
        self._view = view
        self._sources = sources
        self._metrics = metrics
        self._follows_wall_clock = follows_wall_clock

    async def profile(self, customer_id: str, parts: Parts = ALL_PARTS) -> dict[str, Any]:
        """All that is known of one customer; raises `UnknownCustomer` if that is nothing.

        A silent store gives an emptier profile that says so: whether the customer exists is not known then.
        """
        if self._sources.is_erased(customer_id):
            raise UnknownCustomer(customer_id)
        release, view, sources = self._releases.current, self._view, self._sources
        behaviour, predictions, [live], customer = await asyncio.gather(
            self._reader.read(BEHAVIOUR, (customer_id,), view.behaviour_fields),
            self._reader.read(PREDICTIONS, (customer_id,), view.prediction_fields),
            sources.live.read([customer_id]),
            _known(sources.customer_of, customer_id),
        )
        failure = behaviour.failure or predictions.failure
        features, predicted = behaviour.rows[0], predictions.rows[0]
        degraded = ([failure] if failure else []) + ([] if customer.is_read else [STORE_AWAY])
        is_known = bool(features or predicted or live or customer.row)
        if not is_known and not degraded and not await self._has_acted(customer_id):
            raise UnknownCustomer(customer_id)
        self._metrics.count_answers("profile", [failure])
        now, expected = datetime.now(UTC), predicted or {}
        feature_at = instant((features or {}).get("feature_at"))
        as_of = now if self._follows_wall_clock else max(release.as_of, feature_at or release.as_of)
        derived = dict(features or {})
        if features:
            derived |= view.derive(features, as_of)
        habit = await self._habits(customer_id, release)
        return {
            "customer_id": customer_id,
            "user_id": customer_id,
            "as_of": as_of.isoformat(),
            "features": {name: json_value(value) for name, value in derived.items()},
            "behavioral": _behavioral(habit, engagement(live)),
            "live": described_live(live),
            "demographic": await self._demographic(customer_id, customer.row or {}),
            "psychographic": _psychographic(habit, customer.row or {}) if parts.preferences else None,
            "preferences": await self._preferences(customer_id, parts),
            "predictions": _predictions(expected, derived, as_of, habit) if parts.predictions else None,
            "segments": segments(derived, expected, release.price_bands) if parts.segments else None,
            "feature_age_seconds": age_seconds(feature_at or instant(expected.get("feature_at")), now),
            "fallback": failure is not None,
            "fallback_reason": failure,
            "degraded": degraded,
            "release": release.release_id,
            "model_versions": release.model_versions,
        }

    async def _has_acted(self, customer_id: str) -> bool:
        try:
            return await self._sources.history.has_acted(customer_id)
        except StoreUnavailable:
            return True

    async def _habits(self, customer_id: str, release: ServedRelease) -> dict[str, Any]:
        insights = self._sources.insights
        past = await past_or_nothing(insights, customer_id, release)
        now = insights.now_of(release, past, None)
        return habits(past.events, catalogue_of(release), release.price_bands, now)

    async def _demographic(self, customer_id: str, customer: Mapping[str, Any]) -> dict[str, Any]:
        """What the customer told us, else what the source of the batch says."""
        landed = await self._sources.history.customer(customer_id) or {}
        age = customer.get("age") if customer.get("age") is not None else landed.get("age")
        return {
            "age": age,
            "age_group": age_group(age),
            "gender": customer.get("gender") or landed.get("gender"),
            "location": customer.get("location") or landed.get("location"),
        }

    async def _preferences(self, customer_id: str, parts: Parts) -> dict[str, Any] | None:
        if not parts.preferences:
            return None
        found = await _known(self._sources.preferences_of, customer_id)
        return None if found.row is None else dict(found.row)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a lookup gave. `is_read`: the store answered, so that no row means there is none."""

    row: Mapping[str, Any] | None
    is_read: bool


async def _known(lookup: Lookup, customer_id: str) -> _Found:
    try:
        return _Found(await lookup(customer_id), is_read=True)
    except UnknownCustomer:
        return _Found(None, is_read=True)
    except StoreUnavailable:
        return _Found(None, is_read=False)


def age_group(age: int | None) -> str | None:
    """The bracket that an age falls into."""
    if age is None:
        return None
    return next((name for limit, name in AGE_GROUPS if age < limit), "65 and over")


def _behavioral(habit: Mapping[str, Any], score: Mapping[str, Any]) -> dict[str, Any]:
    names = ("frequency", "preferred_hours", "preferred_weekdays", "devices", "channels")
    return {name: habit[name] for name in names} | {"engagement": {**score, "trend": habit["trend"]}}


def _psychographic(habit: Mapping[str, Any], customer: Mapping[str, Any]) -> dict[str, Any]:
    """Interests and brands by what was touched; values and lifestyle only if the shop recorded them."""
    attributes = customer.get("attributes") or {}
    return {
        "interests": habit["categories"],
        "brand_affinity": habit["brands"],
        "values": _recorded(attributes.get("values")),
        "lifestyle_indicators": _recorded(attributes.get("lifestyle_indicators")),
    }


def _recorded(value: Any) -> dict[str, Any]:
    return {"value": value, "reason": None if value is not None else NOT_COLLECTED}


def _predictions(
    row: Row, features: Mapping[str, Any], as_of: datetime, habit: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "lifetime_value": json_value(row.get("clv_90d")),
        "lifetime_value_low": json_value(row.get("clv_90d_low")),
        "lifetime_value_high": json_value(row.get("clv_90d_high")),
        "interval_level": 0.8,
        "horizon_days": 90,
        "churn_probability": json_value(row.get("churn_probability")),
        "next_purchase": next_purchase(features, as_of),
        "price_sensitivity": habit["price_sensitivity"],
    }


def next_purchase(features: Mapping[str, Any], as_of: datetime) -> dict[str, Any]:
    """The last order plus the customer's own mean gap between order days; a habit, not a model's forecast."""
    last, gap = instant(features.get("last_order_at")), json_value(features.get("mean_gap_days"))
    if last is None or not gap:
        return {"expected_at": None, "in_days": None, "is_overdue": None, "reason": NO_SECOND_ORDER}
    expected = last + timedelta(days=gap)
    days = (expected - as_of).total_seconds() / 86_400
    return {
        "expected_at": expected.isoformat(),
        "in_days": round(max(0.0, days), 2),
        "is_overdue": days < 0,
        "reason": None,
    }
