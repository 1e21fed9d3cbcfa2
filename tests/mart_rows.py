"""Published tables of four days, small enough to add up in the head: for the analytics answers."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.layout import Home
from orchestration.figures import FIGURES, read_figures
from orchestration.marts import TRANSFORMS

DAYS = [date(2024, 1, day) for day in (28, 29, 30, 31)]
ORDERS = [
    ("o1", "anna", 10.0, 1, DAYS[0]),
    ("o2", "anna", 30.0, 2, DAYS[2]),
    ("o3", "bert", 12.0, 1, DAYS[3]),
    ("o4", None, 8.0, 1, DAYS[3]),
]
# Channel, device, type of customer, whether it holds an order and of what amount, day.
SESSIONS = [
    ("web", "desktop", "prospect", 10.0, DAYS[0]),
    ("web", "mobile", "prospect", 0.0, DAYS[0]),
    ("web", "desktop", "customer", 0.0, DAYS[1]),
    ("web", "mobile", "prospect", 0.0, DAYS[1]),
    ("web", "desktop", "customer", 30.0, DAYS[2]),
    ("email", "mobile", "prospect", 0.0, DAYS[2]),
    ("web", "mobile", "prospect", 12.0, DAYS[3]),
    ("web", "unknown", "anonymous", 8.0, DAYS[3]),
    ("web", "unknown", "anonymous", 0.0, DAYS[3]),
    ("email", "mobile", "customer", 0.0, DAYS[3]),
]
# Item, category, price, cost, stock.
ITEMS = [
    ("mug", "kitchen", 10.0, 4.0, 10),
    ("lamp", "light", 30.0, 33.0, 2),
    ("pot", "kitchen", 12.0, None, 5),
    ("rug", None, 50.0, 20.0, 3),
]
# Item, units, revenue, day: what was sold.
SALES = [
    ("mug", 1.0, 10.0, DAYS[0]),
    ("lamp", 1.0, 30.0, DAYS[2]),
    ("pot", 1.0, 12.0, DAYS[3]),
    ("pot", 1.0, 8.0, DAYS[3]),
]
# Who was there on which days: Anna from the first, Bert from the second; of both the last is an order.
GAPS = [
    ("active", 0, 1, DAYS[0]),
    ("active", 0, 1, DAYS[1]),
    ("active", 2, 1, DAYS[2]),
    ("active", 2, 1, DAYS[3]),
    ("bought", 0, 1, DAYS[0]),
    ("bought", 2, 1, DAYS[2]),
    ("bought", 0, 1, DAYS[3]),
]
MEASURES = (
    "session_count",
    "viewing_session_count",
    "carting_session_count",
    "checkout_session_count",
    "buying_session_count",
    "bounce_count",
    "session_seconds",
    "event_count",
    "order_count",
    "revenue",
    "basket_count",
    "multi_item_basket_count",
    "basket_amount",
    "multi_item_basket_amount",
    "new_user_count",
    "new_customer_count",
    "return_amount",
    "unit_count",
    "costed_revenue",
    "cost_of_goods",
)
METHODS = ("first_touch", "last_touch", "linear", "position_based", "time_decay")


def publish_marts(home: Home) -> None:
    """Write the tables below `marts/current`, beside what is there already."""
    at = {day: datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in DAYS}
    daily = [
        {"event_date": day, "active_user_count": 1, "visitor_count": 2, "return_amount": 0.0} for day in DAYS
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
    items = [
        {
            "item_id": item,
            "title": item.title(),
            "category": category,
            "price": price,
            "cost": cost,
            "stock": stock,
            "is_catalogued": True,
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
    sales = [
        {"item_id": item, "unit_count": units, "revenue": revenue, "served_count": 0, "event_date": day}
        for item, units, revenue, day in SALES
    ]
    sales.append(sales[0] | {"item_id": "rug", "unit_count": 0.0, "revenue": 0.0, "served_count": 3})
    gaps = [
        {"activity": activity, "gap_days": gap, "user_count": count, "event_date": day}
        for activity, gap, count, day in GAPS
    ]
    tables: dict[str, list[dict[str, Any]]] = {
        "daily_kpis": daily,
        "metrics_daily": metrics(),
        "activity_gaps": gaps,
        "orders": orders,
        "items": items,
        "customers": customers,
        "item_pairs": pairs,
        "items_daily": sales,
        **OTHER_MARTS,
    }
    current = home.root / "marts" / "current"
    for name, rows in tables.items():
        (current / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), current / name / "all.parquet")
    (current / FIGURES).write_text(json.dumps(read_figures(TRANSFORMS)))


def metrics() -> list[dict[str, Any]]:
    """`metrics_daily` of the sessions and sales above."""
    rows: dict[tuple[date, str, str], dict[str, Any]] = {}
    for channel, device, who, amount, day in SESSIONS:
        for dimension, member in (
            ("all", "all"),
            ("channel", channel),
            ("device_type", device),
            ("customer_type", who),
        ):
            row = rows.setdefault((day, dimension, member), dict.fromkeys(MEASURES, 0))
            row["session_count"] += 1
            row["viewing_session_count"] += 1
            row["buying_session_count"] += amount > 0
            row["order_count"] += amount > 0
            row["event_count"] += 4
            row["session_seconds"] += 100.0
            row["revenue"] += amount
    categories = {item: (category or "unknown", cost) for item, category, _, cost, _ in ITEMS}
    for item, units, revenue, day in SALES:
        category, cost = categories[item]
        for dimension, member in (("all", "all"), ("category", category)):
            row = rows.setdefault((day, dimension, member), dict.fromkeys(MEASURES, 0))
            row["unit_count"] += units
            if dimension == "category":
                row["revenue"] += revenue
            if cost is not None:
                row["costed_revenue"] += revenue
                row["cost_of_goods"] += units * cost
    for _, _, amount, lines, day in ORDERS:
        row = rows[day, "all", "all"]
        row["basket_count"] += 1
        row["basket_amount"] += amount
        row["multi_item_basket_count"] += lines > 1
        row["multi_item_basket_amount"] += amount if lines > 1 else 0
    return [
        {
            "event_date": day,
            "dimension": dimension,
            "member": member,
            **{name: float(value) if _is_amount(name) else int(value) for name, value in row.items()},
        }
        for (day, dimension, member), row in rows.items()
    ]


def _is_amount(name: str) -> bool:
    return not name.endswith("_count") or name == "unit_count"


def credit(channel: str, campaign: str, day: date, revenue: float, customers: float) -> dict[str, Any]:
    """One row of `attribution_daily` in which every rule says the same."""
    row: dict[str, Any] = {"channel": channel, "campaign_id": campaign, "event_date": day}
    for method in METHODS:
        values = {"orders": 1.0, "revenue": revenue, "new_customers": customers}
        row |= {f"{method}_{name}": value for name, value in values.items()}
    return row


OTHER_MARTS: dict[str, list[dict[str, Any]]] = {
    "cohorts": [
        {
            "cohort_month": date(2024, 1, 1),
            "month": date(2024, 1, 1),
            "user_count": 2,
            "buyer_count": 2,
            "order_count": 3,
            "revenue": 52.0,
        }
    ],
    "recommendations_daily": [
        {
            "event_date": DAYS[2],
            "kind": kind,
            "algorithm": algorithm,
            "slot": "list",
            "release": "r",
            "customer_type": who,
            "answer_count": answers,
            "served_count": served,
            "viewed_count": viewed,
            "clicked_count": clicked,
            "carted_count": carted,
            "bought_count": bought,
            "revenue": revenue,
        }
        for kind, algorithm, who, answers, served, viewed, clicked, carted, bought, revenue in (
            ("recommendations", "als", "customer", 3, 6, 0, 2, 1, 1, 9.0),
            ("recommendations", "popular", "anonymous", 1, 2, 0, 0, 0, 0, 0.0),
            ("bundle_events", "cross_sell", "customer", 0, 0, 4, 2, 1, 0, 0.0),
        )
    ],
    "offers_daily": [
        {
            "event_date": DAYS[2],
            "offer_type": "category_bonuses",
            "served_count": 10,
            "viewed_count": 4,
            "clicked_count": 1,
            "redeemed_count": 1,
            "responded_count": 2,
            "expected_responses": 0.2,
        }
    ],
    "attribution_daily": [
        credit("email", "c1", DAYS[2], 30.0, 0.0),
        credit("search", "", DAYS[3], 12.0, 1.0),
        credit("none", "", DAYS[3], 8.0, 0.0),
    ],
    "campaigns_daily": [
        {
            "event_date": DAYS[1],
            "campaign_id": "c1",
            "channel": "email",
            "arm": arm,
            "user_count": users,
            "opened_count": opened,
            "clicked_count": 0,
            "buyer_count": buyers,
            "order_count": buyers,
            "revenue": revenue,
        }
        for arm, users, opened, buyers, revenue in (("treated", 4, 2, 1, 30.0), ("held_out", 2, 0, 1, 5.0))
    ],
    "marketing_spend": [{"event_date": DAYS[3], "channel": "search", "campaign_id": "", "amount": 6.0}],
    "journeys_daily": [
        {
            "event_date": DAYS[3],
            "path": path,
            "visit_count": visits,
            "buying_visit_count": buying,
            "step_count": visits * (path.count(">") + 1),
            "revenue": revenue,
        }
        for path, visits, buying, revenue in (
            ("landing > product", 3, 0, 0.0),
            ("landing > product > cart > checkout > order", 1, 1, 20.0),
        )
    ],
}


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
