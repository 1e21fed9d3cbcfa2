"""Insights into one customer: what their past, the batch and this minute say, and what cannot be known."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from feature_repo.landed import Span
from feature_repo.live import LiveUser
from feature_repo.online_store import instant_of, microseconds_of
from serving.decisions.insights import EVENTS_DECAY, habits, stored_engagement
from serving.errors import StoreUnavailable
from serving.features import FeatureReader, Row
from serving.live import LiveState
from serving.people.history import END_OF_TIME, History, Past
from serving.releases import ReleaseHolder, ServedRelease
from serving.values import json_value

MAX_EVENTS = 5_000
# How far back habits are looked for, and how long that may take.
LOOK_BACK_DAYS = 400
BATCH_SECONDS = 0.25
BEHAVIOUR = "user_behavior"
TOTALS = ("feature_at", "order_count", "spend_total", "active_day_count", "event_count_total")
NOTHING_DONE = "no act of theirs is known"
UNKNOWN = "nothing is known of this visitor"


class Insights:
    """Answers about habits. One instance a process, on its event loop."""

    def __init__(
        self,
        history: History,
        live: LiveState,
        reader: FeatureReader,
        releases: ReleaseHolder,
        follows_wall_clock: bool = False,
    ) -> None:
        self._history = history
        self._live = live
        self._reader = reader
        self._releases = releases
        self._follows_wall_clock = follows_wall_clock

    async def insights(self, user_id: str) -> dict[str, Any]:
        """What is known of somebody's habits; a newcomer gets an answer in which everything says why not."""
        release = self._releases.current
        past, [live], behaviour = await asyncio.gather(
            self.past(user_id, release),
            self._live.read([user_id]),
            self._reader.read(BEHAVIOUR, (user_id,), (*TOTALS, EVENTS_DECAY)),
        )
        now = self.now_of(release, past, live)
        stored = behaviour.rows[0]
        found = habits(past.events, catalogue_of(release), release.price_bands, now)
        direction = found.pop("trend")
        return {
            "user_id": user_id,
            "is_known": bool(past.events) or stored is not None or live is not None,
            "as_of": instant_of(now).isoformat(),
            **found,
            "engagement": {**engagement(live, stored, release.as_of), "trend": direction},
            "live": described_live(live),
            "totals": None if stored is None else {name: json_value(stored.get(name)) for name in TOTALS},
            "events_considered": len(past.events),
            "since": None if past.since is None else instant_of(past.since).isoformat(),
            "sources": list(past.sources),
            "degraded": [behaviour.failure] if behaviour.failure else [],
            "release": release.release_id,
            "model_versions": release.model_versions,
        }

    async def past(self, user_id: str, release: ServedRelease) -> Past:
        """The latest events that habits are taken from."""
        start = max(0, microseconds_of(release.as_of) - LOOK_BACK_DAYS * 86_400_000_000)
        span = Span(start, END_OF_TIME)
        past = await self._history.past(user_id, span, MAX_EVENTS, BATCH_SECONDS)
        for event in past.events:
            if isinstance(event.get("context"), str):
                event["context"] = json.loads(event["context"])
        return past

    def now_of(self, release: ServedRelease, past: Past, live: LiveUser | None) -> int:
        """The instant that "lately" refers to: the end of the data, or of what was done since."""
        if self._follows_wall_clock:
            return microseconds_of(datetime.now(UTC))
        latest = past.events[0]["event_at"] if past.events else 0
        return max(microseconds_of(release.as_of), latest, live.last_event_at if live else 0)


async def past_or_nothing(insights: Insights, user_id: str, release: ServedRelease) -> Past:
    """The same, empty if the operational store is away: for answers that must come all the same."""
    try:
        return await insights.past(user_id, release)
    except StoreUnavailable:
        return Past([], None, (), is_cut=False)


def engagement(live: LiveUser | None, stored: Row | None, as_of: datetime) -> dict[str, Any]:
    """The larger of the live score and that of the batch, as of its end; null for who did nothing at all."""
    scores = [live.engagement_score] if live is not None else []
    batch = None if stored is None else stored_engagement(stored, as_of)
    found = max([*scores, *([] if batch is None else [batch])], default=None)
    return {"score": found, "reason": NOTHING_DONE if found is None else None}


def described_live(live: LiveUser | None) -> dict[str, Any] | None:
    """The live row as answers show it."""
    if live is None:
        return None
    return {
        "recent": [
            {"item_id": item, "event_type": kind, "timestamp": instant_of(at).isoformat()}
            for item, kind, at in live.recent
        ],
        "session": {
            "session_id": live.session_id,
            "started_at": _text(live.session_started_at),
            "event_count": live.session_event_count,
        },
        "counts": dict(live.counts),
        "counts_since": instant_of(live.counts_since).isoformat(),
        "searches": list(live.searches),
        "categories": list(live.categories),
        "last_event_at": instant_of(live.last_event_at).isoformat(),
        "engagement_score": live.engagement_score,
        "significance": live.significance,
    }


def catalogue_of(release: ServedRelease) -> Any:
    """Category, brand and list price of an item in the release's catalogue."""
    items = release.release.items

    def describe(item_id: str) -> Mapping[str, Any] | None:
        position = items.position.get(item_id)
        return None if position is None else {**release.describe(item_id), "brand": items.brand[position]}

    return describe


def _text(at: int | None) -> str | None:
    return None if at is None else instant_of(at).isoformat()
