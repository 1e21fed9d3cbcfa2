"""Feature views keyed by item: how it is looked at, bought and priced."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import Float64, Int64, String, UnixTimestamp

from feature_repo.entities import ITEM_ID, OWNER, item
from feature_repo.sources import FEATURE_AT, item_features_source
from feature_repo.user_features import NEVER_EXPIRES, decayed_fields

# Quantities that `item_features` keeps as decayed sums, one column for each half-life.
DECAYED_ITEM_QUANTITIES = ("views", "carts", "purchases", "orders", "units", "revenue", "buyers")

item_behavior = FeatureView(
    name="item_behavior",
    entities=[item],
    ttl=NEVER_EXPIRES,
    source=item_features_source,
    schema=[
        Field(name=ITEM_ID, dtype=String),
        Field(name=FEATURE_AT, dtype=UnixTimestamp, description="End of the active day described."),
        Field(name="view_count", dtype=Int64, description="Product views ever."),
        Field(name="purchase_count", dtype=Int64, description="Purchase lines ever."),
        Field(name="order_count", dtype=Int64, description="Orders with the item ever, counted per day."),
        Field(name="return_count", dtype=Int64, description="Returns ever."),
        Field(name="active_day_count", dtype=Int64, description="Days with an event, ever."),
        Field(name="unit_count", dtype=Float64, description="Units sold ever."),
        Field(name="revenue_total", dtype=Float64, description="Money taken ever, currency units."),
        Field(name="last_price", dtype=Float64, description="Unit price in the latest order."),
        Field(name="mean_price", dtype=Float64, description="Revenue over units, ever."),
        Field(name="min_price", dtype=Float64),
        Field(name="max_price", dtype=Float64),
        Field(name="first_sold_at", dtype=UnixTimestamp, description="Null before the first sale."),
        Field(name="last_sold_at", dtype=UnixTimestamp, description="Null before the first sale."),
        *decayed_fields(DECAYED_ITEM_QUANTITIES),
    ],
    description="What happened to an item, as known at the end of its last active day.",
    tags={"mart": "item_features", "ttl_reason": "true until somebody touches the item again"},
    owner=OWNER,
)
