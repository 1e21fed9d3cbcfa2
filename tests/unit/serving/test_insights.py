"""Insights are functions of the events: nothing is invented, and the customer's own past is the measure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from serving.decisions.insights import DAY, FEW_DAYS, NO_EVENTS, habits, price_sensitivity, robust_z, trend
from serving.decisions.insights import stored_engagement as engagement_of
from serving.decisions.segments import PriceBands

BANDS = PriceBands(5.0, 20.0)
CATALOGUE = {
    "mug": {"category": "kitchen", "brand": "A", "price": 4.0},
    "pot": {"category": "kitchen", "brand": "B", "price": 12.0},
    "lamp": {"category": "light", "brand": "C", "price": 30.0},
}
# A Monday, 00:00 UTC.
MONDAY = 19_723 * DAY
HOUR = 3_600_000_000


def event(kind: str, at: int, item: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"event_id": f"{kind}-{at}-{item}", "event_type": kind, "event_at": at, "item_id": item, **fields}


def insight(events: list[dict[str, Any]], now: int = MONDAY + 60 * DAY) -> dict[str, Any]:
    return habits(events, CATALOGUE.get, BANDS, now)


def test_of_a_stranger_nothing_is_said_and_every_part_says_why() -> None:
    found = insight([])
    assert found["frequency"]["event_count"] == 0
    assert found["frequency"]["events_per_active_day"] is None
    for name in ("preferred_hours", "preferred_weekdays", "devices", "channels", "categories", "brands"):
        assert found[name] == {"top": [], "reason": NO_EVENTS}
    assert found["price_sensitivity"]["level"] is None and found["price_sensitivity"]["reason"]
    assert found["anomalies"] == {"found": [], "reason": NO_EVENTS}


def test_frequency_counts_days_sessions_and_orders() -> None:
    events = [
        event("product_view", MONDAY, "mug"),
        event("product_view", MONDAY + HOUR, "mug"),
        event("purchase", MONDAY + 2 * DAY, "mug", price=4.0, order_id="o1"),
        event("purchase", MONDAY + 2 * DAY, "pot", price=12.0, order_id="o1"),
        event("purchase", MONDAY + 6 * DAY, "pot", price=12.0, order_id="o2"),
        event("email_sent", MONDAY + 9 * DAY),
    ]
    assert insight(events)["frequency"] == {
        "event_count": 5,
        "active_days": 3,
        "sessions": 4,
        "order_count": 2,
        "events_per_active_day": 1.667,
        "mean_days_between_visits": 3.0,
        "mean_days_between_orders": 4.0,
        "reason": None,
    }


def test_hours_and_weekdays_are_those_of_the_customers_own_acts() -> None:
    events = [
        event("page_view", MONDAY + week * 7 * DAY + 20 * HOUR, device_type="mobile") for week in range(4)
    ]
    events += [event("page_view", MONDAY + DAY + 9 * HOUR), event("email_sent", MONDAY + 3 * HOUR)]
    found = insight(events)
    assert found["preferred_hours"]["top"][0] == {"value": "20:00", "count": 4, "share": 0.8}
    assert [each["value"] for each in found["preferred_weekdays"]["top"]] == ["Monday", "Tuesday"]
    assert found["devices"]["top"] == [{"value": "mobile", "count": 4, "share": 1.0}]


def test_a_habit_of_few_acts_is_not_named() -> None:
    found = insight([event("page_view", MONDAY)])
    assert found["preferred_hours"]["top"] == []
    assert "fewer than 5" in found["preferred_hours"]["reason"]


def test_interests_weigh_acts_and_fade() -> None:
    events = [event("purchase", MONDAY, "mug", price=4.0), event("product_view", MONDAY, "lamp")]
    assert insight(events)["categories"]["top"] == [
        {"value": "kitchen", "share": 0.8333},
        {"value": "light", "share": 0.1667},
    ]
    later = [event("purchase", MONDAY - 720 * DAY, "mug", price=4.0), event("product_view", MONDAY, "lamp")]
    assert insight(later, MONDAY)["categories"]["top"][0]["value"] == "light"
    assert [each["value"] for each in insight(events)["brands"]["top"]] == ["A", "C"]


def test_an_item_outside_the_catalogue_counts_by_what_the_event_says() -> None:
    events = [event("product_view", MONDAY, "novelty", context={"category": "garden"})]
    assert insight(events)["categories"]["top"] == [{"value": "garden", "share": 1.0}]
    assert insight(events)["brands"]["reason"]


@pytest.mark.parametrize(
    ("item", "paid", "level", "low", "discounted"),
    [
        ("mug", 4.0, "budget", 1.0, 0.0),
        ("mug", 3.0, "budget", 1.0, 1.0),
        ("pot", 12.0, "regular", 0.0, 0.0),
        ("lamp", 29.5, "premium", 0.0, 0.0),
    ],
)
def test_price_sensitivity_is_two_shares_of_what_was_bought(
    item: str, paid: float, level: str, low: float, discounted: float
) -> None:
    bought = [event("purchase", MONDAY + number, item, price=paid) for number in range(3)]
    found = price_sensitivity(bought, CATALOGUE.get, BANDS)
    assert (found["level"], found["low_price_share"], found["discounted_share"]) == (level, low, discounted)


def test_prices_are_not_judged_before_three_purchases() -> None:
    bought = [event("purchase", MONDAY + number, "mug", price=4.0) for number in range(2)]
    found = price_sensitivity(bought, CATALOGUE.get, BANDS)
    assert found["level"] is None and found["purchases"] == 2 and "fewer than 3" in found["reason"]


def test_the_trend_compares_a_week_with_the_mean_of_four() -> None:
    now = MONDAY + 35 * DAY
    weekly = [event("page_view", now - week * 7 * DAY - DAY) for week in range(5) for _ in range(4)]
    assert trend(weekly, now)["direction"] == "steady"
    assert trend(weekly + weekly[:4] * 2, now)["direction"] == "rising"
    assert trend(weekly[4:], now)["direction"] == "falling"
    assert trend(weekly, now + 90 * DAY)["direction"] is None


def test_a_day_unlike_the_own_past_is_an_anomaly() -> None:
    acts = [event("page_view", MONDAY + day * DAY + n) for day in range(0, 60, 3) for n in range(2 + day % 2)]
    burst = [event("page_view", MONDAY + 66 * DAY + n, device_type="tablet") for n in range(40)]
    found = insight(acts + burst)["anomalies"]
    assert found["reason"] is None
    assert [each["measure"] for each in found["found"]] == ["acts_a_day"]
    assert found["found"][0]["value"] == 40 and found["found"][0]["z"] > 3.5
    usual = [event("page_view", MONDAY + 66 * DAY + n) for n in range(2)]
    assert insight(acts + usual)["anomalies"]["found"] == []


def test_a_device_never_used_before_is_named() -> None:
    acts = [event("page_view", MONDAY + day * DAY, device_type="mobile") for day in range(20)]
    new = event("page_view", MONDAY + 40 * DAY, device_type="tablet")
    [found] = insight([*acts, new])["anomalies"]["found"]
    assert (found["measure"], found["value"]) == ("new_device", "tablet")


def test_a_short_past_has_no_anomalies() -> None:
    found = insight([event("page_view", MONDAY + day * DAY) for day in range(5)])["anomalies"]
    assert found == {"found": [], "reason": FEW_DAYS}


def test_the_robust_score_is_the_published_one() -> None:
    past = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert robust_z(8.0, past) == pytest.approx(0.6745 * 5)
    assert robust_z(3.0, [3.0] * 9) is None
    assert robust_z(4.0, [3.0] * 9 + [5.0]) == pytest.approx(1 / (1.2533 * 0.2))


def test_what_the_batch_counted_fades_until_its_end() -> None:
    counted_at = datetime(2026, 1, 1, tzinfo=UTC)
    row = {"events_decay_30d": 20.0, "feature_at": counted_at}
    assert engagement_of(row, counted_at) == 0.5
    assert engagement_of(row, counted_at + timedelta(days=30)) == 0.25
    assert engagement_of({**row, "events_decay_30d": 400.0}, counted_at) == 1.0
    assert engagement_of({"feature_at": counted_at}, counted_at) is None
