"""What is known and expected of a customer."""

from typing import Any

from pydantic import BaseModel, Field

from serving.api.schemas.behavior import Engagement, Frequency, Live, PriceSensitivity, Shares
from serving.api.schemas.common import Provenance


class NextPurchaseForecast(BaseModel):
    """The model's forecast: days from `counted_from`, the instant of scoring."""

    median_days: float
    low_days: float
    high_days: float
    counted_from: str
    interval_level: float
    category: str | None = Field(description="Where recent purchases mostly lie")


class ValueHorizon(BaseModel):
    """Expected spend within so many days, with its interval."""

    days: int
    value: float | None
    low: float | None
    high: float | None
    is_extrapolated: bool = Field(description="Beyond what labels reach: today's rate and dropout carried on")


class ValueParts(BaseModel):
    """Three factors whose product is the value over 90 days."""

    alive_probability: float
    expected_orders: float = Field(description="Orders in 90 days of a customer who is alive")
    order_value: float = Field(description="Money an order")


class ChurnDriver(BaseModel):
    """What the churn probability rests on; an explanation of the model, no promise of an effect."""

    name: str
    effect: float = Field(description="Log odds of leaving against the average customer; above 0 is a risk")


class RetentionAction(BaseModel):
    """What acting to keep the customer is expected to bring."""

    expected_saving: float | None = Field(description="Net of the action's cost, currency units")
    audience: str | None = Field(description="win_back, at_risk or loyal")


class DueItem(BaseModel):
    """Something bought again and again."""

    item_id: str
    due_on: str = Field(description="The last purchase plus the usual days between; may lie in the past")


class PriceHabits(BaseModel):
    """Shrunk shares over what was looked at and bought."""

    price_level: float = Field(description="Place in the price range of a category: 0 cheapest, 1 dearest")
    discount_share: float = Field(description="Bought at least 3 % below the item's usual price")


class NextPurchase(BaseModel):
    """The last order plus the customer's own mean gap between order days; beside it the model's forecast."""

    expected_at: str | None
    in_days: float | None
    is_overdue: bool | None
    reason: str | None = Field(description="Why it is not known")
    forecast: NextPurchaseForecast | None = Field(description="Null without a model")


class Predictions(BaseModel):
    """What the models expect of the customer, and what their habits suggest."""

    lifetime_value: float | None = Field(description="Expected spend in the horizon, currency units")
    lifetime_value_low: float | None
    lifetime_value_high: float | None
    interval_level: float = Field(description="Probability that the interval is meant to cover")
    horizon_days: int
    churn_probability: float | None = Field(description="Probability of no purchase in the horizon")
    next_purchase: NextPurchase
    price_sensitivity: PriceSensitivity
    value_horizons: list[ValueHorizon] = Field(description="30, 90 and 365 days; empty without a model")
    value_parts: ValueParts | None
    churn_drivers: list[ChurnDriver] = Field(description="Those that count most, largest first")
    retention: RetentionAction
    due_items: list[DueItem] = Field(description="Due within two weeks or overdue, most often bought first")
    price_habits: PriceHabits | None


class Segments(BaseModel):
    """Three vocabularies of tiers; null where what they need is unknown."""

    value_segment: str | None = Field(description="high, medium, low, at_risk or churned")
    loyalty_tier: str | None = Field(description="VIP, Premium, Standard or New")
    price_tier: str | None = Field(description="Premium, Regular or Budget")
    behavior_segment: str | None = Field(description="Found by clustering, named by what sets it apart")
    behavior_segment_before: str | None = Field(description="The same at the scoring before")


class Behavioral(BaseModel):
    """Habits, by the customer's own acts."""

    frequency: Frequency
    preferred_hours: Shares
    preferred_weekdays: Shares
    devices: Shares
    channels: Shares
    engagement: Engagement


class Demographic(BaseModel):
    """What the customer told us, else what the source of the batch says."""

    age: int | None
    age_group: str | None
    gender: str | None
    location: str | None


class Recorded(BaseModel):
    """Something that the shop may have recorded (`attributes` of the customer); never inferred."""

    value: Any | None
    reason: str | None


class Psychographic(BaseModel):
    """What the customer is drawn to: shares of decayed interest."""

    interests: Shares
    brand_affinity: Shares
    values: Recorded
    lifestyle_indicators: Recorded


class ProfileAnswer(Provenance):
    """What is known and expected of one customer."""

    customer_id: str
    user_id: str
    as_of: str = Field(description="The instant that derived features refer to")
    features: dict[str, Any]
    behavioral: Behavioral
    live: Live | None = Field(description="What was done since the last batch")
    demographic: Demographic
    psychographic: Psychographic | None = Field(description="Null without include_preferences")
    preferences: dict[str, Any] | None = Field(description="Stored ones; null without include_preferences")
    predictions: Predictions | None = Field(description="Null without include_predictions")
    segments: Segments | None = Field(description="Null without include_segments")
    feature_age_seconds: float | None
    fallback: bool
    fallback_reason: str | None
    degraded: list[str] = Field(description="What could not be read, and is missing here")
