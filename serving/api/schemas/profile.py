"""What is known and expected of a customer."""

from typing import Any

from pydantic import BaseModel, Field

from serving.api.schemas.behavior import Engagement, Frequency, Live, PriceSensitivity, Shares
from serving.api.schemas.common import Provenance


class NextPurchase(BaseModel):
    """The last order plus the customer's own mean gap between order days."""

    expected_at: str | None
    in_days: float | None
    is_overdue: bool | None
    reason: str | None = Field(description="Why it is not known")


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


class Segments(BaseModel):
    """Three vocabularies of tiers; null where what they need is unknown."""

    value_segment: str | None = Field(description="high, medium, low, at_risk or churned")
    loyalty_tier: str | None = Field(description="VIP, Premium, Standard or New")
    price_tier: str | None = Field(description="Premium, Regular or Budget")


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
