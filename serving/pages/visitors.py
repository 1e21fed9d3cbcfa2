"""Who asks: what may be done with them, what they prefer, and what is known of them, read at once.

Where personalization is not allowed nothing personal is read: the visitor stays a blank that has preferences
of its own making (theme, language) and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from serving.decisions.insights import EVENTS_DECAY, stored_engagement
from serving.decisions.layout import category_affinity
from serving.decisions.segments import segments
from serving.errors import StoreUnavailable
from serving.features import FeatureReader, Row
from serving.people.permissions import NO_SIGNALS, Permissions, Signals
from serving.recommendations.knowledge import standing
from serving.releases import ReleaseHolder, ServedRelease
from serving.values import age_seconds, instant

BEHAVIOUR, PREDICTIONS, CANDIDATES = "user_behavior", "user_predictions", "user_candidates"
ACTED_AT = ("first_event_at", "last_event_at", "first_order_at", "last_order_at")
"""Instants that the batch keeps of what a customer did: few, but their own hours."""
BEHAVIOUR_FIELDS = (
    "feature_at",
    "order_count",
    "orders_decay_90d",
    "unit_count",
    "spend_total",
    "active_day_count",
    EVENTS_DECAY,
    "recent_items",
    "recent_categories",
    *ACTED_AT,
)
PREDICTION_FIELDS = ("feature_at", "churn_probability", "value_segment")
CANDIDATE_FIELDS = ("item_ids", "seen", "release_id")
RECENT_ITEMS = 30
OPERATIONAL_STORE = "operational_store_unavailable"


class LiveVisitor(Protocol):
    """What is used of a visitor's live features; `feature_repo.live.LiveUser` is one."""

    @property
    def recent(self) -> Sequence[tuple[str, str, int]]: ...

    @property
    def categories(self) -> Sequence[str]: ...

    @property
    def engagement_score(self) -> float: ...


PermissionsOf = Callable[[str | None, Signals], Permissions]
PreferencesOf = Callable[[str], Awaitable[Mapping[str, Any]]]
LiveOf = Callable[[str], Awaitable[LiveVisitor | None]]


async def no_preferences(_: str) -> Mapping[str, Any]:
    """Where there is no preference centre."""
    return {}


async def no_live_features(_: str) -> LiveVisitor | None:
    """Where nothing is known of the present session."""
    return None


@dataclass(frozen=True, slots=True)
class Visitor:
    """One visitor, as a decision may see them. Items and categories are latest first.

    `acted_at`: some instants at which they did something, microseconds since 1970 UTC.
    """

    visitor_id: str
    permissions: Permissions
    preferences: Mapping[str, Any] = field(default_factory=dict)
    recent_items: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    affinity: Mapping[str, float] = field(default_factory=dict)
    engagement: float = 0.0
    value_segment: str | None = None
    loyalty_tier: str | None = None
    price_tier: str | None = None
    churn_probability: float | None = None
    acted_at: tuple[int, ...] = ()
    feature_age_seconds: float | None = None
    degraded: tuple[str, ...] = ()

    @property
    def personalized(self) -> bool:
        """Whether anything personal may be used."""
        return self.permissions.personalization

    @property
    def history(self) -> tuple[str, ...]:
        """What they touched and bought, each item once."""
        return tuple(dict.fromkeys((*self.recent_items, *self.seen)))


class Visitors:
    """Reads visitors. One instance a process, on its event loop."""

    def __init__(
        self,
        reader: FeatureReader,
        releases: ReleaseHolder,
        permissions_of: PermissionsOf,
        preferences_of: PreferencesOf = no_preferences,
        live_of: LiveOf = no_live_features,
        owner_of: Callable[[str], str] = str,
    ) -> None:
        """`owner_of`: the customer that an anonymous id turned out to be, else the id itself."""
        self._reader = reader
        self._releases = releases
        self._permissions_of = permissions_of
        self._preferences_of = preferences_of
        self._live_of = live_of
        self._owner_of = owner_of

    async def read(self, visitor_id: str, signals: Signals = NO_SIGNALS) -> Visitor:
        """The visitor as known now. A store that is silent is named in `degraded`, never an error."""
        permissions = self._permissions_of(visitor_id, signals)
        if not permissions.personalization:
            preferences, is_silent = await self._preferences(visitor_id)
            degraded = (OPERATIONAL_STORE,) if is_silent else ()
            return Visitor(visitor_id, permissions, preferences, degraded=degraded)
        owner = self._owner_of(visitor_id)
        (preferences, is_silent), behaviour, predictions, candidates, live = await asyncio.gather(
            self._preferences(visitor_id),
            self._reader.read(BEHAVIOUR, (owner,), BEHAVIOUR_FIELDS),
            self._reader.read(PREDICTIONS, (owner,), PREDICTION_FIELDS),
            self._reader.read(CANDIDATES, (owner,), CANDIDATE_FIELDS),
            self._live_of(visitor_id),
        )
        failures = {each.failure for each in (behaviour, predictions, candidates)} - {None}
        silent = (*sorted(str(failure) for failure in failures), *((OPERATIONAL_STORE,) if is_silent else ()))
        return known_visitor(
            Visitor(visitor_id, permissions, preferences, degraded=silent),
            behaviour.rows[0] or {},
            predictions.rows[0] or {},
            standing(candidates.rows[0], self._releases.withdrawn) or {},
            live,
            self._releases.current,
        )

    async def _preferences(self, visitor_id: str) -> tuple[Mapping[str, Any], bool]:
        try:
            return await self._preferences_of(visitor_id), False
        except StoreUnavailable:
            return {}, True


def known_visitor(
    blank: Visitor,
    behaviour: Row,
    predicted: Row,
    candidates: Row,
    live: LiveVisitor | None,
    release: ServedRelease,
) -> Visitor:
    """The visitor with what the batch stored and what this session adds."""
    recent = [item for item, _, _ in live.recent] if live is not None else []
    recent += list(behaviour.get("recent_items") or ())
    live_categories = list(live.categories) if live is not None else []
    tiers = segments(behaviour, predicted, release.price_bands)
    engagement = stored_engagement(behaviour, release.as_of) or 0.0
    feature_at = instant(behaviour.get("feature_at"))
    return Visitor(
        visitor_id=blank.visitor_id,
        permissions=blank.permissions,
        preferences=blank.preferences,
        recent_items=tuple(dict.fromkeys(recent))[:RECENT_ITEMS],
        seen=tuple(candidates.get("seen") or ()),
        candidates=tuple(candidates.get("item_ids") or ()),
        affinity=category_affinity(list(behaviour.get("recent_categories") or ()), live_categories),
        engagement=round(max(engagement, live.engagement_score if live is not None else 0.0), 4),
        value_segment=tiers["value_segment"],
        loyalty_tier=tiers["loyalty_tier"],
        price_tier=tiers["price_tier"],
        churn_probability=_number(predicted.get("churn_probability")),
        acted_at=_instants(behaviour),
        feature_age_seconds=age_seconds(feature_at, datetime.now(UTC)),
        degraded=blank.degraded,
    )


def _instants(behaviour: Row) -> tuple[int, ...]:
    found = [at for name in ACTED_AT if (at := instant(behaviour.get(name))) is not None]
    return tuple(sorted({int(at.timestamp()) * 1_000_000 for at in found}))


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
