"""Search, messages, offers, prices and bundles: what is asked and what is answered."""

from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from serving.api.schemas.common import CustomerId
from serving.api.schemas.pages import DecisionAnswer, Piece, ShownItem, Weight
from serving.decisions.offers import FACTORS

MAX_RESULTS = 500
OfferType = Literal["product_discounts", "category_bonuses", "experience_rewards", "early_access_privileges"]
BundleType = Literal["complementary", "cross_sell", "upsell", "seasonal", "promotional"]
Channel = Literal["email", "push", "sms"]


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("use a time zone such as UTC or Europe/Lisbon") from None
    return value


TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]


class SearchRequest(BaseModel):
    """Search results, best first, as the shop's search found them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"query": "red shoes", "item_ids": ["i1", "i2", "i3"]}]},
    )

    query: str = Field(default="", max_length=1000)
    item_ids: list[CustomerId] = Field(
        min_length=1, max_length=MAX_RESULTS, validation_alias=AliasChoices("item_ids", "product_ids")
    )
    scores: list[Annotated[float, Field(ge=-1e12, le=1e12)]] | None = Field(
        default=None, description="Relevance of each, the higher the better; without it the order counts"
    )

    @model_validator(mode="after")
    def _one_score_each(self) -> Self:
        if self.scores is not None and len(self.scores) != len(self.item_ids):
            raise ValueError(f"{len(self.scores)} scores for {len(self.item_ids)} item_ids: give one each")
        return self


class SearchResult(BaseModel):
    """One result and where it stood."""

    item_id: str
    rank: int
    original_rank: int
    personal_score: float


class SearchAnswer(DecisionAnswer):
    """The same ids in another order."""

    user_id: str
    query: str
    item_ids: list[str]
    results: list[SearchResult]


class EmailRequest(BaseModel):
    """How an e-mail is to be composed."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"grid_items": 6, "articles": 2}]}
    )

    use_customer_name: bool = True
    include_personalized_offer: bool = True
    optimize_for: Literal["open_rate"] = Field(
        default="open_rate", description="The subject is the one of which most opens are expected"
    )
    personalization_depth: Literal["high"] = Field(
        default="high", description="Every block is chosen for the customer, or for the segment"
    )
    content_freshness: Literal["real_time"] = Field(
        default="real_time", description="Composed when asked, of what is known at that instant"
    )
    grid_items: int = Field(default=6, ge=0, le=50)
    articles: int = Field(default=2, ge=0, le=20)

    def rules(self) -> dict[str, bool]:
        """What the subject may hold."""
        return {
            "use_customer_name": self.use_customer_name,
            "include_personalized_offer": self.include_personalized_offer,
        }


class SubjectRate(BaseModel):
    """One kind of subject that could be used."""

    kind: str
    expected_open_rate: float


class Subject(SubjectRate):
    """The subject that was chosen, and what it was chosen over."""

    text: str
    basis: str = Field(description="observed: open rates were seen; prior: none yet")
    considered: list[SubjectRate]


class EmailBlocks(BaseModel):
    """What stands in the e-mail."""

    hero_product: ShownItem | None
    product_grid: list[ShownItem]
    content_articles: list[Piece]
    social_proof: list[Piece]


class EmailAnswer(DecisionAnswer):
    """An e-mail for one customer; without consent `send` is false and there is none."""

    user_id: str
    segment: str | None
    recommendation_id: str | None = Field(description="Of the goods in it: send it back with clicks")
    send: bool
    subject: Subject | None
    blocks: EmailBlocks | None


class SegmentEmailAnswer(DecisionAnswer):
    """An e-mail for a value segment; consent is asked of each recipient when it is sent."""

    segment_id: str
    ask_consent_of_each: bool
    send: bool
    subject: Subject | None
    blocks: EmailBlocks | None


class SendTimeAnswer(DecisionAnswer):
    """When to send, or why not."""

    user_id: str
    channel: str
    send: bool
    send_at: str | None = Field(description="UTC; the best hour of the next day outside quiet hours")
    local_hour: int | None
    share: float | None = Field(
        description="Share of the customer's answers that this hour is expected to get"
    )
    timezone: str
    basis: dict[str, float]
    sent_in_window: int
    cap: int
    quiet_hours: list[int]


class OfferFactors(BaseModel):
    """What weighs how much; made to add up to one."""

    model_config = ConfigDict(extra="forbid")

    purchase_behavior: Weight = FACTORS["purchase_behavior"]
    engagement_level: Weight = FACTORS["engagement_level"]
    seasonal_preferences: Weight = FACTORS["seasonal_preferences"]
    brand_affinity: Weight = FACTORS["brand_affinity"]


class OfferRequest(BaseModel):
    """Which offers are wanted."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"limit": 4}]})

    offer_types: list[OfferType] = Field(
        default_factory=lambda: list(get_args(OfferType)[:2]), min_length=1, max_length=4
    )
    personalization_factors: OfferFactors = Field(default_factory=OfferFactors)
    limit: int = Field(default=4, ge=1, le=20)


class LoyaltyRequest(OfferRequest):
    """The same for members of the loyalty programme."""

    offer_types: list[OfferType] = Field(
        default_factory=lambda: list(get_args(OfferType)), min_length=1, max_length=4
    )
    customer_tier: Literal["VIP", "Premium", "Standard", "New"] | None = Field(
        default=None, description="As your loyalty programme has it; None: by orders"
    )


class OfferBasis(BaseModel):
    """What an expected response rests on."""

    source: str = Field(description="segment, observed or prior")
    shown: int
    responded: int


class Offer(BaseModel):
    """One offer; which fields it has depends on its type."""

    model_config = ConfigDict(extra="allow")

    offer_id: str
    offer_type: str
    title: str | None
    personalization_score: float
    expected_response_rate: float
    basis: OfferBasis
    reason: str
    valid_days: int


class OfferAnswer(DecisionAnswer):
    """Offers: types take turns, the most personal of each first."""

    user_id: str
    customer_tier: str | None
    segment: str | None
    offers: list[Offer]


class OfferPerformanceRequest(BaseModel):
    """What a customer did with an offer."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"customer_id": "42", "event": "redeemed", "value": 20.0}]},
    )

    customer_id: CustomerId = Field(validation_alias=AliasChoices("customer_id", "user_id"))
    event: Literal["viewed", "clicked", "redeemed"]
    offer_type: OfferType | None = None
    value: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class OfferPerformanceAnswer(BaseModel):
    """What was recorded."""

    offer_id: str
    event_id: str | None
    status: str
    tracked: bool
    reason: str | None


class PriceAnswer(DecisionAnswer):
    """A price, and how it came about."""

    item_id: str
    user_id: str | None
    list_price: float | None
    price: float | None
    adjustment: float = Field(description="Price over list price, less one")
    reasons: list[str]
    disclosure: str = Field(description="Show it beside the price")
    dynamic_pricing: bool


class BundleRequest(BaseModel):
    """Which bundles are wanted."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"limit": 5}]})

    limit: int = Field(default=5, ge=1, le=50)
    bundle_types: list[BundleType] = Field(
        default_factory=lambda: list(get_args(BundleType)), min_length=1, max_length=5
    )
    item_id: CustomerId | None = Field(
        default=None,
        validation_alias=AliasChoices("item_id", "product_id", "current_product"),
        description="Bundles with this item; None: around what the visitor touched",
    )


class AnalyticsBundleRequest(BundleRequest):
    """The same with the customer in the body."""

    user_id: CustomerId = Field(validation_alias=AliasChoices("user_id", "customer_id"))


class Bundle(BaseModel):
    """Goods that go together."""

    bundle_id: str
    bundle_type: str
    items: list[str]
    products: list[ShownItem]
    list_price: float | None = Field(description="Null where a price is unknown")
    price: float | None
    discount: float = Field(description="Share of the list price; the one that earns most, often 0")
    support: float | None = Field(description="Share of all baskets that hold all items")
    lift: float | None = Field(description="How much more often than by chance")
    reason: str
    bundle_key: str | None = Field(default=None, description="Names the same bundle in every answer")
    instead_of: str | None = Field(default=None, description="Upsell: the item that this is a step up from")
    expected_attach: float | None = Field(
        default=None, description="Share of the first item's buyers expected to take the rest, at this price"
    )
    is_cost_assumed: bool | None = Field(
        default=None, description="True if a cost is unknown and 60 % of the price was assumed"
    )
    evidence: dict[str, Any] | None = Field(
        default=None,
        description="What it rests on: baskets with all items, those expected by chance, lift, q-value (false"
        " discovery rate), buyers, period, and what makes its type; null where the release has none mined",
    )


class BundleAnswer(DecisionAnswer):
    """Bundles, best first, types taking turns."""

    user_id: str
    bundles: list[Bundle]
