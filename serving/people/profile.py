"""What is known and expected of one customer: behaviour, demography, interests, predictions, tiers.

A customer is known by the batch, by an event in the log, or by having been created; of anybody else there is
no profile. What a silent store withholds is named, not guessed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from serving.decisions.insights import habits
from serving.decisions.segments import segments
from serving.errors import StoreUnavailable, UnknownCustomer
from serving.features import FeatureReader, Reading, Row
from serving.live import LiveState
from serving.metrics import Metrics
from serving.people.history import History
from serving.people.insights import Insights, catalogue_of, described_live, engagement, past_or_nothing
from serving.releases import ReleaseHolder, ServedRelease
from serving.values import age_seconds, instant, json_value

BEHAVIOUR, PREDICTIONS, OUTLOOK = "user_behavior", "user_predictions", "user_outlook"
STORE_AWAY = "operational_store_unavailable"
EXTRAPOLATED_DAYS = 365
NOT_COLLECTED = "nothing that was collected says it"
NO_SECOND_ORDER = "it takes two orders on different days"
AGE_GROUPS = ((18, "under 18"), (25, "18-24"), (35, "25-34"), (45, "35-44"), (55, "45-54"), (65, "55-64"))

Derive = Callable[[Mapping[str, Any], datetime], Mapping[str, Any]]
Lookup = Callable[[str], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class ProfileView:
    """What a profile reads: fields of three views, and what is derived from behaviour."""

    behaviour_fields: tuple[str, ...]
    prediction_fields: tuple[str, ...]
    derive: Derive
    outlook_fields: tuple[str, ...] = ("feature_at",)


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
        behaviour, predictions, outlook, [live], customer = await asyncio.gather(
            self._reader.read(BEHAVIOUR, (customer_id,), view.behaviour_fields),
            self._reader.read(PREDICTIONS, (customer_id,), view.prediction_fields),
            self._outlook(customer_id, release),
            sources.live.read([customer_id]),
            _known(sources.customer_of, customer_id),
        )
        failure = behaviour.failure or predictions.failure or outlook.failure
        features, predicted = behaviour.rows[0], predictions.rows[0]
        degraded = ([failure] if failure else []) + ([] if customer.is_read else [STORE_AWAY])
        is_known = bool(features or predicted or live or customer.row)
        if not is_known and not degraded and not await self._has_acted(customer_id):
            raise UnknownCustomer(customer_id)
        self._metrics.count_answers("profile", [failure])
        now, expected, ahead = datetime.now(UTC), predicted or {}, outlook.rows[0] or {}
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
            "behavioral": _behavioral(habit, engagement(live, features, release.as_of)),
            "live": described_live(live),
            "demographic": await self._demographic(customer_id, customer.row or {}),
            "psychographic": _psychographic(habit, customer.row or {}) if parts.preferences else None,
            "preferences": await self._preferences(customer_id, parts),
            "predictions": (
                _predictions(expected, ahead, derived, as_of, habit) if parts.predictions else None
            ),
            "segments": _segments(derived, expected, ahead, release) if parts.segments else None,
            "feature_age_seconds": age_seconds(feature_at or instant(expected.get("feature_at")), now),
            "fallback": failure is not None,
            "fallback_reason": failure,
            "degraded": degraded,
            "release": release.release_id,
            "model_versions": release.model_versions,
        }

    async def _outlook(self, customer_id: str, release: ServedRelease) -> Reading:
        """Empty for a release whose online store lacks the view: a failed read would shut it to all."""
        if not release.has_outlook:
            return Reading([None])
        return await self._reader.read(OUTLOOK, (customer_id,), self._view.outlook_fields)

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


def _segments(features: Mapping[str, Any], row: Row, ahead: Row, release: ServedRelease) -> dict[str, Any]:
    return segments(features, row, release.price_bands) | {
        "behavior_segment": ahead.get("segment"),
        "behavior_segment_before": ahead.get("segment_before"),
    }


def _predictions(
    row: Row, ahead: Row, features: Mapping[str, Any], as_of: datetime, habit: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "lifetime_value": json_value(row.get("clv_90d")),
        "lifetime_value_low": json_value(row.get("clv_90d_low")),
        "lifetime_value_high": json_value(row.get("clv_90d_high")),
        "interval_level": 0.8,
        "horizon_days": 90,
        "churn_probability": json_value(row.get("churn_probability")),
        "next_purchase": next_purchase(features, as_of) | {"forecast": next_purchase_forecast(ahead)},
        "price_sensitivity": habit["price_sensitivity"],
        **outlook_of(row, ahead),
    }


def outlook_of(row: Row, ahead: Row) -> dict[str, Any]:
    """Value over further horizons and its parts, what churn rests on, what keeping would save, prices."""
    horizons, parts, prices = (ahead.get(name) for name in ("clv_horizons", "clv_parts", "price_habits"))
    own = [row.get(name) for name in ("clv_90d", "clv_90d_low", "clv_90d_high")]
    values = [(30, horizons[:3]), (90, own), (365, horizons[3:])] if horizons else []
    names, effects = ahead.get("churn_drivers") or [], ahead.get("churn_driver_effects") or []
    return {
        "value_horizons": [
            {
                "days": days,
                **_named(("value", "low", "high"), numbers),
                "is_extrapolated": days == EXTRAPOLATED_DAYS,
            }
            for days, numbers in values
        ],
        "value_parts": _named(("alive_probability", "expected_orders", "order_value"), parts) or None,
        "churn_drivers": [
            {"name": name, "effect": json_value(effect)} for name, effect in zip(names, effects, strict=True)
        ],
        "retention": {
            "expected_saving": json_value(ahead.get("expected_saving")),
            "audience": ahead.get("audience") or None,
        },
        "due_items": due_items(ahead),
        "price_habits": _named(("price_level", "discount_share"), prices) or None,
    }


def next_purchase_forecast(ahead: Row) -> dict[str, Any] | None:
    """The model's days from the scoring instant to the next order; None without a model."""
    days, at = ahead.get("next_order_days"), instant(ahead.get("feature_at"))
    if not days or at is None:
        return None
    return {
        **_named(("median_days", "low_days", "high_days"), days),
        "counted_from": at.isoformat(),
        "interval_level": 0.8,
        "category": ahead.get("next_category"),
    }


def due_items(ahead: Row) -> list[dict[str, Any]]:
    """What the customer buys again and again and runs out of, with the day on which it is due."""
    at = instant(ahead.get("feature_at"))
    if at is None:
        return []
    return [
        {"item_id": item, "due_on": (at + timedelta(days=float(days))).date().isoformat()}
        for item, days in zip(ahead.get("due_items") or [], ahead.get("due_in_days") or [], strict=True)
    ]


def _named(names: tuple[str, ...], numbers: Sequence[Any] | None) -> dict[str, Any]:
    return dict(zip(names, map(json_value, numbers), strict=True)) if numbers else {}


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
