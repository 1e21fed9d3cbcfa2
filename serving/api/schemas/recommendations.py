"""Recommendations; `serving.recommendations.answer` builds answers in this shape."""

from typing import Annotated, Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from serving.api.schemas.common import CustomerId, Limit, Provenance
from serving.decisions.rules import Actions
from serving.decisions.slots import SLOT_TYPES
from serving.recommendations.ask import WEIGHT_NAMES

MAX_BATCH_CUSTOMERS = 1000
MAX_SLOT_ITEMS = 50
ItemId = Annotated[str, StringConstraints(min_length=1, max_length=256)]
PageName = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class RecommendedItem(BaseModel):
    """One item of an answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "rank": 1,
                "position": 1,
                "item_id": "sku_77",
                "title": "Bread knife",
                "category": "kitchen",
                "price": 19.9,
                "score": 0.73,
                "algorithm": "bought_together",
                "reason": "often bought with Cutting board",
                "propensity": 0.95,
                "slot": None,
            }
        }
    )

    rank: int
    position: int = Field(description="The place in the list, from 1; the same as rank")
    item_id: str
    score: float = Field(
        description="0 to 1 on one scale for all algorithms; above 0.1 it rests on what the visitor did"
    )
    algorithm: str = Field(
        description="What proposed the item, such as collaborative, buy_again or popular; "
        "in a list drafted by two versions of a model, with the version: collaborative@7"
    )
    reason: str = Field(description="Why it is shown, as a short phrase")
    propensity: float = Field(description="Probability that this item is shown at this place")
    slot: str | None = Field(description="The slot of the page; null in a plain list")
    title: str | None = None
    category: str | None = None
    price: float | None = None


class CustomerRecommendations(BaseModel):
    """Items for one customer, best first."""

    customer_id: str | None
    recommendation_id: str = Field(description="Send it back with clicks and orders, for attribution")
    decision_id: str = Field(description="The same id; GET /api/v1/decisions/{decision_id} explains it")
    recommendations: list[RecommendedItem]
    rung: str = Field(description="What the answer rests on: live, batch, segment or popular")
    personalized: bool
    reason: str | None = Field(description="Why it is not personal, where it may not be or is switched off")
    feature_age_seconds: float | None = Field(description="Age of the newest data; null if none was used")
    feature_ages: dict[str, float] = Field(description="Age in seconds of each kind of data that was used")
    candidates_release: str | None = Field(description="Release that computed the stored candidates")
    fallback: bool = Field(description="True if the answer is not personal, or only by a few recent events")
    fallback_reason: str | None = Field(
        description="new_customer, unknown_customer, online_store_timeout, online_store_error,"
        " online_store_unavailable, or what does not allow personalization"
    )
    degraded: list[str] = Field(description="What failed while this was answered")
    experiments: dict[str, str] = Field(description="Experiment -> variant that this answer follows")
    stored: bool = Field(description="True if an earlier answer was given again")
    slots: dict[str, list[RecommendedItem]] | None = Field(
        default=None, description="Items by slot, where slots were asked for"
    )


class RecommendationAnswer(CustomerRecommendations, Provenance):
    """Items for one customer, and where they come from."""


class BatchRequest(BaseModel):
    """Which customers to recommend to."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"customer_ids": ["c_1", "c_2"], "limit": 5}}
    )

    customer_ids: list[CustomerId] = Field(min_length=1, max_length=MAX_BATCH_CUSTOMERS)
    limit: Limit = 10
    exclude_seen: bool = Field(default=False, description="Leave out what the customer has bought")


class BatchAnswer(Provenance):
    """Items for each customer, in the order asked."""

    results: list[CustomerRecommendations]


class Filters(BaseModel):
    """Which items are wanted."""

    model_config = ConfigDict(extra="forbid")

    categories: list[PageName] = Field(default_factory=list, max_length=100)
    exclude_categories: list[PageName] = Field(default_factory=list, max_length=100)
    brands: list[PageName] = Field(default_factory=list, max_length=100)
    exclude_brands: list[PageName] = Field(default_factory=list, max_length=100)
    price_min: float | None = Field(default=None, ge=0)
    price_max: float | None = Field(default=None, ge=0)
    exclude_items: list[ItemId] = Field(default_factory=list, max_length=500)

    @model_validator(mode="after")
    def _check_prices(self) -> Self:
        low, high = self.price_min, self.price_max
        if low is not None and high is not None and low > high:
            raise ValueError(f"price_min={low:g} is above price_max={high:g}; give the lower one first")
        return self


class BusinessSwitches(BaseModel):
    """Rules that this request asks for, on top of those in force; false never takes one of those away."""

    model_config = ConfigDict(extra="forbid")

    exclude_out_of_stock: bool = False
    prefer_high_margin: bool | Annotated[float, Field(ge=0, le=1)] = Field(
        default=False, description="true, or a strength from 0 to 1"
    )
    respect_brand_preferences: bool | Annotated[float, Field(ge=0, le=1)] = False
    prefer_novelty: bool | Annotated[float, Field(ge=0, le=1)] = Field(
        default=False, description="Less known items first: true, or a strength from 0 to 1"
    )
    calibrate_categories: bool | Annotated[float, Field(ge=0, le=1)] = Field(
        default=False, description="Keep the visitor's mix of categories: true, or a strength from 0 to 1"
    )
    exclude_seen: bool = False
    max_per_category: int | None = Field(default=None, ge=1, le=100)
    max_per_brand: int | None = Field(default=None, ge=1, le=100)


class PersonalizeRequest(BaseModel):
    """What to recommend: a list of `limit` items, or a page of slots."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={
            "example": {
                "context": "product_detail_page",
                "current_product": "sku_77",
                "recommendation_types": {
                    "similar_products": 4,
                    "complementary_products": 3,
                    "trending_in_category": 3,
                    "personalized_picks": 5,
                },
                "algorithms": {"collaborative_filtering": 0.3, "content_based": 0.3, "hybrid_neural": 0.4},
                "business_rules": {
                    "exclude_out_of_stock": True,
                    "prefer_high_margin": True,
                    "respect_brand_preferences": True,
                },
            }
        },
    )

    limit: Limit = 10
    context: PageName | None = Field(
        default=None, validation_alias=AliasChoices("context", "page"), description="The page, for rules"
    )
    current_product: ItemId | None = Field(
        default=None,
        validation_alias=AliasChoices("current_product", "current_item", "product_id", "item_id"),
        description="The item that the page shows; it is never recommended",
    )
    category: PageName | None = Field(default=None, description="The category that the page is about")
    recommendation_types: dict[str, Annotated[int, Field(ge=0, le=MAX_SLOT_ITEMS)]] | None = Field(
        default=None, description=f"How many items of each slot: {', '.join(SLOT_TYPES)}"
    )
    algorithms: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = Field(
        default=None, description="Weights of the blend; 0.3, 0.3 and 0.4 by default"
    )
    business_rules: BusinessSwitches | None = None
    filters: Filters | None = None
    attributes: dict[PageName, PageName] = Field(
        default_factory=dict, max_length=20, description="Of the context, such as device; rules look at them"
    )
    exclude_seen: bool = Field(default=False, description="Leave out what the customer has bought")

    @model_validator(mode="after")
    def _check_names(self) -> "PersonalizeRequest":
        for name in self.recommendation_types or ():
            if name not in SLOT_TYPES:
                raise ValueError(f"recommendation_types.{name} is no slot; use {', '.join(SLOT_TYPES)}")
        if self.recommendation_types is not None and not sum(self.recommendation_types.values()):
            raise ValueError("recommendation_types asks for no item; give a slot at least 1")
        for name in self.algorithms or ():
            if name not in WEIGHT_NAMES:
                raise ValueError(f"algorithms.{name} is no algorithm; use {', '.join(WEIGHT_NAMES)}")
        if self.algorithms is not None and not sum(self.algorithms.values()):
            raise ValueError("algorithms has no weight above 0; give one at least")
        return self

    @property
    def weights(self) -> dict[str, float] | None:
        """The weights by component; names of one component add up."""
        if self.algorithms is None:
            return None
        found: dict[str, float] = {}
        for name, value in self.algorithms.items():
            found[WEIGHT_NAMES[name]] = found.get(WEIGHT_NAMES[name], 0.0) + value
        return found

    @property
    def actions(self) -> Actions | None:
        """The request's switches and filters as a rule; None if there are none."""
        values: dict[str, Any] = {}
        if self.business_rules is not None:
            values |= self.business_rules.model_dump(exclude_defaults=True)
        if self.filters is not None:
            filters = self.filters
            values |= {
                "only_categories": tuple(filters.categories),
                "exclude_categories": tuple(filters.exclude_categories),
                "only_brands": tuple(filters.brands),
                "exclude_brands": tuple(filters.exclude_brands),
                "price_min": filters.price_min,
                "price_max": filters.price_max,
                "ban": tuple(filters.exclude_items),
            }
        return Actions.model_validate(values) if values else None


class AnalyticsRecommendationRequest(PersonalizeRequest):
    """The same with the customer in the body."""

    customer_id: CustomerId = Field(validation_alias=AliasChoices("user_id", "customer_id"))
