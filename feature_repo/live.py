"""What a visitor is doing now, as a pure function of the events that the log holds of them.

Nothing here depends on when or in which order events arrive: acts are ordered by (`event_at`, `event_id`),
and the same set of acts gives the same `LiveUser`, whoever derives it. So any number of writers agree.

**Window.** An act belongs to the live state if it happened, or arrived, after the batch; the day before the
batch's end is kept too, so that a session is whole across it. Counts are of what the batch cannot know.

**Session.** Acts with no gap above 1800 s, as in the `sessions` mart. Its id is the latest that one of its
acts names, else derived from its start. What the shop sends (`SHOP_ACTS`) belongs to none.

**Engagement**, 0 to 1, above 0 after any act of the visitor:

    0.6 activity + 0.2 duration + 0.2 depth
    activity = 1 - 2^(-points / 20), points = sum over acts of POINTS x 2^(-days before the latest act / 7)
    duration = 1 - 2^(-seconds of the session / 450)
    depth    = the largest of what the session's acts report and 1 - 2^(-distinct items of the session / 5)

**Significance** of one act against the 50 acts before it, 0 to 1; above 0.8 it is a change of behaviour:

    purchase 1; add_to_cart 0.9; search in a category never touched 0.85, new query 0.6, repeated query 0.3
    behavior_detected: the score that the client gives
    others: w + (1 - w) x novelty x evidence, w = WEIGHTS of the type
    novelty  = 2^(-10 x share of the earlier acts that were in this act's category); 0 without a category
    evidence = n / (n + 5), n = earlier acts with a category

At most `KEPT_ACTS` acts of a visitor count for all of this but the counts, the latest ones.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from feature_repo.events import EVENT_TYPES, SHOP_ACTS

SECOND = 1_000_000
DAY = 86_400 * SECOND
SESSION_TIMEOUT = 1800 * SECOND
KEPT_ACTS = 500
COMPARED_ACTS = 50
RECENT_ITEMS = 50
RECENT_SEARCHES = 10
RECENT_CATEGORIES = 10
SIGNIFICANT = 0.8

PURCHASE, CART, SEARCH, DETECTED = "purchase", "add_to_cart", "search", "behavior_detected"
OTHER_WEIGHT = 0.4
NEW_CATEGORY_SEARCH, NEW_SEARCH, REPEATED_SEARCH = 0.85, 0.6, 0.3

_GROUP_POINTS = {"cart": 4.0, "order": 6.0, "interest": 3.0, "social": 3.0}
_STRONG = frozenset(
    {
        "wishlist_add",
        "checkout_start",
        "bundle_add",
        "offer_redeem",
        "return",
        "order_cancel",
        "subscription_start",
        "subscription_cancel",
        "review",
    }
)


def _is_click(name: str) -> bool:
    return name == "click" or name.endswith(("_click", "_open"))


POINTS: Mapping[str, float] = {
    name: 2.0 if _is_click(name) else _GROUP_POINTS.get(kind.group, 1.0) for name, kind in EVENT_TYPES.items()
}
"""What one act of a type adds to engagement: views 1, clicks 2, interest 3, cart 4, orders 6."""

WEIGHTS: Mapping[str, float] = {
    name: 0.7 if name in _STRONG else 0.5 if _is_click(name) else OTHER_WEIGHT for name in EVENT_TYPES
}
"""What an act of a type is worth in significance before anything is known about its novelty."""

_DEPTH_FIELDS = frozenset({"interaction_depth", "scroll_depth", "pages_viewed"})
_NUMBERS = frozenset({int, float})
_DEPTHS = {"low": 1 / 3, "medium": 2 / 3, "high": 1.0}

# The catalogue's category of an item; None for one that it does not know, and for None.
CategoryOf = Callable[[str | None], str | None]


class Logged(Protocol):
    """An event as the log has it; `serving.tracking.LoggedEvent` is one."""

    @property
    def sequence(self) -> int: ...
    @property
    def event_id(self) -> str: ...
    @property
    def event_type(self) -> str: ...
    @property
    def item_id(self) -> str | None: ...
    @property
    def event_at(self) -> int: ...
    @property
    def received_at(self) -> int: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...


class Act(NamedTuple):
    """What the live state keeps of one event. Sorts by instant, then id; instants are microseconds."""

    event_at: int
    event_id: str
    event_type: str
    item_id: str | None
    category: str | None
    query: str | None
    session_id: str | None
    claimed: float
    depth: float
    seconds: float
    received_at: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Window:
    """What the batch knows: all that happened before `since` and arrived before `landed_at`."""

    since: int
    landed_at: int

    def holds(self, act: Act) -> bool:
        """Whether the act belongs to the live state."""
        return act.event_at >= self.since - DAY or act.received_at >= self.landed_at

    def counts(self, act: Act) -> bool:
        """Whether the batch cannot know the act."""
        return act.event_at >= self.since or act.received_at >= self.landed_at


@dataclass(frozen=True, slots=True)
class LiveUser:
    """What a visitor did lately. Lists are latest first; instants are microseconds since 1970.

    `recent`: (item, event type, instant). `counts`: acts by type since `counts_since`, the end of the batch.
    `significance` is that of the latest act; `sequence` the largest of the log among the acts.
    """

    recent: tuple[tuple[str, str, int], ...]
    session_id: str | None
    session_started_at: int | None
    session_event_count: int
    counts: Mapping[str, int]
    counts_since: int
    searches: tuple[str, ...]
    categories: tuple[str, ...]
    last_event_at: int
    engagement_score: float
    significance: float
    sequence: int


@dataclass(slots=True)
class LiveHistory:
    """The acts of one visitor, in any order; more than are kept are only counted.

    `_latest`: the last of their own acts, in order, once somebody asks what is significant; all of them
    unless `_is_cut`.
    """

    acts: dict[str, Act] = field(default_factory=dict)
    older: Counter[str] = field(default_factory=Counter)
    _latest: list[Act] | None = field(default=None, init=False, repr=False, compare=False)
    _is_cut: bool = field(default=False, init=False, repr=False, compare=False)

    def add(self, act: Act, window: Window) -> bool:
        """Take in an act of the window; False if it was there or is none of the window."""
        if act.event_id in self.acts or not window.holds(act):
            return False
        self.acts[act.event_id] = act
        self._note(act)
        if len(self.acts) > 2 * KEPT_ACTS:
            self._compact(window)
        return True

    def merge(self, other: LiveHistory, window: Window) -> None:
        """Take in all acts of another visitor who turned out to be the same person."""
        self.older += other.older
        for act in other.acts.values():
            self.add(act, window)

    def derive(self, window: Window, category_of: CategoryOf) -> LiveUser | None:
        """The live row; None if there is no act."""
        return derive(self.acts.values(), window, category_of, self.older)

    def is_significant(self, act: Act, category_of: CategoryOf) -> bool:
        """Whether one act that was added changes what is to be shown, against those before it."""
        kind = act.event_type
        if kind in (PURCHASE, CART, DETECTED) or kind in SHOP_ACTS:
            return significance(act, (), category_of) > SIGNIFICANT
        if kind != SEARCH:
            weight, before = WEIGHTS.get(kind, OTHER_WEIGHT), len(self.acts) - 1
            if not (category_of(act.item_id) or act.category):
                return weight > SIGNIFICANT
            if weight + (1 - weight) * _evidence(before) <= SIGNIFICANT:
                return False
        return significance(act, self._before(act), category_of) > SIGNIFICANT

    def _note(self, act: Act) -> None:
        """Keep `_latest` in order: an act comes in near its end as a rule."""
        if self._latest is None or act.event_type in SHOP_ACTS:
            return
        if not self._is_cut or act > self._latest[0]:
            insort(self._latest, act)
        if len(self._latest) > 4 * COMPARED_ACTS:
            del self._latest[: 2 * COMPARED_ACTS]
            self._is_cut = True

    def _before(self, act: Act) -> Sequence[Act]:
        """The visitor's own acts that one is compared with: the last `COMPARED_ACTS` before it."""
        if self._latest is None:
            own = sorted(each for each in self.acts.values() if each.event_type not in SHOP_ACTS)
            self._latest, self._is_cut = own[-2 * COMPARED_ACTS :], len(own) > 2 * COMPARED_ACTS
        position = bisect_left(self._latest, act)
        if self._is_cut and position < COMPARED_ACTS:  # it comes late: what lies before was not kept apart
            return sorted(each for each in self.acts.values() if each < act)
        return self._latest[max(0, position - COMPARED_ACTS) : position]

    def _compact(self, window: Window) -> None:
        ordered = sorted(self.acts.values())
        self.older.update(act.event_type for act in ordered[:-KEPT_ACTS] if window.counts(act))
        self.acts = {act.event_id: act for act in ordered[-KEPT_ACTS:]}


def act_of(event: Logged) -> Act:
    """What the live state keeps of an event."""
    fields = event.fields
    context = fields.get("context") or {}
    category = context.get("category")
    return Act(
        event.event_at,
        event.event_id,
        event.event_type,
        event.item_id,
        category if isinstance(category, str) and category else None,
        fields.get("query"),
        fields.get("session_id"),
        _unit(context.get("significance_score")) if event.event_type == DETECTED else 0.0,
        _reported_depth(context) if not _DEPTH_FIELDS.isdisjoint(context) else 0.0,
        _number(context.get("session_duration")) if context else 0.0,
        event.received_at,
        event.sequence,
    )


def derive(
    acts: Iterable[Act], window: Window, category_of: CategoryOf, older: Mapping[str, int] | None = None
) -> LiveUser | None:
    """The live row of one visitor from all their acts; `older` counts acts not handed in any more."""
    held = sorted(act for act in acts if window.holds(act))
    if not held:
        return None
    counts = Counter(act.event_type for act in held if window.counts(act))
    counts.update(older or {})
    kept = held[-KEPT_ACTS:]
    own = [act for act in kept if act.event_type not in SHOP_ACTS]
    session = _latest_session(own)
    newest = kept[-1]
    return LiveUser(
        recent=_recent(own),
        session_id=_session_id(session),
        session_started_at=session[0].event_at if session else None,
        session_event_count=len(session),
        counts=dict(sorted(counts.items())),
        counts_since=window.since,
        searches=_distinct((act.query for act in reversed(own) if act.event_type == SEARCH), RECENT_SEARCHES),
        # The catalogue's category of the item where it knows one, else what the event says.
        categories=_distinct(
            (category_of(act.item_id) or act.category for act in reversed(own)), RECENT_CATEGORIES
        ),
        last_event_at=own[-1].event_at if own else newest.event_at,
        engagement_score=_engagement(own, session),
        significance=significance(newest, kept[:-1], category_of),
        sequence=max(act.sequence for act in kept),
    )


def significance(act: Act, earlier: Sequence[Act], category_of: CategoryOf) -> float:
    """How much one act says that differs from the acts before it; see the module."""
    if act.event_type == PURCHASE:
        return 1.0
    if act.event_type == CART:
        return 0.9
    if act.event_type == DETECTED:
        return act.claimed
    if act.event_type in SHOP_ACTS:
        return 0.0
    own = [each for each in earlier if each.event_type not in SHOP_ACTS][-COMPARED_ACTS:]
    category = category_of(act.item_id) or act.category
    known = [found for each in own if (found := category_of(each.item_id) or each.category)]
    if act.event_type == SEARCH:
        if category is not None and category not in known:
            return NEW_CATEGORY_SEARCH
        is_repeated = any(each.query == act.query for each in own if each.event_type == SEARCH)
        return REPEATED_SEARCH if is_repeated else NEW_SEARCH
    weight = WEIGHTS.get(act.event_type, OTHER_WEIGHT)
    if category is None or not known:
        return weight
    novelty = 2 ** (-10 * known.count(category) / len(known))
    return round(weight + (1 - weight) * novelty * _evidence(len(known)), 6)


def _evidence(acts: int) -> float:
    """How far so many acts with a category tell what is usual."""
    return acts / (acts + 5)


def _latest_session(acts: Sequence[Act]) -> Sequence[Act]:
    start = len(acts) - 1
    while start > 0 and acts[start].event_at - acts[start - 1].event_at <= SESSION_TIMEOUT:
        start -= 1
    return acts[max(0, start) :]


def _session_id(session: Sequence[Act]) -> str | None:
    if not session:
        return None
    given = next((act.session_id for act in reversed(session) if act.session_id), None)
    first = session[0]
    return given or blake2b(f"{first.event_at}:{first.event_id}".encode(), digest_size=8).hexdigest()


def _recent(acts: Sequence[Act]) -> tuple[tuple[str, str, int], ...]:
    found: list[tuple[str, str, int]] = []
    for act in reversed(acts):
        if act.item_id is not None:
            found.append((act.item_id, act.event_type, act.event_at))
            if len(found) == RECENT_ITEMS:
                break
    return tuple(found)


def _engagement(acts: Sequence[Act], session: Sequence[Act]) -> float:
    if not acts:
        return 0.0
    latest = acts[-1].event_at
    points = sum(POINTS.get(act.event_type, 1.0) * 2 ** ((act.event_at - latest) / (7 * DAY)) for act in acts)
    seconds = max((session[-1].event_at - session[0].event_at) / SECOND, *(act.seconds for act in session))
    items = len({act.item_id for act in session if act.item_id is not None})
    depth = max(_saturated(items, 5), *(act.depth for act in session))
    return round(0.6 * _saturated(points, 20) + 0.2 * _saturated(seconds, 450) + 0.2 * depth, 6)


def _saturated(amount: float, half: float) -> float:
    """0 at nothing, half at `half`, towards 1."""
    return float(1 - 2 ** (-amount / half))


def _distinct(values: Iterable[str | None], count: int) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in values:
        if value is not None and value not in found:
            found[value] = None
            if len(found) == count:
                break
    return tuple(found)


def _reported_depth(context: Mapping[str, Any]) -> float:
    """How deep the visitor went, 0 to 1, by what the event reports of it."""
    named = context.get("interaction_depth")
    depth = _DEPTHS.get(named.lower(), 0.0) if isinstance(named, str) else _unit(named)
    scrolled = _number(context.get("scroll_depth"))
    pages = _number(context.get("pages_viewed"))
    return max(depth, min(1.0, scrolled / 100 if scrolled > 1 else scrolled), _saturated(pages, 5))


def _unit(value: Any) -> float:
    return min(1.0, _number(value))


def _number(value: Any) -> float:
    """A finite number that is not negative, else 0: context is whatever JSON a client sent."""
    return float(value) if type(value) in _NUMBERS and 0 <= value < 1e12 else 0.0
