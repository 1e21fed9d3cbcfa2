"""Recommendations; `serving.personalize` builds answers in this shape."""

from pydantic import BaseModel, ConfigDict, Field

from serving.api.schemas.common import CustomerId, Limit, Provenance

MAX_BATCH_CUSTOMERS = 1000


class RecommendedItem(BaseModel):
    """One item of an answer; scores compare within one algorithm only."""

    rank: int
    item_id: str
    score: float
    algorithm: str = Field(description="What proposed the item, such as collaborative, buy_again or popular")
    title: str | None = None
    category: str | None = None
    price: float | None = None


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
