"""The dashboards: which figures, series and tables each shows.

Figures that a mart describes are named only; what it takes a query for stands here with its meaning.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import pairwise

from serving.decisions.segments import LoyaltyRules
from serving.figures import Rows
from serving.sheets import Column, Sheet

PREDICTIONS = "models/predictions"
CUSTOMERS = "transforms/customers"
ITEMS = "transforms/items"
NO_PREDICTIONS = "no release predicts values yet"
NO_STOCK = "the catalogue gives no stock or no costs"
METHODS = ("first_touch", "last_touch", "linear", "position_based", "time_decay")
SESSION_FIGURES = ("sessions", "conversion_rate", "revenue", "average_order_value", "bounce_rate")
RECOMMENDATION_FIGURES = (
    "items_shown",
    "clicks",
    "conversions",
    "click_through_rate",
    "recommendation_conversion_rate",
    "recommendation_revenue",
)
STRATEGIES = {
    "high": "premium service and early access",
    "medium": "engagement: bring them back more often",
    "low": "retain and upsell",
    "at_risk": "win back with an offer",
    "churned": "re-activate",
}
TEXT = Column("text", "Name.")
CUSTOMER_COUNT = Column("users", "Customers.")
FUNNEL = ("view_rate", "cart_rate", "checkout_rate", "conversion_rate")


def overview(sheet: Sheet) -> None:
    """What the shop earns and from whom, and how that changes."""
    sheet.figures(
        "revenue", "orders", "average_order_value", "active_users", "new_users", "total_users", "sessions",
        "activities", "conversion_rate", "buyers", "retention_rate", "revenue_per_user", "gross_margin",
        "margin_rate", "click_through_rate", "recommendation_revenue", "recommendation_revenue_share",
        "incremental_revenue", "marketing_spend", "customer_acquisition_cost",
    )  # fmt: skip
    sheet.series("revenue", "orders", "sessions", "users_a_day", "conversion_rate", "average_order_value")
    _by_visit(sheet)


def users(sheet: Sheet) -> None:
    """How many customers, how they behave, whether they stay, what is expected of them."""
    sheet.figures(
        "total_users", "active_users", "new_users", "new_customers", "buyers", "retention_rate", "churn_rate",
        "mean_session_seconds", "events_per_session", "bounce_rate", "sessions", "average_order_value",
        "revenue_per_user",
    )  # fmt: skip
    sheet.series("users_a_day", "new_users", "sessions", "mean_session_seconds", "events_per_session")
    _by_visit(sheet)
    _predicted(sheet)
    cohorts(sheet)
    funnel(sheet)


def segments(sheet: Sheet) -> None:
    """Value segments, loyalty tiers and stages of the life cycle: who is in them, and who moved."""
    _predicted(sheet)
    book = sheet.book
    rows = book.many(
        "select value_segment as segment, count(*) as customers, count(*) / sum(count(*)) over () as share,"
        " avg(clv_90d) as mean_lifetime_value, avg(churn_probability) as mean_churn_probability,"
        " sum(customers.spend_total) as spend_total, avg(customers.order_count) as mean_orders"
        " from predictions left join customers using (user_id)"
        " where not is_earlier and value_segment is not null group by 1 order by mean_lifetime_value desc"
    )
    for row in rows:
        row["strategy"] = STRATEGIES.get(row["segment"])
    sheet.table("segments", rows, SEGMENT_COLUMNS, PREDICTIONS)
    moves = book.many(
        "select before.value_segment as segment_before, now.value_segment as segment, count(*) as customers"
        " from predictions as now join predictions as before on now.user_id = before.user_id"
        " where not now.is_earlier and before.is_earlier and now.value_segment is not null"
        " and before.value_segment is not null group by all order by 3 desc, 1, 2"
    )
    sheet.table("moves", moves, MOVE_COLUMNS, PREDICTIONS)
    rules = LoyaltyRules()
    end = sheet.ask.period.data_until + timedelta(days=1)
    tiers = book.many(
        "with recent as (select user_id,"
        " sum(0.5 ** (date_diff('second', ordered_at, ?::timestamptz) / 7776000.0)) as decayed"
        " from orders where user_id is not null group by 1),"
        " tiers as (select case when order_count >= ? and decayed >= ? then 'VIP'"
        " when order_count >= ? and decayed >= ? then 'Premium'"
        " when order_count >= ? then 'Standard' else 'New'"
        " end as tier, spend_total from customers left join recent using (user_id))"
        " select tier, count(*) as customers, sum(spend_total) as spend_total from tiers"
        " group by 1 order by spend_total desc, tier",
        end,
        rules.vip_orders,
        rules.vip_recent_orders,
        rules.premium_orders,
        rules.premium_recent_orders,
        rules.standard_orders,
    )
    sheet.table("loyalty_tiers", tiers, TIER_COLUMNS, CUSTOMERS)
    stages = book.many(
        "with ages as (select date_diff('day', first_order_at::date, ?::date) as first_age,"
        " date_diff('day', last_order_at::date, ?::date) as last_age, spend_total from customers)"
        " select case when last_age is null then 'prospect' when first_age < 30 then 'new'"
        " when last_age < 90 then 'active' when last_age < 180 then 'lapsing' else 'lapsed' end as stage,"
        " count(*) as customers, sum(spend_total) as spend_total from ages"
        " group by 1 order by customers desc, stage",
        sheet.ask.period.data_until,
        sheet.ask.period.data_until,
    )
    sheet.table("lifecycle", stages, STAGE_COLUMNS, CUSTOMERS)


def recommendations(sheet: Sheet) -> None:
    """What was served, and what came of it."""
    sheet.figures(
        "answers", *RECOMMENDATION_FIGURES, "carts", "recommendation_revenue_share", "items_recommended",
        "catalogue_coverage", "personalized_share",
    )  # fmt: skip
    sheet.series(
        "items_shown", "click_through_rate", "recommendation_conversion_rate", "recommendation_revenue"
    )
    for dimension in ("algorithm", "kind", "slot", "release", "customer_type"):
        sheet.by(f"by_{dimension}", dimension, RECOMMENDATION_FIGURES)


def profit(sheet: Sheet) -> None:
    """What is earned, where, what lies in stock, and what is at risk."""
    sheet.figures(
        "revenue", "cost_of_goods", "gross_margin", "margin_rate", "margin_coverage", "return_amount",
        "return_rate", "units", "revenue_per_user", "average_order_value", "marketing_spend",
        "customer_acquisition_cost", "revenue_per_spend", "incremental_revenue", "incremental_return",
    )  # fmt: skip
    sheet.series("revenue", "gross_margin", "margin_rate", "return_amount", "marketing_spend")
    sheet.by("by_category", "category", ("revenue", "units", "gross_margin", "margin_rate"))
    _marketing(sheet)
    best = "where margin is not null order by margin desc, item_id limit 10"
    losing = "where margin < 0 order by margin, item_id limit 10"
    for name, condition in (("best_items", best), ("losing_items", losing)):
        rows = _sold(
            sheet, f"select item_id, title, units, revenue, margin as gross_margin from priced {condition}"
        )
        sheet.table(name, rows, ITEM_COLUMNS, "transforms/items_daily")
    _stock(sheet)
    _predicted(sheet)


def opportunities(sheet: Sheet) -> None:
    """The profit figures, and what they suggest, each with the numbers behind it."""
    profit(sheet)
    found = _sold(
        sheet,
        "select 'pricing' as area, 'sold below cost: raise the price or end it' as action, item_id, title,"
        " margin as amount from priced where margin < 0 order by margin, item_id limit 10",
    )
    found += _sold(
        sheet,
        "select 'inventory' as area, 'stock for less than two weeks of its sales: reorder' as action,"
        f" item_id, title, revenue as amount from priced where stock < units * 14.0 / {sheet.ask.period.days}"
        " order by revenue desc, item_id limit 5",
    )
    found += sheet.book.many(
        "select 'inventory' as area, 'unsold for 90 days: mark down or bundle' as action, item_id, title,"
        " stock * cost as amount from items where stock > 0 and cost is not null"
        " and (last_sold_at is null or last_sold_at::date <= ?::date - 90) order by 5 desc, item_id limit 5",
        sheet.ask.period.data_until,
    )
    found += sheet.book.many(
        "select 'retention' as area, 'win back the at_risk segment' as action, sum(clv_90d) as amount"
        " from predictions where not is_earlier and value_segment = 'at_risk' having sum(clv_90d) > 0"
    )
    found += sheet.book.many(
        "select 'bundles' as area, 'bought together: offer as a bundle' as action, item_pairs.item_id,"
        " items.title, other_item_id, lift from item_pairs join items using (item_id)"
        " where relation = 'bought' and item_pairs.item_id < other_item_id and pair_count >= 5"
        " order by lift * pair_count desc, item_pairs.item_id limit 5"
    )
    sheet.table("opportunities", found, OPPORTUNITY_COLUMNS, "transforms/marts")


def bundles(sheet: Sheet) -> None:
    """What became of bundles, and what is bought together without them."""
    sheet.figures(
        "bundle_views", "bundle_clicks", "bundle_adds", "bundle_conversion_rate", "multi_item_share",
        "multi_item_order_value", "single_item_order_value", "average_order_value",
    )  # fmt: skip
    sheet.series("bundle_views", "bundle_adds", "multi_item_share")
    sheet.by(
        "by_bundle_type",
        "algorithm",
        ("bundle_views", "bundle_clicks", "bundle_adds", "bundle_conversion_rate"),
    )
    pairs = sheet.book.many(
        "select item_id, other_item_id, pair_count, lift, confidence from item_pairs"
        " where relation = 'bought' and item_id < other_item_id"
        " order by pair_count desc, lift desc, item_id, other_item_id limit 10"
    )
    sheet.table("top_pairs", pairs, PAIR_COLUMNS, "transforms/item_pairs")


def campaigns(sheet: Sheet) -> None:
    """What messages did, what they caused, and how revenue is credited to channels."""
    sent = ("messages_sent", "held_out", "open_rate", "message_click_rate", "campaign_conversion_rate")
    caused = ("incremental_revenue", "incremental_revenue_error")
    sheet.figures(*sent, *caused, "marketing_spend", "incremental_return", "revenue_per_spend")
    sheet.series("messages_sent", "open_rate", "message_click_rate")
    sheet.by("campaigns", "campaign_id", (*sent, *caused))
    sheet.by("by_channel", "channel", (*sent, *caused))
    results = sheet.book.many("select * from campaign_results order by campaign_id, channel")
    sheet.table("campaign_results", results, CAMPAIGN_COLUMNS, "analysis/attribution")
    lessons = sheet.book.many("select * from campaign_uplift order by campaign_id")
    sheet.table("campaign_uplift", lessons, UPLIFT_COLUMNS, "campaigns/uplift")
    _offers(sheet)
    _marketing(sheet)


def journeys(sheet: Sheet) -> None:
    """How visits go: the funnel, the most common paths, which step follows which, where they end."""
    sheet.figures("visits", "steps_per_visit", *FUNNEL)
    sheet.series("visits", *FUNNEL)
    funnel(sheet)
    first, last = sheet.ask.period.first, sheet.ask.period.last
    paths = sheet.book.many(
        "select path, sum(visit_count)::bigint as visits, sum(buying_visit_count)::bigint as buying_visits,"
        " sum(revenue) as revenue from journeys_daily where event_date between ? and ? group by path"
        " order by visits desc, path",
        first,
        last,
    )
    source = "transforms/journeys_daily"
    sheet.table("paths", paths[:30], PATH_COLUMNS, source)
    steps, ends = _transitions(paths)
    sheet.table("transitions", steps, TRANSITION_COLUMNS, source)
    sheet.table("drop_offs", ends, DROP_OFF_COLUMNS, source)


def cohorts(sheet: Sheet) -> None:
    """Who came in a month, and how many of them were there in each month after."""
    rows = sheet.book.many(
        "select cohort_month, date_diff('month', cohort_month, month) as months_later, user_count as users,"
        " user_count / first_value(user_count) over (partition by cohort_month order by month) as share,"
        " buyer_count as buyers, revenue from cohorts"
        " where cohort_month >= date_trunc('month', ?::date - interval 12 month) order by all",
        sheet.ask.period.last,
    )
    sheet.table("cohorts", rows, COHORT_COLUMNS, "transforms/cohorts")


def funnel(sheet: Sheet) -> None:
    """Sessions that came so far."""
    figures = sheet.book.values(("sessions", *FUNNEL), sheet.ask.period, sheet.ask.segment)
    total = figures["sessions"] or 0
    rates = (1.0, *(figures[name] or 0.0 for name in FUNNEL))
    names = ("session", "product view", "cart", "checkout", "order")
    rows: Rows = [
        {"step": name, "sessions": round(total * rate), "share": rate}
        for name, rate in zip(names, rates, strict=True)
    ]
    for before, row in pairwise(rows):
        row["kept"] = round(row["sessions"] / before["sessions"], 6) if before["sessions"] else None
    sheet.table("funnel", rows, FUNNEL_COLUMNS, "transforms/metrics_daily")


def _by_visit(sheet: Sheet) -> None:
    for dimension in ("channel", "device_type", "customer_type"):
        sheet.by(f"by_{dimension}", dimension, SESSION_FIGURES)


def _marketing(sheet: Sheet) -> None:
    """Channels: what each costs, and what is credited to it by which rule."""
    sheet.by(
        "attribution",
        "channel",
        (
            *(f"{method}_revenue" for method in METHODS),
            "markov_share",
            "incremental_revenue",
            "incremental_revenue_error",
            "attributed_new_customers",
            "marketing_spend",
            "customer_acquisition_cost",
            "revenue_per_spend",
            "incremental_return",
        ),
    )


def _offers(sheet: Sheet) -> None:
    """Types of offers: what became of them, beside what was promised."""
    rows = sheet.book.many(
        "select offer_type, sum(served_count)::bigint as served, sum(viewed_count)::bigint as viewed,"
        " sum(clicked_count)::bigint as clicked, sum(redeemed_count)::bigint as redeemed,"
        " sum(redeemed_count) / nullif(sum(viewed_count), 0) as redeem_rate,"
        " sum(responded_count) / nullif(sum(viewed_count), 0) as response_rate,"
        " sum(expected_responses) / nullif(sum(viewed_count), 0) as expected_response_rate"
        " from offers_daily where event_date between ? and ? group by 1 order by served desc, offer_type",
        sheet.ask.period.first,
        sheet.ask.period.last,
    )
    sheet.table("offers", rows, OFFER_COLUMNS, "transforms/offers_daily")


def _predicted(sheet: Sheet) -> None:
    found = sheet.book.one(
        "select avg(clv_90d) as mean_lifetime_value, median(clv_90d) as median_lifetime_value,"
        " sum(clv_90d) as total_lifetime_value, avg(churn_probability) as mean_churn_probability,"
        " sum(clv_90d) filter (value_segment = 'at_risk') as lifetime_value_at_risk"
        " from predictions where not is_earlier"
    )
    for name, column in PREDICTED_COLUMNS.items():
        sheet.value(name, found[name], column, PREDICTIONS, NO_PREDICTIONS)


def _stock(sheet: Sheet) -> None:
    [found] = _sold(
        sheet,
        "select sum(items.stock * items.cost) as stock_value,"
        f" sum(priced.units * items.cost) filter (items.stock is not null) * 365.0 / {sheet.ask.period.days}"
        " / nullif(sum(items.stock * items.cost), 0) as inventory_turnover,"
        f" sum(items.stock) filter (items.stock is not null) * {sheet.ask.period.days}"
        " / nullif(sum(priced.units) filter (items.stock is not null), 0) as stock_cover_days,"
        " count(*) filter (items.stock > 0 and (items.last_sold_at is null or"
        f" items.last_sold_at::date <= date '{sheet.ask.period.data_until}' - 90)) as unsold_90_days,"
        " count(*) filter (items.stock = 0) as out_of_stock"
        " from items left join priced using (item_id)",
    )
    for name, column in STOCK_COLUMNS.items():
        sheet.value(name, found[name], column, ITEMS, NO_STOCK)


def _sold(sheet: Sheet, sql: str) -> Rows:
    """A query over `priced`: the items sold in the period with their units, revenue, costs and margin."""
    return sheet.book.many(
        "with sold as (select item_id, sum(unit_count) as units, sum(revenue) as revenue from items_daily"
        " where event_date between ? and ? and unit_count > 0 group by 1),"
        " priced as (select sold.*, items.title, items.cost, items.stock,"
        " sold.revenue - sold.units * items.cost as margin from sold left join items using (item_id)) " + sql,
        sheet.ask.period.first,
        sheet.ask.period.last,
    )


def _transitions(paths: Rows) -> tuple[Rows, Rows]:
    """Which step follows which, and at which visits end: counts and shares of whoever came to the step."""
    steps: dict[tuple[str, str], int] = {}
    ends: dict[str, int] = {}
    came: dict[str, int] = {}
    for row in paths:
        names = row["path"].split(" > ")
        for name in names:
            came[name] = came.get(name, 0) + row["visits"]
        for pair in pairwise(names):
            steps[pair] = steps.get(pair, 0) + row["visits"]
        ends[names[-1]] = ends.get(names[-1], 0) + row["visits"]
    following: Rows = [
        {"step": step, "next_step": after, "times": count, "share": round(count / came[step], 6)}
        for (step, after), count in sorted(steps.items(), key=lambda each: (-each[1], each[0]))
    ]
    ending: Rows = [
        {"step": step, "visits": count, "share": round(count / came[step], 6)}
        for step, count in sorted(ends.items(), key=lambda each: (-each[1], each[0]))
    ]
    return following, ending


SPEND = Column("currency", "Spend so far, before returns.")
SEGMENT_COLUMNS = {
    "segment": Column("text", "high, medium, low, at_risk or churned, by predicted value and churn."),
    "customers": Column("users", "Customers with an order who are in it by the latest predictions."),
    "share": Column("share", "Share of those customers."),
    "mean_lifetime_value": Column("currency", "Predicted spend of the next 90 days, mean."),
    "mean_churn_probability": Column("share", "Predicted probability of no order in the next 90 days, mean."),
    "spend_total": SPEND,
    "mean_orders": Column("orders", "Orders so far, mean."),
    "strategy": Column("text", "What to do about them."),
}
MOVE_COLUMNS = {
    "segment_before": Column("text", "Segment by the predictions before the latest."),
    "segment": Column("text", "Segment by the latest predictions."),
    "customers": CUSTOMER_COUNT,
}
TIER_COLUMNS = {
    "tier": Column("text", "VIP, Premium, Standard, New: orders ever, and orders decayed over 90 days."),
    "customers": CUSTOMER_COUNT,
    "spend_total": SPEND,
}
STAGE_COLUMNS = {
    "stage": Column(
        "text",
        "prospect: no order; new: first order in the last 30 days; active: last order in the last 90;"
        " lapsing: 90 to 180; lapsed: longer ago.",
    ),
    "customers": CUSTOMER_COUNT,
    "spend_total": SPEND,
}
PREDICTED_COLUMNS = {
    "mean_lifetime_value": Column(
        "currency", "Predicted spend of the next 90 days, mean over customers with an order."
    ),
    "median_lifetime_value": Column("currency", "Predicted spend of the next 90 days, median."),
    "total_lifetime_value": Column("currency", "Predicted spend of the next 90 days, of all together."),
    "mean_churn_probability": Column("share", "Predicted probability of no order in the next 90 days, mean."),
    "lifetime_value_at_risk": Column("currency", "Predicted spend of 90 days of the segment at_risk."),
}
ITEM_COLUMNS = {
    "item_id": Column("text", "Item."),
    "title": Column("text", "Its name."),
    "units": Column("units", "Units sold in the period, guests included."),
    "revenue": Column("currency", "Their amount, before returns."),
    "gross_margin": Column("currency", "That less the units times the catalogue's present cost."),
}
STOCK_COLUMNS = {
    "stock_value": Column("currency", "Stock of now times cost."),
    "inventory_turnover": Column(
        "ratio",
        "Cost of goods of the period, as of a year, over the stock of now at cost; both of the items whose"
        " stock and cost are known.",
    ),
    "stock_cover_days": Column("days", "Days that the stock of now lasts at the period's sales."),
    "unsold_90_days": Column("items", "Items in stock that nobody bought in the last 90 days."),
    "out_of_stock": Column("items", "Items of which none is left."),
}
OFFER_COLUMNS = {
    "offer_type": Column("text", "Type of offer."),
    "served": Column("places", "Offers answered in the period; the rest is what came of these in 14 days."),
    "viewed": Column("places", "Offers that were seen; whoever opens or uses one has seen it."),
    "clicked": Column("places", "Offers that were opened."),
    "redeemed": Column("places", "Offers that were used."),
    "redeem_rate": Column("share", "Share of those seen that was used."),
    "response_rate": Column("share", "Share of those seen that was opened or used."),
    "expected_response_rate": Column(
        "share", "That share as each answer promised it, mean over the offers that were seen."
    ),
}
OPPORTUNITY_COLUMNS = {
    "area": Column("text", "pricing, inventory, retention or bundles."),
    "action": Column("text", "What to do."),
    "item_id": Column("text", "Item that it is about."),
    "title": Column("text", "Its name."),
    "amount": Column("currency", "Margin lost, revenue of the period, stock at cost, or predicted spend."),
    "other_item_id": Column("text", "What it is bought with."),
    "lift": Column("ratio", "How much more often both are bought than if by chance."),
}
PAIR_COLUMNS = {
    "item_id": Column("text", "Item."),
    "other_item_id": Column("text", "The item it is bought with."),
    "pair_count": Column("orders", "Orders of the last 90 days with both."),
    "lift": Column("ratio", "How much more often than if by chance."),
    "confidence": Column("share", "Share of the first item's orders that hold the other."),
}
PATH_COLUMNS = {
    "path": Column("text", "First steps of a visit in order, the same in a row once."),
    "visits": Column("visits", "Visits that went so."),
    "buying_visits": Column("visits", "Those with an order."),
    "revenue": Column("currency", "What was bought in them."),
}
TRANSITION_COLUMNS = {
    "step": Column("text", "Step of a visit."),
    "next_step": Column("text", "The step after it."),
    "times": Column("visits", "Times that it followed, among the first 8 steps of visits."),
    "share": Column("share", "Share of the times that the first step was taken."),
}
DROP_OFF_COLUMNS = {
    "step": Column("text", "Last step of a visit, or its eighth."),
    "visits": Column("visits", "Visits that ended there."),
    "share": Column("share", "Share of the times that the step was taken."),
}
UPLIFT_COLUMNS = {
    "campaign_id": Column("text", "Campaign with customers held out."),
    "customers": Column("users", "Customers of both arms whose first contact is a week ago."),
    "effect": Column(
        "currency", "What a message adds to a customer's revenue of the week after, on average."
    ),
    "effect_low": Column("currency", "Lower end of its 95 % interval."),
    "effect_high": Column("currency", "Upper end of it."),
    "qini": Column(
        "currency",
        "What writing to whom the model ranks high adds over writing at random, a customer; 0: nothing.",
    ),
    "qini_low": Column("currency", "Lower end of its 95 % interval; above 0 the model is used."),
    "qini_high": Column("currency", "Upper end of it."),
    "is_used": Column("yes or no", "Whether planning takes whom it pays to write to, by this model."),
    "reason": Column("text", "Why, or why not."),
}
CAMPAIGN_COLUMNS = {
    "campaign_id": Column(
        "text", "Campaign with customers held out, over all its days, whatever the period."
    ),
    "channel": Column("text", "Channel of its messages."),
    "first_date": Column("day", "First day of sending that counts."),
    "last_date": Column("day", "Last one: the week after it is over."),
    "treated_users": Column("users", "Customers who were sent it, once for each day of sending."),
    "held_out_users": Column("users", "Customers who were held out, as often."),
    "treated_conversion": Column("share", "Share of those sent it with an order in the week after."),
    "held_out_conversion": Column("share", "Share of those held out with an order in the same week."),
    "conversion_difference": Column("share", "The former less the latter: what the campaign caused."),
    "conversion_low": Column("share", "Lower end of its 95 % interval, for one look at the end."),
    "conversion_high": Column("share", "Upper end of it."),
    "conversion_always_low": Column("share", "Lower end of the interval that holds however often one looks."),
    "conversion_always_high": Column("share", "Upper end of it; from 100 customers in each arm on."),
    "p_value": Column("probability", "Of a difference this large, either way, if the campaign did nothing."),
    "incremental_revenue": Column(
        "currency",
        "Revenue of the week after over what its customers spend anyway, less what prior spend explains.",
    ),
    "revenue_low": Column("currency", "Lower end of its 95 % interval."),
    "revenue_high": Column("currency", "Upper end of it."),
    "is_ratio_as_planned": Column(
        "yes or no", "Whether the arms have the planned shares; if not, believe none of this. Empty: unknown."
    ),
}
COHORT_COLUMNS = {
    "cohort_month": Column("text", "Month of the first event, by its first day."),
    "months_later": Column("months", "Months after it."),
    "users": Column("users", "Of those customers, active in that month; the last month may not be over."),
    "share": Column("share", "Share of the customers who came in the first month."),
    "buyers": Column("users", "Of those customers, with an order in that month."),
    "revenue": Column("currency", "Their spend in that month, before returns."),
}
FUNNEL_COLUMNS = {
    "step": Column("text", "How far a session came."),
    "sessions": Column("sessions", "Sessions that came so far."),
    "share": Column("share", "Share of all sessions."),
    "kept": Column("share", "Share of the sessions of the step before."),
}

DASHBOARDS: Mapping[str, Callable[[Sheet], None]] = {
    "overview": overview,
    "users": users,
    "segments": segments,
    "recommendations": recommendations,
    "profit": profit,
    "opportunities": opportunities,
    "bundles": bundles,
    "campaigns": campaigns,
    "journeys": journeys,
}
