"""The figures of the analytics answers, from the published tables: SQL over Parquet, one function a report.

Each takes a DuckDB connection on which the tables are views, and a period of whole days in data time. A
number that the data cannot give is null and named in `unavailable` with the reason; `definitions` says what
each means.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb

from serving.decisions.segments import LoyaltyRules

Figures = dict[str, Any]
TABLES = ("daily_kpis", "orders", "customers", "items", "sessions", "item_pairs", "interactions_daily")
MAX_TREND_DAYS = 92
NO_MARKETING = "no source tells what marketing costs"
STRATEGIES = {
    "high": "premium service and early access",
    "medium": "engagement: bring them back more often",
    "low": "retain and upsell",
    "at_risk": "win back with an offer",
    "churned": "re-activate",
}


@dataclass(frozen=True, slots=True)
class Period:
    """Whole UTC days, both ends included; `data_until` is the last day of the tables."""

    first: date
    last: date
    data_until: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> "Period":
        """The period of the same length that ends where this one begins."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1), self.data_until)


def one(connection: duckdb.DuckDBPyConnection, sql: str, *values: object) -> Figures:
    """The only row of an answer, by column."""
    found = connection.execute(sql, list(values))
    names = [each[0] for each in found.description or ()]
    row = found.fetchone() or (None,) * len(names)
    return dict(zip(names, row, strict=True))


def many(connection: duckdb.DuckDBPyConnection, sql: str, *values: object) -> list[Figures]:
    """Every row of an answer, by column."""
    found = connection.execute(sql, list(values))
    names = [each[0] for each in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


KPIS = """
    select
        coalesce(sum(revenue), 0) as revenue,
        coalesce(sum(order_count), 0)::bigint as orders,
        sum(revenue) / nullif(sum(order_count), 0) as average_order_value,
        coalesce(sum(unit_count), 0) as units,
        coalesce(sum(return_amount), 0) as return_amount,
        coalesce(sum(event_count), 0)::bigint as activities,
        coalesce(sum(session_count), 0)::bigint as sessions,
        sum(buying_session_count) / nullif(sum(session_count), 0) as conversion_rate,
        sum(bounce_count) / nullif(sum(session_count), 0) as bounce_rate,
        coalesce(sum(new_user_count), 0)::bigint as new_users
    from daily_kpis where event_date between ? and ?
"""
KPI_DEFINITIONS = {
    "revenue": "units times price of the orders begun in the period, before returns",
    "orders": "orders begun, guests included",
    "average_order_value": "revenue over orders",
    "units": "units in those orders",
    "return_amount": "value of the returns of the period, whenever the order was",
    "activities": "events",
    "sessions": "sessions begun: no gap above 30 minutes",
    "conversion_rate": "share of sessions with an order",
    "bounce_rate": "share of sessions with one event",
    "new_users": "customers whose first event is in the period",
    "active_users": "customers with a session in the period",
    "change": "share by which a figure differs from the period of the same length before; null without one",
}


def kpis(connection: duckdb.DuckDBPyConnection, period: Period) -> Figures:
    """The key figures of a period."""
    figures = one(connection, KPIS, period.first, period.last)
    active = one(
        connection,
        "select count(distinct user_id) as active_users from sessions where session_date between ? and ?",
        period.first,
        period.last,
    )
    return figures | active


def overview(connection: duckdb.DuckDBPyConnection, period: Period) -> Figures:
    """Key figures, how they changed, and the days."""
    now, before = kpis(connection, period), kpis(connection, period.before)
    trend = many(
        connection,
        "select event_date::varchar as date, revenue, order_count as orders, session_count as sessions,"
        " active_user_count as active_users, conversion_rate from daily_kpis"
        " where event_date between ? and ? order by event_date",
        max(period.first, period.last - timedelta(days=MAX_TREND_DAYS - 1)),
        period.last,
    )
    change = {name: _change(now[name], before[name]) for name in now}
    return {"kpis": now, "change": change, "trend": trend, "definitions": KPI_DEFINITIONS}


def users(connection: duckdb.DuckDBPyConnection, period: Period) -> Figures:
    """How many customers, how they behave, what is expected of them."""
    totals = one(
        connection, "select count(*) as total_users, count(first_order_at) as buyers_ever from customers"
    )
    sessions = one(
        connection,
        "select count(distinct user_id) as active_users, avg(duration_seconds) as mean_session_seconds,"
        " median(duration_seconds) as median_session_seconds, avg(event_count) as events_per_session"
        " from sessions where session_date between ? and ?",
        period.first,
        period.last,
    )
    kept = one(
        connection,
        "with known as (select user_id, order_date from orders where user_id is not null),"
        " before as (select distinct user_id from known where order_date between ? and ?),"
        " now as (select distinct user_id from known where order_date between ? and ?)"
        " select count(*) as buyers_before, count(now.user_id) as buyers_again,"
        " (select count(*) from now) as buyers from before left join now using (user_id)",
        period.before.first,
        period.before.last,
        period.first,
        period.last,
    )
    retention = kept["buyers_again"] / kept["buyers_before"] if kept["buyers_before"] else None
    predicted = one(connection, PREDICTED)
    unavailable = {}
    if retention is None:
        unavailable["retention_rate"] = unavailable["churn_rate"] = "nobody bought in the period before"
    if predicted["mean_lifetime_value"] is None:
        unavailable["mean_lifetime_value"] = "no release predicts values yet"
    by = {
        name: many(
            connection,
            f"select coalesce({name}, 'unknown') as {name}, count(*) as sessions,"
            " count(distinct user_id) as active_users,"
            " avg((order_count > 0)::int) as conversion_rate from sessions"
            f" where session_date between ? and ? group by 1 order by sessions desc",
            period.first,
            period.last,
        )
        for name in ("channel", "device_type")
    }
    new = one(connection, KPIS, period.first, period.last)["new_users"]
    return {
        **totals,
        "new_users": new,
        **sessions,
        "buyers": kept["buyers"],
        "retention_rate": retention,
        "churn_rate": None if retention is None else 1 - retention,
        **predicted,
        "by_channel": by["channel"],
        "by_device_type": by["device_type"],
        "unavailable": unavailable,
        "definitions": {
            "total_users": "customers that the tables know, with or without an event",
            "active_users": KPI_DEFINITIONS["active_users"],
            "new_users": KPI_DEFINITIONS["new_users"],
            "buyers": "customers with an order in the period",
            "retention_rate": "share of the buyers of the period before who bought in this one",
            "churn_rate": "the others: 1 - retention_rate",
            "mean_lifetime_value": "predicted spend of the next 90 days, mean over customers with an order",
            "mean_churn_probability": "predicted probability of no order in the next 90 days, mean",
            "mean_session_seconds": "from a session's first to its last event",
        },
    }


PREDICTED = """
    select
        avg(clv_90d) as mean_lifetime_value,
        median(clv_90d) as median_lifetime_value,
        sum(clv_90d) as total_lifetime_value,
        avg(churn_probability) as mean_churn_probability,
        sum(clv_90d) filter (value_segment = 'at_risk') as lifetime_value_at_risk
    from predictions
"""


def segments(connection: duckdb.DuckDBPyConnection, period: Period) -> Figures:
    """Value segments, loyalty tiers and stages of the life cycle: how many, what they bring."""
    by_value = many(
        connection,
        "select value_segment as segment, count(*) as customers, count(*) / sum(count(*)) over () as share,"
        " avg(clv_90d) as mean_lifetime_value, avg(churn_probability) as mean_churn_probability,"
        " sum(customers.spend_total) as spend_total, avg(customers.order_count) as mean_orders"
        " from predictions left join customers using (user_id)"
        " where value_segment is not null group by 1 order by mean_lifetime_value desc",
    )
    for row in by_value:
        row["strategy"] = STRATEGIES.get(row["segment"])
    rules = LoyaltyRules()
    loyalty = many(
        connection,
        "with recent as (select user_id,"
        " sum(0.5 ** (date_diff('second', ordered_at, ?::timestamptz) / 7776000.0)) as decayed"
        " from orders where user_id is not null group by 1),"
        " tiers as (select case when order_count >= ? and decayed >= ? then 'VIP'"
        " when order_count >= ? and decayed >= ? then 'Premium'"
        " when order_count >= ? then 'Standard' else 'New'"
        " end as tier, spend_total from customers left join recent using (user_id))"
        " select tier, count(*) as customers, sum(spend_total) as spend_total from tiers"
        " group by 1 order by spend_total desc",
        period.data_until + timedelta(days=1),
        rules.vip_orders,
        rules.vip_recent_orders,
        rules.premium_orders,
        rules.premium_recent_orders,
        rules.standard_orders,
    )
    stages = many(
        connection,
        "with ages as (select date_diff('day', first_order_at::date, ?::date) as first_age,"
        " date_diff('day', last_order_at::date, ?::date) as last_age, spend_total from customers)"
        " select case when last_age is null then 'prospect' when first_age < 30 then 'new'"
        " when last_age < 90 then 'active' when last_age < 180 then 'lapsing' else 'lapsed' end as stage,"
        " count(*) as customers, sum(spend_total) as spend_total from ages"
        " group by 1 order by customers desc",
        period.data_until,
        period.data_until,
    )
    unavailable = {} if by_value else {"segments": "no release predicts values yet"}
    return {
        "segments": by_value,
        "loyalty_tiers": loyalty,
        "lifecycle": stages,
        "unavailable": unavailable,
        "definitions": {
            "segments": "by predicted value of 90 days and churn: high, medium, low, at_risk, churned;"
            " customers with an order",
            "loyalty_tiers": "VIP, Premium, Standard, New by orders ever and orders decayed over 90 days",
            "lifecycle": "prospect: no order; new: first order in the last 30 days; active: last order in"
            " the last 90; lapsing: 90 to 180; lapsed: longer ago",
            "spend_total": "spend so far, before returns",
        },
    }


SOLD = """
    with sold as (
        select item_id, sum(unit_count) as units, sum(spend) as revenue
        from interactions_daily where event_date between $1 and $2 and unit_count > 0 group by 1
    ),
    priced as (
        select
            sold.*, items.title, coalesce(items.category, 'unknown') as category,
            items.cost, items.stock, items.price,
            sold.revenue - sold.units * items.cost as margin
        from sold left join items using (item_id)
    )
"""


def profit(connection: duckdb.DuckDBPyConnection, period: Period) -> Figures:
    """Margins, stock and retention: what is earned, where, and what is at risk."""
    first, last = period.first, period.last
    total = one(
        connection,
        SOLD
        + "select sum(revenue) filter (cost is not null) as costed_revenue, sum(revenue) as known_revenue,"
        " sum(units * cost) as cost_of_goods, sum(margin) as gross_margin,"
        " sum(margin) / nullif(sum(revenue) filter (cost is not null), 0) as margin_rate from priced",
        first,
        last,
    )
    revenue = one(connection, KPIS, first, last)
    covered = (
        total["costed_revenue"] / revenue["revenue"]
        if total["costed_revenue"] and revenue["revenue"]
        else None
    )
    categories = many(
        connection,
        SOLD + "select category, sum(revenue) as revenue, sum(margin) as gross_margin,"
        " sum(margin) / nullif(sum(revenue) filter (cost is not null), 0) as margin_rate"
        " from priced group by 1 order by revenue desc limit 50",
        first,
        last,
    )
    best = many(
        connection,
        SOLD + "select item_id, title, units, revenue, margin as gross_margin from priced"
        " where margin is not null order by margin desc, item_id limit 10",
        first,
        last,
    )
    losing = many(
        connection,
        SOLD + "select item_id, title, units, revenue, margin as gross_margin from priced"
        " where margin < 0 order by margin, item_id limit 10",
        first,
        last,
    )
    stock = one(
        connection,
        SOLD + "select sum(items.stock * items.cost) as stock_value,"
        " sum(priced.units * items.cost) * 365.0 / $3 / nullif(sum(items.stock * items.cost), 0)"
        " as inventory_turnover, count(*) filter (items.stock > 0 and (items.last_sold_at is null or"
        " items.last_sold_at::date <= $4::date - 90)) as unsold_90_days,"
        " count(*) filter (items.stock = 0) as out_of_stock"
        " from items left join priced using (item_id)",
        first,
        last,
        period.days,
        period.data_until,
    )
    predicted = one(connection, PREDICTED)
    unavailable = {"customer_acquisition_cost": NO_MARKETING, "marketing_return": NO_MARKETING}
    if total["gross_margin"] is None:
        unavailable["gross_margin"] = unavailable["margin_rate"] = (
            "the catalogue gives no costs for what was sold"
        )
    if stock["stock_value"] is None:
        unavailable["inventory_turnover"] = "the catalogue gives no stock or no costs"
    if predicted["lifetime_value_at_risk"] is None:
        unavailable["lifetime_value_at_risk"] = "no release predicts values yet, or nobody is at risk"
    return {
        "revenue": revenue["revenue"],
        "return_amount": revenue["return_amount"],
        "cost_of_goods": total["cost_of_goods"],
        "gross_margin": total["gross_margin"],
        "margin_rate": total["margin_rate"],
        "margin_coverage": covered,
        "by_category": categories,
        "best_items": best,
        "losing_items": losing,
        "inventory": stock,
        "retention": {
            "lifetime_value_at_risk": predicted["lifetime_value_at_risk"],
            "total_lifetime_value": predicted["total_lifetime_value"],
            "mean_churn_probability": predicted["mean_churn_probability"],
        },
        "customer_acquisition_cost": None,
        "marketing_return": None,
        "unavailable": unavailable,
        "definitions": {
            "revenue": KPI_DEFINITIONS["revenue"],
            "cost_of_goods": "units sold to known customers times the catalogue's present cost",
            "gross_margin": "their spend less that cost, of items whose cost is known",
            "margin_rate": "gross_margin over the revenue it refers to",
            "margin_coverage": "share of all revenue that the margin refers to; the rest: guests, no cost",
            "inventory_turnover": "cost of goods of the period, as of a year, over the stock of now at cost",
            "unsold_90_days": "items in stock that nobody bought in the last 90 days",
            "lifetime_value_at_risk": "predicted spend of 90 days of the at_risk segment",
        },
    }


def opportunities(connection: duckdb.DuckDBPyConnection, period: Period) -> Figures:
    """The profit figures, and what they suggest: each suggestion with the numbers behind it."""
    figures = profit(connection, period)
    found: list[Figures] = []
    for item in figures["losing_items"]:
        found.append({"area": "pricing", "action": "sold below cost: raise the price or end it", **item})
    for row in many(
        connection,
        SOLD + "select item_id, title, units, revenue, stock from priced"
        " where stock is not null and stock < units * 14.0 / $3 order by revenue desc, item_id limit 5",
        period.first,
        period.last,
        period.days,
    ):
        found.append(
            {"area": "inventory", "action": "stock for less than two weeks of its sales: reorder", **row}
        )
    for row in many(
        connection,
        "select item_id, title, stock, stock * cost as stock_value from items"
        " where stock > 0 and cost is not null"
        " and (last_sold_at is null or last_sold_at::date <= ?::date - 90)"
        " order by stock_value desc, item_id limit 5",
        period.data_until,
    ):
        found.append({"area": "inventory", "action": "unsold for 90 days: mark down or bundle", **row})
    at_risk = figures["retention"]["lifetime_value_at_risk"]
    if at_risk:
        found.append(
            {"area": "retention", "action": "win back the at_risk segment", "lifetime_value_at_risk": at_risk}
        )
    for row in many(
        connection,
        "select item_pairs.item_id, other_item_id, pair_count, lift, items.title, others.title as other_title"
        " from item_pairs join items using (item_id) join items as others on others.item_id = other_item_id"
        " where relation = 'bought' and item_pairs.item_id < other_item_id and pair_count >= 5"
        " order by lift * pair_count desc, item_pairs.item_id limit 5",
    ):
        found.append({"area": "bundles", "action": "bought together: offer as a bundle", **row})
    return {**figures, "opportunities": found}


def baskets(connection: duckdb.DuckDBPyConnection, period: Period) -> Figures:
    """What is bought together, with or without our bundles."""
    orders = one(
        connection,
        "select count(*) as orders, avg((line_count > 1)::int) as multi_item_share,"
        " avg(amount) filter (line_count > 1) as multi_item_order_value,"
        " avg(amount) filter (line_count = 1) as single_item_order_value"
        " from orders where order_date between ? and ?",
        period.first,
        period.last,
    )
    pairs = many(
        connection,
        "select item_id, other_item_id, pair_count, lift, confidence from item_pairs"
        " where relation = 'bought' and item_id < other_item_id"
        " order by pair_count desc, lift desc, item_id, other_item_id limit 10",
    )
    return {"baskets": {**orders, "top_pairs": pairs}}


REPORTS: Mapping[str, Callable[[duckdb.DuckDBPyConnection, Period], Figures]] = {
    "overview": overview,
    "users": users,
    "segments": segments,
    "profit": profit,
    "opportunities": opportunities,
    "baskets": baskets,
}


def _change(now: Any, before: Any) -> float | None:
    return (now - before) / before if now is not None and before else None
