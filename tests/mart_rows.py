"""Published tables of four days, small enough to add up in the head: for the analytics answers."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.layout import Home

DAYS = [date(2024, 1, day) for day in (28, 29, 30, 31)]
DAILY: list[dict[str, Any]] = [
    {"revenue": 10.0, "order_count": 1, "session_count": 2, "buying_session_count": 1, "new_user_count": 1},
    {"revenue": 0.0, "order_count": 0, "session_count": 2, "buying_session_count": 0, "new_user_count": 0},
    {"revenue": 30.0, "order_count": 1, "session_count": 2, "buying_session_count": 1, "new_user_count": 1},
    {"revenue": 20.0, "order_count": 2, "session_count": 4, "buying_session_count": 2, "new_user_count": 0},
]
ORDERS = [
    ("o1", "anna", 10.0, 1, DAYS[0]),
    ("o2", "anna", 30.0, 2, DAYS[2]),
    ("o3", "bert", 12.0, 1, DAYS[3]),
    ("o4", None, 8.0, 1, DAYS[3]),
]
SESSIONS = [
    ("anna", "web", "desktop", 1, DAYS[0]),
    ("bert", "web", "mobile", 0, DAYS[0]),
    ("anna", "web", "desktop", 1, DAYS[2]),
    ("bert", "email", "mobile", 0, DAYS[2]),
    ("bert", "web", "mobile", 1, DAYS[3]),
    (None, "web", None, 1, DAYS[3]),
]
# Item, category, price, cost, stock.
ITEMS = [
    ("mug", "kitchen", 10.0, 4.0, 10),
    ("lamp", "light", 30.0, 33.0, 2),
    ("pot", "kitchen", 12.0, None, 5),
    ("rug", None, 50.0, 20.0, 3),
]
# Customer, item, units, spend, day: what known customers bought.
LINES = [
    ("anna", "mug", 1.0, 10.0, DAYS[0]),
    ("anna", "lamp", 1.0, 30.0, DAYS[2]),
    ("bert", "pot", 1.0, 12.0, DAYS[3]),
]


def publish_marts(home: Home) -> None:
    """Write the tables below `marts/current`, beside what is there already."""
    at = {day: datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in DAYS}
    daily = [
        {
            "event_count": 10,
            "unit_count": float(each["order_count"]),
            "bounce_count": 0,
            "return_amount": 0.0,
            "active_user_count": 2,
            "conversion_rate": each["buying_session_count"] / each["session_count"],
            "event_date": day,
            **each,
        }
        for day, each in zip(DAYS, DAILY, strict=True)
    ]
    orders = [
        {
            "order_id": order,
            "user_id": user,
            "currency": "EUR",
            "amount": amount,
            "line_count": lines,
            "order_date": day,
            "ordered_at": at[day],
        }
        for order, user, amount, lines, day in ORDERS
    ]
    sessions = [
        {
            "user_id": user,
            "channel": channel,
            "device_type": device,
            "order_count": count,
            "event_count": 4,
            "duration_seconds": 100.0,
            "session_date": day,
        }
        for user, channel, device, count, day in SESSIONS
    ]
    items = [
        {
            "item_id": item,
            "title": item.title(),
            "category": category,
            "price": price,
            "cost": cost,
            "stock": stock,
            "last_sold_at": None if item == "rug" else at[DAYS[3]],
        }
        for item, category, price, cost, stock in ITEMS
    ]
    customers = [
        _customer("anna", 2, 40.0, at[DAYS[0]], at[DAYS[2]]),
        _customer("bert", 1, 12.0, at[DAYS[3]], at[DAYS[3]]),
        _customer("carl", 0, 0.0, None, None),
    ]
    pairs = [
        {
            "item_id": first,
            "other_item_id": second,
            "relation": "bought",
            "pair_count": 6,
            "lift": 2.0,
            "confidence": 0.5,
        }
        for first, second in (("lamp", "mug"), ("mug", "lamp"))
    ]
    lines = [
        {"user_id": user, "item_id": item, "unit_count": units, "spend": spend, "event_date": day}
        for user, item, units, spend, day in LINES
    ]
    tables = {
        "daily_kpis": daily,
        "orders": orders,
        "sessions": sessions,
        "items": items,
        "customers": customers,
        "item_pairs": pairs,
        "interactions_daily": lines,
    }
    for name, rows in tables.items():
        folder = home.root / "marts" / "current" / name
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")


def publish_predictions(home: Home) -> None:
    """What the models expect of the two customers with an order."""
    rows = [
        {"user_id": "anna", "clv_90d": 1200.0, "churn_probability": 0.1, "value_segment": "high"},
        {"user_id": "bert", "clv_90d": 40.0, "churn_probability": 0.8, "value_segment": "at_risk"},
    ]
    folder: Path = home.prediction("user_predictions")
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "2024-02-01.parquet")


def _customer(
    user: str, orders: int, spend: float, first: datetime | None, last: datetime | None
) -> dict[str, Any]:
    return {
        "user_id": user,
        "order_count": orders,
        "spend_total": spend,
        "first_order_at": first,
        "last_order_at": last,
    }
