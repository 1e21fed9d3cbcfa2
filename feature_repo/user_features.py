"""Feature views keyed by user: behaviour, predictions, candidates.

A field is a column of the view's mart, same name and type. `feature_at` is a field too: whoever scales a
decayed sum to a later instant, or reports the age of a feature, needs it.
"""

from __future__ import annotations

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Array, Float32, Float64, Int64, String, UnixTimestamp

from feature_repo.entities import OWNER, USER_ID, user
from feature_repo.sources import (
    FEATURE_AT,
    user_candidates_source,
    user_features_source,
    user_outlook_source,
    user_predictions_source,
)

HALF_LIVES_DAYS = (7, 30, 90)
# Quantities that `user_features` keeps as decayed sums, one column for each half-life.
DECAYED_USER_QUANTITIES = ("spend", "orders", "units", "views", "carts", "events", "returns")

# A row stays true until the customer acts again, however long that takes; what depends on "now" is derived.
NEVER_EXPIRES = timedelta(0)
# A prediction speaks of the 90 days after it: half of them later it describes mostly the past.
PREDICTIONS_EXPIRE = timedelta(days=45)
# Candidates name goods in stock at known prices: a month later the shelf is another.
CANDIDATES_EXPIRE = timedelta(days=30)


def decayed_fields(quantities: tuple[str, ...]) -> list[Field]:
    """One Float64 field `<quantity>_decay_<days>d` for each quantity and half-life, as of `feature_at`."""
    return [
        Field(
            name=f"{quantity}_decay_{days}d",
            dtype=Float64,
            description=f"Sum of {quantity}, halved every {days} days, as of feature_at.",
        )
        for quantity in quantities
        for days in HALF_LIVES_DAYS
    ]


user_behavior = FeatureView(
    name="user_behavior",
    entities=[user],
    ttl=NEVER_EXPIRES,
    source=user_features_source,
    schema=[
        Field(name=USER_ID, dtype=String),
        Field(name=FEATURE_AT, dtype=UnixTimestamp, description="End of the active day described."),
        Field(name="order_count", dtype=Int64, description="Orders ever."),
        Field(name="order_day_count", dtype=Int64, description="Days with an order, ever."),
        Field(name="unit_count", dtype=Float64, description="Units bought ever."),
        Field(name="spend_total", dtype=Float64, description="Money spent ever, currency units."),
        Field(name="return_total", dtype=Float64, description="Money returned ever, positive."),
        Field(name="return_count", dtype=Int64, description="Returned lines ever."),
        Field(name="max_order_amount", dtype=Float64, description="Largest order, currency units."),
        Field(name="active_day_count", dtype=Int64, description="Days with an event, ever."),
        Field(name="event_count_total", dtype=Int64, description="Events ever."),
        Field(name="order_gap_days_sum", dtype=Float64, description="Sum of the gaps between order days."),
        Field(name="order_gap_days_sumsq", dtype=Float64, description="Sum of their squares, days squared."),
        Field(name="first_event_at", dtype=UnixTimestamp),
        Field(name="last_event_at", dtype=UnixTimestamp),
        Field(name="first_order_at", dtype=UnixTimestamp, description="Null before the first order."),
        Field(name="last_order_at", dtype=UnixTimestamp, description="Null before the first order."),
        *decayed_fields(DECAYED_USER_QUANTITIES),
        Field(name="recent_items", dtype=Array(String), description="Items touched that day, latest first."),
        Field(name="recent_categories", dtype=Array(String), description="Their categories, latest first."),
    ],
    description="What a customer did, as known at the end of their last active day.",
    tags={"mart": "user_features", "ttl_reason": "true until the customer acts again"},
    owner=OWNER,
)

user_predictions = FeatureView(
    name="user_predictions",
    entities=[user],
    ttl=PREDICTIONS_EXPIRE,
    source=user_predictions_source,
    schema=[
        Field(name=USER_ID, dtype=String),
        Field(name=FEATURE_AT, dtype=UnixTimestamp, description="Instant from which the 90 days count."),
        Field(name="clv_90d", dtype=Float64, description="Expected spend in the next 90 days."),
        Field(name="clv_90d_low", dtype=Float64, description="Lower end of its 80 % interval."),
        Field(name="clv_90d_high", dtype=Float64, description="Upper end of its 80 % interval."),
        Field(name="churn_probability", dtype=Float64, description="Of no order in the next 90 days."),
        Field(name="value_segment", dtype=String, description="Tier of clv_90d among the scored customers."),
        Field(name="clv_version", dtype=String, description="Registered version of the CLV model."),
        Field(name="churn_version", dtype=String, description="Registered version of the churn model."),
    ],
    description="What the value models expect of a customer.",
    tags={"ttl_reason": "half of the 90 days predicted"},
    owner=OWNER,
)

# Numbers that are read together are packed: an online value costs the same whether it is one number or six.
user_outlook = FeatureView(
    name="user_outlook",
    entities=[user],
    ttl=PREDICTIONS_EXPIRE,
    source=user_outlook_source,
    schema=[
        Field(name=USER_ID, dtype=String),
        Field(name=FEATURE_AT, dtype=UnixTimestamp, description="Instant from which days count."),
        Field(
            name="clv_horizons",
            dtype=Array(Float32),
            description="Expected spend, low, high (80 %) in 30 days; then in 365 days, extrapolated.",
        ),
        Field(
            name="clv_parts",
            dtype=Array(Float32),
            description="Probability of being alive, orders in 90 days if alive, money an order: clv_90d.",
        ),
        Field(name="churn_drivers", dtype=Array(String), description="What the churn risk rests on most."),
        Field(
            name="churn_driver_effects",
            dtype=Array(Float32),
            description="One each: log odds of leaving against the average customer.",
        ),
        Field(name="expected_saving", dtype=Float64, description="What an action to keep them brings, net."),
        Field(
            name="next_order_days",
            dtype=Array(Float32),
            description="Median days to the next order, low and high end of its 80 % interval.",
        ),
        Field(
            name="due_items",
            dtype=Array(String),
            description="Bought again and again, and due; most often first.",
        ),
        Field(
            name="due_in_days", dtype=Array(Float32), description="One each: days until due, below 0 overdue."
        ),
        Field(name="next_category", dtype=String, description="Where recent purchases mostly lie."),
        Field(
            name="price_habits",
            dtype=Array(Float32),
            description="Place in the price range (0 cheapest), and share bought below the usual price.",
        ),
        Field(name="audience", dtype=String, description="win_back, at_risk, loyal, or empty."),
        Field(name="segment", dtype=String, description="Behavioural segment, named by what sets it apart."),
        Field(name="segment_before", dtype=String, description="The same at the scoring before."),
    ],
    description="What else is expected of a customer: horizons, drivers, next order, prices, segment.",
    tags={"ttl_reason": "half of the 90 days predicted"},
    owner=OWNER,
)

user_candidates = FeatureView(
    name="user_candidates",
    entities=[user],
    ttl=CANDIDATES_EXPIRE,
    source=user_candidates_source,
    schema=[
        Field(name=USER_ID, dtype=String),
        Field(name=FEATURE_AT, dtype=UnixTimestamp, description="End of the data that the candidates know."),
        Field(name="item_ids", dtype=Array(String), description="At most 100 items, best first."),
        Field(name="scores", dtype=Array(Float32), description="One each; comparable in one algorithm."),
        Field(name="algorithms", dtype=Array(String), description="What proposed each item."),
        Field(name="seen", dtype=Array(String), description="Items bought, latest first, at most 500."),
        Field(name="release_id", dtype=String, description="Release whose models ranked them."),
        Field(name="generated_at", dtype=UnixTimestamp, description="When the batch ran."),
    ],
    description="Each customer's ranked candidates, from which a request chooses.",
    tags={"ttl_reason": "stock and prices move within a month"},
    owner=OWNER,
)
