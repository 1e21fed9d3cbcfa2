"""What a customer's past says about their habits: pure functions over their events.

Nothing is invented: a part that cannot be known is null and says why. Events are dicts of the contract's
fields with `event_at` in microseconds; days and hours are UTC. Only the customer's own acts count, never what
the shop sent.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import fmean, median
from typing import Any

from feature_repo.events import SHOP_ACTS
from serving.decisions.segments import PriceBands
from serving.values import instant

Event = Mapping[str, Any]
# Category, brand and list price of an item; None for one that the catalogue does not have.
Describe = Callable[[str], Mapping[str, Any] | None]

DAY = 86_400_000_000
SESSION_TIMEOUT = 1_800_000_000
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
STRENGTHS = {"product_view": 1.0, "wishlist_add": 2.0, "add_to_cart": 3.0, "purchase": 5.0}
INTEREST_HALF_LIFE_DAYS = 90
ENGAGEMENT_HALF_LIFE_DAYS = 30
FULLY_ENGAGED_EVENTS = 40.0
"""Decayed events at which a customer counts as fully engaged."""
SHOWN = 5
# Below this many observations a habit is a guess.
ENOUGH_EVENTS = 5
ENOUGH_DAYS = 8
ENOUGH_PRICES = 3
RECENT_DAYS = 7
ANOMALOUS = 3.5
# A price this far below the list price was a discount, not a rounding.
DISCOUNT = 0.97

EVENTS_DECAY = "events_decay_30d"
"""The batch's count of events, each halved every `ENGAGEMENT_HALF_LIFE_DAYS` up to the row's `feature_at`."""
NO_EVENTS = "no events are known of this visitor"
FEW_EVENTS = f"fewer than {ENOUGH_EVENTS} acts are known"
FEW_DAYS = f"fewer than {ENOUGH_DAYS} active days are known"
NO_PRICES = f"fewer than {ENOUGH_PRICES} purchases with a known price"
NO_CATALOGUE = "none of the items touched is in the catalogue with this property"
NOT_REPORTED = "no event reports it"


def stored_engagement(behaviour: Mapping[str, Any], as_of: datetime) -> float | None:
    """Engagement from 0 to 1 by what the batch counted, as of an instant; None where it counted nothing."""
    events, counted_at = behaviour.get(EVENTS_DECAY), instant(behaviour.get("feature_at"))
    if events is None or counted_at is None:
        return None
    days = max(0.0, (as_of - counted_at) / timedelta(days=1))
    return round(min(1.0, float(events) * 2 ** (-days / ENGAGEMENT_HALF_LIFE_DAYS) / FULLY_ENGAGED_EVENTS), 4)


def own_acts(events: Sequence[Event]) -> list[Event]:
    """What the customer did, earliest first."""
    acts = [event for event in events if event["event_type"] not in SHOP_ACTS]
    return sorted(acts, key=lambda event: (event["event_at"], event["event_id"]))


def habits(events: Sequence[Event], describe: Describe, bands: PriceBands | None, now: int) -> dict[str, Any]:
    """All parts of an insight that events alone give."""
    acts = own_acts(events)
    return {
        "frequency": frequency(acts),
        "preferred_hours": preferred(acts, _hour),
        "preferred_weekdays": preferred(acts, _weekday),
        "devices": shares(acts, "device_type"),
        "channels": shares(acts, "channel"),
        "categories": interests(acts, describe, "category", now),
        "brands": interests(acts, describe, "brand", now),
        "price_sensitivity": price_sensitivity(acts, describe, bands),
        "trend": trend(acts, now),
        "anomalies": anomalies(acts),
    }


def frequency(acts: Sequence[Event]) -> dict[str, Any]:
    """How often the customer comes and orders."""
    if not acts:
        return {
            "event_count": 0,
            "active_days": 0,
            "sessions": 0,
            "order_count": 0,
            "events_per_active_day": None,
            "mean_days_between_visits": None,
            "mean_days_between_orders": None,
            "reason": NO_EVENTS,
        }
    days = sorted({act["event_at"] // DAY for act in acts})
    orders = sorted({act["event_at"] // DAY for act in acts if act["event_type"] == "purchase"})
    starts = 1 + sum(
        later["event_at"] - earlier["event_at"] > SESSION_TIMEOUT
        for earlier, later in zip(acts, acts[1:], strict=False)
    )
    lines = {act.get("order_id") or act["event_id"] for act in acts if act["event_type"] == "purchase"}
    return {
        "event_count": len(acts),
        "active_days": len(days),
        "sessions": starts,
        "order_count": len(lines),
        "events_per_active_day": round(len(acts) / len(days), 3),
        "mean_days_between_visits": _mean_gap(days),
        "mean_days_between_orders": _mean_gap(orders),
        "reason": None,
    }


def preferred(acts: Sequence[Event], name_of: Callable[[int], str]) -> dict[str, Any]:
    """When the customer acts: shares of a day's hours or a week's days, the most frequent first."""
    if len(acts) < ENOUGH_EVENTS:
        return {"top": [], "reason": FEW_EVENTS if acts else NO_EVENTS}
    counts = Counter(name_of(act["event_at"]) for act in acts)
    return {"top": _shares(counts), "reason": None}


def shares(acts: Sequence[Event], name: str) -> dict[str, Any]:
    """How often each value of a field occurs, the most frequent first."""
    counts = Counter(value for act in acts if (value := act.get(name)))
    if not counts:
        return {"top": [], "reason": NOT_REPORTED if acts else NO_EVENTS}
    return {"top": _shares(counts), "reason": None}


def interests(acts: Sequence[Event], describe: Describe, name: str, now: int) -> dict[str, Any]:
    """What the customer is drawn to: strengths by act (view 1 to purchase 5), halved every 90 days."""
    found: dict[str, float] = defaultdict(float)
    for act in acts:
        strength = STRENGTHS.get(act["event_type"])
        value = _property(act, describe, name)
        if strength is not None and value is not None:
            age = max(0.0, (now - act["event_at"]) / DAY)
            found[value] += strength * 2 ** (-age / INTEREST_HALF_LIFE_DAYS)
    total = sum(found.values())
    if not total:
        return {"top": [], "reason": NO_CATALOGUE if acts else NO_EVENTS}
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]
    top = [{"value": value, "share": round(strength / total, 4)} for value, strength in ranked]
    return {"top": top, "reason": None}


def price_sensitivity(acts: Sequence[Event], describe: Describe, bands: PriceBands | None) -> dict[str, Any]:
    """Two shares of what was bought: at less than list price, and from the cheapest third of the catalogue.

    They describe what the customer chose, not why: somebody may like cheap things that are not on sale.
    """
    discounted, cheap, dear = [], [], []
    for act in acts:
        paid = act.get("price")
        if act["event_type"] != "purchase" or not paid:
            continue
        item = describe(act["item_id"]) if act.get("item_id") else None
        listed = item.get("price") if item else None
        if listed:
            discounted.append(paid < DISCOUNT * listed)
        if bands is not None:
            price = listed or paid
            cheap.append(price < bands.budget_below)
            dear.append(price >= bands.premium_from)
    if len(cheap) < ENOUGH_PRICES and len(discounted) < ENOUGH_PRICES:
        return {
            "level": None,
            "discounted_share": None,
            "low_price_share": None,
            "purchases": len(cheap),
            "reason": NO_PRICES,
        }
    low = fmean(cheap) if len(cheap) >= ENOUGH_PRICES else None
    high = fmean(dear) if len(dear) >= ENOUGH_PRICES else None
    level = None
    if low is not None and high is not None:
        level = "budget" if low >= 0.5 else "premium" if high >= 0.5 else "regular"
    return {
        "level": level,
        "discounted_share": round(fmean(discounted), 4) if len(discounted) >= ENOUGH_PRICES else None,
        "low_price_share": None if low is None else round(low, 4),
        "purchases": len(cheap),
        "reason": None,
    }


def trend(acts: Sequence[Event], now: int) -> dict[str, Any]:
    """Acts of the last seven days against the mean week of the four before."""
    week = 7 * DAY
    recent = sum(now - week < act["event_at"] <= now for act in acts)
    before = sum(now - 5 * week < act["event_at"] <= now - week for act in acts) / 4
    if not recent and not before:
        reason = NO_EVENTS if not acts else "no acts within five weeks"
        return {"direction": None, "last_week": 0, "mean_week_before": 0.0, "reason": reason}
    # One act is added to both sides, so that few acts do not make a trend.
    ratio = (recent + 1) / (before + 1)
    direction = "rising" if ratio >= 1.5 else "falling" if ratio <= 2 / 3 else "steady"
    return {"direction": direction, "last_week": recent, "mean_week_before": before, "reason": None}


def anomalies(acts: Sequence[Event]) -> dict[str, Any]:
    """Recent days unlike the customer's own past, by a robust z-score of what they did on active days.

    z = 0.6745 (x - median) / MAD over the active days before; where more than half of them are equal (MAD 0)
    the mean absolute deviation stands in: z = (x - median) / (1.2533 mean). A day with |z| > 3.5 is shown
    (Iglewicz and Hoaglin 1993), and a device that the customer never used before.
    """
    by_day: dict[int, list[Event]] = defaultdict(list)
    for act in acts:
        by_day[act["event_at"] // DAY].append(act)
    days = sorted(by_day)
    recent = [day for day in days if day > days[-1] - RECENT_DAYS] if days else []
    past = [day for day in days if day not in recent]
    if len(past) < ENOUGH_DAYS:
        return {"found": [], "reason": FEW_DAYS if acts else NO_EVENTS}
    found = []
    for name, measure in _MEASURES.items():
        typical = [measure(by_day[day]) for day in past]
        for day in recent:
            value = measure(by_day[day])
            z = robust_z(value, typical)
            if z is not None and abs(z) > ANOMALOUS:
                found.append(
                    {
                        "measure": name,
                        "day": _date(day),
                        "value": round(value, 2),
                        "typical": round(median(typical), 2),
                        "z": round(z, 2),
                    }
                )
    used = {act.get("device_type") for day in past for act in by_day[day]} - {None}
    for day in recent:
        for device in sorted({act.get("device_type") or "" for act in by_day[day]} - used - {""}):
            if used:
                found.append(
                    {"measure": "new_device", "day": _date(day), "value": device, "typical": None, "z": None}
                )
                used.add(device)
    return {"found": found, "reason": None}


def robust_z(value: float, past: Sequence[float]) -> float | None:
    """How far a value lies from the median of the past; None if the past never varied."""
    middle = median(past)
    spread = median(abs(each - middle) for each in past)
    if spread:
        return 0.6745 * (value - middle) / spread
    mean = fmean(abs(each - middle) for each in past)
    return (value - middle) / (1.2533 * mean) if mean else None


def _spend(acts: Sequence[Event]) -> float:
    return math.fsum(
        (act.get("price") or 0.0) * (act.get("quantity") or 1.0)
        for act in acts
        if act["event_type"] == "purchase"
    )


_MEASURES: Mapping[str, Callable[[Sequence[Event]], float]] = {
    "acts_a_day": lambda acts: float(len(acts)),
    "items_a_day": lambda acts: float(len({act["item_id"] for act in acts if act.get("item_id")})),
    "spend_a_day": _spend,
}


def _shares(counts: Counter[str]) -> list[dict[str, Any]]:
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]
    return [{"value": value, "count": count, "share": round(count / total, 4)} for value, count in ranked]


def _property(act: Event, describe: Describe, name: str) -> str | None:
    item = describe(act["item_id"]) if act.get("item_id") else None
    found = item.get(name) if item else None
    context = act.get("context")
    if not found and isinstance(context, Mapping):
        found = context.get(name)
    return found if isinstance(found, str) and found else None


def _mean_gap(days: Sequence[int]) -> float | None:
    return round((days[-1] - days[0]) / (len(days) - 1), 3) if len(days) > 1 else None


def _hour(at: int) -> str:
    return f"{at // 3_600_000_000 % 24:02d}:00"


def _weekday(at: int) -> str:
    return WEEKDAYS[(at // DAY + 3) % 7]


def _date(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()
