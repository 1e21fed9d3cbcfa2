"""Requests and answers, as OpenAPI documents them; `serving.personalize` builds answers in this shape."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MAX_LIMIT = 100
MAX_BATCH_CUSTOMERS = 1000


def decimal_text(value: object) -> object:
    """Identifiers are strings everywhere; a whole number becomes its decimal string."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


CustomerId = Annotated[
    str,
    BeforeValidator(decimal_text),
    StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$"),
]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many items")]


class RecommendedItem(BaseModel):
    """One item of an answer; scores compare within one algorithm only."""

    rank: int
    item_id: str
    score: float
    algorithm: str = Field(description="What proposed the item, such as collaborative, buy_again or popular")
    title: str | None = None
    category: str | None = None
    price: float | None = None


class Provenance(BaseModel):
    """What every answer says about where it comes from."""

    model_config = ConfigDict(protected_namespaces=())

    release: str = Field(description="Release that answered")
    model_versions: dict[str, str] = Field(description="Model kind -> registered version")


class CustomerRecommendations(BaseModel):
    """Items for one customer, best first."""

    customer_id: str
    recommendation_id: str = Field(description="Send it back with clicks and orders, for attribution")
    recommendations: list[RecommendedItem]
    feature_age_seconds: float | None = Field(description="Age of the stored data; null if none was used")
    candidates_release: str | None = Field(description="Release that computed the stored candidates")
    fallback: bool = Field(description="True if the answer is not personal, or only by a few recent events")
    fallback_reason: str | None = Field(
        description="new_customer, unknown_customer, online_store_timeout, online_store_error or"
        " online_store_unavailable"
    )


class RecommendationAnswer(CustomerRecommendations, Provenance):
    """Items for one customer, and where they come from."""


class BatchRequest(BaseModel):
    """Which customers to recommend to."""

    model_config = ConfigDict(extra="forbid")

    customer_ids: list[CustomerId] = Field(min_length=1, max_length=MAX_BATCH_CUSTOMERS)
    limit: Limit = 10
    exclude_seen: bool = Field(default=False, description="Leave out what the customer has bought")


class BatchAnswer(Provenance):
    """Items for each customer, in the order asked."""

    results: list[CustomerRecommendations]


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


class Problem(BaseModel):
    """Why a request was not answered: the field, its value, and the remedy."""

    detail: str


class OnlineStoreHealth(BaseModel):
    """Whether online features can be read."""

    reachable: bool
    kind: str
    circuit: str = Field(description="closed: read normally; open: left alone, probed once a second")
    last_failure: str | None
    hung_threads: int


class ReleaseHealth(BaseModel):
    """The release that answers, and the newer one that could not be loaded, if any."""

    release: str
    data_until: str
    created_at: str
    loaded_at: str
    code_version: str
    failed_release: str | None
    failed_because: str | None


class HealthAnswer(BaseModel):
    """What is loaded and whether the store answers."""

    model_config = ConfigDict(protected_namespaces=())

    status: str = Field(description="ok, or degraded: answers fall back, or a new release is broken")
    release: ReleaseHealth
    model_versions: dict[str, str]
    online_store: OnlineStoreHealth
    uptime_seconds: float
