"""What is known and expected of a customer."""

from typing import Any

from pydantic import BaseModel, Field

from serving.api.schemas.common import Provenance


class Predictions(BaseModel):
    """What the models expect of the customer."""

    lifetime_value: float | None = Field(description="Expected spend in the horizon, currency units")
    lifetime_value_low: float | None
    lifetime_value_high: float | None
    interval_level: float = Field(description="Probability that the interval is meant to cover")
    horizon_days: int
    churn_probability: float | None = Field(description="Probability of no purchase in the horizon")


class Segments(BaseModel):
    """Three vocabularies of tiers; null where what they need is unknown."""

    value_segment: str | None = Field(description="high, medium, low, at_risk or churned")
    loyalty_tier: str | None = Field(description="VIP, Premium, Standard or New")
    price_tier: str | None = Field(description="Premium, Regular or Budget")


class ProfileAnswer(Provenance):
    """What is known and expected of one customer."""

    customer_id: str
    as_of: str = Field(description="The instant that derived features refer to")
    features: dict[str, Any]
    predictions: Predictions
    segments: Segments
    feature_age_seconds: float | None
    fallback: bool
    fallback_reason: str | None
