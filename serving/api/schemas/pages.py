"""Homepage, layout, content and experience: what is asked and what is answered."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from serving.api.schemas.common import CustomerId, Provenance
from serving.decisions.content import COUNTS, FACTORS
from serving.decisions.experience import GOALS

USER_NAMES = AliasChoices("user_id", "customer_id")
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1000)]
MAX_OUTCOMES = 100
MAX_CONTEXT_FIELDS = 32


class DecisionAnswer(Provenance):
    """What every decision says of itself."""

    decision_id: str = Field(description="Its receipt: GET /api/v1/decisions/{decision_id}")
    personalized: bool = Field(description="False: nothing personal was used; reason says why")
    reason: str | None = Field(description="Why it is not personal, such as opted_out or do_not_track")
    degraded: list[str] = Field(description="Stores that did not answer in time; empty if all did")
    feature_age_seconds: float | None = Field(description="Age of what is stored about the visitor")


class ShownItem(BaseModel):
    """An item as a page shows it."""

    item_id: str
    title: str | None = None
    category: str | None = None
    price: float | None = None


class Section(BaseModel):
    """One section of the homepage."""

    type: str = Field(examples=["recommended_products"])
    title: str = Field(examples=["Recommended for You"])
    products: list[str] = Field(description="Item ids, best first")
    items: list[ShownItem]
    expected_share: float = Field(description="Share of the visitor's responses that the section should get")


class HomepageAnswer(DecisionAnswer):
    """A homepage: sections in the order that this visitor responds to."""

    user_id: str
    sections: list[Section]
    layout: str = Field(description="grid, list or carousel")
    theme: str
    language: str
    navigation: list[str] = Field(description="Categories, those of interest first")
    recommendation_id: str = Field(description="Send it back with clicks and orders from this page")


class NavigationEntry(BaseModel):
    """One category of the navigation."""

    category: str
    affinity: float


class LayoutAnswer(DecisionAnswer):
    """Order of the navigation, layout, theme and language."""

    user_id: str
    navigation: list[NavigationEntry]
    layout: str
    theme: str
    language: str


class ContentCounts(BaseModel):
    """How many pieces of each kind."""

    model_config = ConfigDict(extra="forbid")

    blog_articles: int = Field(default=COUNTS["blog_articles"], ge=0, le=50)
    video_content: int = Field(default=COUNTS["video_content"], ge=0, le=50)
    social_proof: int = Field(default=COUNTS["social_proof"], ge=0, le=50)
    user_generated_content: int = Field(default=COUNTS["user_generated_content"], ge=0, le=50)


class ContentFactors(BaseModel):
    """What weighs how much; made to add up to one."""

    model_config = ConfigDict(extra="forbid")

    interest_alignment: Weight = FACTORS["interest_alignment"]
    engagement_history: Weight = FACTORS["engagement_history"]
    seasonal_relevance: Weight = FACTORS["seasonal_relevance"]
    trending_score: Weight = FACTORS["trending_score"]


class ContentRequest(BaseModel):
    """Counts and weights of a content request; what is left out keeps its default."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "content_types": {"blog_articles": 3, "video_content": 2},
                    "personalization_factors": {"interest_alignment": 0.4, "trending_score": 0.1},
                }
            ]
        },
    )

    content_types: ContentCounts | None = Field(
        default=None, description="Kinds that are wanted; those not named are left out. None: all"
    )
    personalization_factors: ContentFactors = Field(default_factory=ContentFactors)

    def counts(self) -> dict[str, int]:
        """Kind -> how many."""
        if self.content_types is None:
            return dict(COUNTS)
        given = self.content_types.model_dump(exclude_unset=True)
        return {name: count for name, count in given.items() if count > 0}


class Piece(BaseModel):
    """A piece of content, or a fact about an item."""

    model_config = ConfigDict(extra="allow")

    score: float
    title: str | None = None
    category: str | None = None


class ContentAnswer(DecisionAnswer):
    """Content by kind; a kind of which the shop has nothing is an empty list."""

    user_id: str
    content: dict[str, list[Piece]]
    personalization_factors: dict[str, float]


class ExperienceRequest(BaseModel):
    """A page to be personalized."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "customer_id": 12345,
                    "page_type": "homepage",
                    "context": {"device": "mobile", "time_of_day": "evening"},
                    "personalization_goals": {"increase_engagement": 0.4, "drive_conversions": 0.6},
                    "elements_to_personalize": ["hero_banner", "navigation_items"],
                }
            ]
        },
    )

    customer_id: CustomerId = Field(validation_alias=AliasChoices("customer_id", "user_id"))
    page_type: Word = "homepage"
    context: dict[str, Any] = Field(default_factory=dict, max_length=MAX_CONTEXT_FIELDS)
    personalization_goals: dict[Literal["increase_engagement", "drive_conversions"], Weight] = Field(
        default_factory=lambda: dict(GOALS),  # type: ignore[arg-type]
        description="Weights of the goals; made to add up to one",
    )
    elements_to_personalize: list[Word] | None = Field(
        default=None, max_length=50, description="None: every element that is defined"
    )


class ExperienceElement(BaseModel):
    """One element: its variant, and what is expected of it."""

    name: str
    variant: str
    confidence_score: float = Field(
        description="Probability that no other variant that suits is better (for the default), or that this"
        " one is better than the default"
    )
    expected_lift: float = Field(description="Percent over the default variant; 0 for the default itself")
    lift_low: float = Field(description="Lower end of its 95 % interval, percent")
    lift_high: float
    reason: str = Field(description="better_than_default, below_threshold, no_evidence or experiment")
    observations: int = Field(description="Times that this variant was served, as known now")
    parameters: dict[str, Any]
    content: dict[str, Any] | None


class ExperienceAnswer(DecisionAnswer):
    """A personalized page: variants of its elements."""

    experience_id: str
    customer_id: str
    page_type: str
    segment: str | None
    confidence_threshold: float
    confidence_score: float = Field(description="Mean over the elements")
    elements: list[ExperienceElement]


class Interaction(BaseModel):
    """Something that was done with an experience."""

    model_config = ConfigDict(extra="forbid")

    element: Word | None = Field(default=None, description="Which element; none counts for all")
    type: Word | None = Field(default=None, validation_alias=AliasChoices("type", "interaction_type"))
    item_id: CustomerId | None = Field(default=None, validation_alias=AliasChoices("item_id", "product_id"))
    timestamp: AwareDatetime | None = None
    event_id: CustomerId | None = Field(default=None, description="Your own id: the same again counts once")


class ConversionEvent(Interaction):
    """An experience that led to its goal."""

    conversion_value: float | None = Field(
        default=None, ge=0, le=1e12, validation_alias=AliasChoices("conversion_value", "value")
    )
    order_id: CustomerId | None = None
    attribution_factors: dict[Word, Annotated[float, Field(ge=-1e6, le=1e6)]] | None = Field(
        default=None, max_length=20
    )


class PerformanceRequest(BaseModel):
    """What became of an experience."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "12345",
                    "interactions": [{"element": "hero_banner", "type": "click"}],
                    "conversion_events": [{"conversion_value": 49.9, "order_id": "o-1"}],
                }
            ]
        },
    )

    customer_id: CustomerId = Field(validation_alias=AliasChoices("customer_id", "user_id"))
    interactions: list[Interaction] = Field(default_factory=list, max_length=MAX_OUTCOMES)
    conversion_events: list[ConversionEvent] = Field(default_factory=list, max_length=MAX_OUTCOMES)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.interactions and not self.conversion_events:
            raise ValueError("give at least one interaction or conversion event")
        return self


class PerformanceAnswer(BaseModel):
    """What was recorded."""

    experience_id: str
    customer_id: str
    tracked: bool
    accepted: int
    duplicates: int
    refused: int
    not_tracked: int
    reason: str | None
    event_ids: list[str | None]
