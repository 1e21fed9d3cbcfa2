"""Business rules as data: when they hold, what they do, and their form on one release.

A rule is conditions and actions, both validated. The rules that hold for a request are compiled once for each
release into masks over item positions, so that a request only looks them up. What several rules say is
joined so that their order never matters: exclusions add up, preferences multiply, the smallest cap and the
strongest calibration count,
and of two pins at one position that of the higher priority stands, then that of the first id.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol, Self

import orjson
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from serving.decisions.catalogue import CatalogueIndex

Text = Annotated[str, Field(min_length=1, max_length=256)]
RuleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Weekday = Annotated[int, Field(ge=0, le=6)]
Hour = Annotated[int, Field(ge=0, le=24)]
Position = Annotated[int, Field(ge=1, le=100)]
Count = Annotated[int, Field(ge=1, le=100)]
MAX_RULES = 200
MAX_LISTED = 10_000
DEFAULT_STRENGTH = 0.5
REQUEST = "request"


def _strength(value: object) -> object:
    """True is the default strength, False none."""
    return (DEFAULT_STRENGTH if value else 0.0) if isinstance(value, bool) else value


Strength = Annotated[float, BeforeValidator(_strength), Field(ge=0.0, le=1.0)]


class Conditions(BaseModel):
    """When a rule holds: all that is given must be true; nothing given is always true."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segments: tuple[Text, ...] = Field(default=(), description="Value segments of the visitor, one of these")
    pages: tuple[Text, ...] = Field(default=(), description="Page or context of the request, one of these")
    categories: tuple[Text, ...] = Field(
        default=(), description="Category of the page: that of the current product, one of these"
    )
    hours: tuple[Hour, Hour] | None = Field(
        default=None, description="From the first hour (UTC) up to before the second; [22, 6] is the night"
    )
    weekdays: tuple[Weekday, ...] = Field(default=(), description="0 is Monday, UTC")
    starts_at: AwareDatetime | None = Field(default=None, description="Holds from this instant on")
    ends_at: AwareDatetime | None = Field(default=None, description="Holds up to before this instant")
    attributes: dict[Text, tuple[Text, ...]] = Field(
        default_factory=dict,
        description="Attributes of the request, such as device: one of these values",
    )


class Actions(BaseModel):
    """What a rule does to the items."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exclude_out_of_stock: bool = Field(default=False, description="Leave out items whose stock is 0 or less")
    exclude_seen: bool = Field(default=False, description="Leave out what the visitor has bought")
    prefer_high_margin: Strength = Field(
        default=0.0, description="Score x (1 + strength x margin share) / (1 + strength); true means 0.5"
    )
    respect_brand_preferences: Strength = Field(
        default=0.0, description="The same with the visitor's share of the item's brand; true means 0.5"
    )
    prefer_novelty: Strength = Field(
        default=0.0, description="The same with how little known the item is; true means 0.5"
    )
    calibrate_categories: Strength = Field(
        default=0.0,
        description="Keep the mix of categories of what the visitor bought and touched: 0 is relevance alone,"
        " 1 the mix alone; true means 0.5",
    )
    only_categories: tuple[Text, ...] = Field(default=(), max_length=MAX_LISTED)
    exclude_categories: tuple[Text, ...] = Field(default=(), max_length=MAX_LISTED)
    only_brands: tuple[Text, ...] = Field(default=(), max_length=MAX_LISTED)
    exclude_brands: tuple[Text, ...] = Field(default=(), max_length=MAX_LISTED)
    price_min: float | None = Field(default=None, ge=0, description="Leave out cheaper and unpriced items")
    price_max: float | None = Field(default=None, ge=0, description="Leave out dearer and unpriced items")
    ban: tuple[Text, ...] = Field(default=(), max_length=MAX_LISTED, description="Items never shown")
    pin: dict[Position, Text] = Field(default_factory=dict, description="Position (from 1) -> item")
    max_per_category: Count | None = Field(default=None, description="Items of one category in a list")
    max_per_brand: Count | None = Field(default=None, description="Items of one brand in a list")

    @model_validator(mode="after")
    def _check_prices(self) -> Self:
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise ValueError(f"price_min {self.price_min:g} is above price_max {self.price_max:g}")
        if len(set(self.pin.values())) < len(self.pin):
            raise ValueError("pin names one item at two positions; an item is shown once")
        return self

    @property
    def needs_seen(self) -> bool:
        """Whether what the visitor bought must be read for it."""
        preferences = self.respect_brand_preferences + self.calibrate_categories
        return self.exclude_seen or preferences > 0

    def to_dict(self) -> dict[str, Any]:
        """JSON form of what differs from the defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Rule(BaseModel):
    """One business rule."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "example": {
                "id": "evening_margin",
                "description": "Dearer goods in the evening on product pages, three of a category at most",
                "when": {"pages": ["product_detail_page"], "hours": [18, 23]},
                "then": {"prefer_high_margin": 0.3, "max_per_category": 3},
            }
        },
    )

    id: RuleId
    description: Annotated[str, Field(max_length=500)] = ""
    enabled: bool = True
    priority: int = Field(default=0, ge=-1000, le=1000, description="Decides between pins at one position")
    when: Conditions = Conditions()
    then: Actions

    @field_validator("id")
    @classmethod
    def _check_id(cls, rule_id: str) -> str:
        if rule_id == REQUEST:
            raise ValueError(f"{REQUEST!r} is the id of what a request asks for; choose another")
        return rule_id


class RuleSet(BaseModel):
    """All rules of one version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Rule, ...] = Field(max_length=MAX_RULES)

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        ids = [rule.id for rule in self.rules]
        for rule_id in ids:
            if ids.count(rule_id) > 1:
                raise ValueError(f"two rules have the id {rule_id!r}; give each its own")
        return self


DEFAULT_RULES = RuleSet(
    rules=(
        Rule(
            id="in_stock",
            description="Nothing that cannot be bought now",
            then=Actions(exclude_out_of_stock=True),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Situation:
    """What conditions look at."""

    at: datetime
    page: str | None = None
    category: str | None = None
    segment: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


def holds(when: Conditions, situation: Situation) -> bool:
    """Whether all conditions are true in a situation."""
    at = situation.at.astimezone(UTC)
    return (
        _among(situation.segment, when.segments)
        and _among(situation.page, when.pages)
        and _among(situation.category, when.categories)
        and (when.hours is None or _within(at.hour, *when.hours))
        and (not when.weekdays or at.weekday() in when.weekdays)
        and (when.starts_at is None or at >= when.starts_at)
        and (when.ends_at is None or at < when.ends_at)
        and all(_among(situation.attributes.get(name), allowed) for name, allowed in when.attributes.items())
    )


def _among(value: str | None, allowed: Sequence[str]) -> bool:
    return not allowed or value in allowed


def _within(hour: int, start: int, end: int) -> bool:
    return start <= hour < end if start <= end else hour >= start or hour < end


class Active(Protocol):
    """A rule that holds, for compilation."""

    @property
    def id(self) -> str: ...

    @property
    def priority(self) -> int: ...

    @property
    def then(self) -> Actions: ...


@dataclass(frozen=True, slots=True)
class HeldRule:
    """A rule that holds, without its conditions: what a receipt keeps."""

    id: str
    then: Actions
    priority: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"id": self.id, "priority": self.priority, "then": self.then.to_dict()}


@dataclass(frozen=True, slots=True)
class Effect:
    """Rules that hold, on one release.

    `blocked` has one byte per item position: 0, or 1 + the place in `names` of the first rule that leaves the
    item out. `boosts` multiplies each item's score (None: nothing to multiply). `pins` maps a position of the
    list (from 0) to an item position and the rule's id.
    """

    names: tuple[str, ...]
    blocked: bytes
    boosts: list[float] | None
    brand_strength: float
    calibration: float
    exclude_seen: bool
    pins: Mapping[int, tuple[int, str]]
    max_per_category: int | None
    max_per_brand: int | None
    held: tuple[HeldRule, ...]
    text: bytes

    @property
    def needs_seen(self) -> bool:
        """Whether what the visitor bought must be read."""
        return self.exclude_seen or self.brand_strength > 0 or self.calibration > 0


def compile_rules(active: Iterable[Active], index: CatalogueIndex) -> Effect:
    """The joint effect of rules that hold; the same for every order of them."""
    held = tuple(
        HeldRule(rule.id, rule.then, rule.priority) for rule in sorted(active, key=lambda rule: rule.id)
    )
    blocked = bytearray(len(index.item_ids))
    boosts: list[float] | None = None
    brand_strength = 0.0
    calibration = 0.0
    pins: dict[int, tuple[int, str]] = {}
    for number, rule in enumerate(held, 1):
        for position in blocked_positions(rule.then, index):
            if not blocked[position]:
                blocked[position] = min(number, 255)
        for strength, shares in (
            (rule.then.prefer_high_margin, index.margins),
            (rule.then.prefer_novelty, index.novelties),
        ):
            if strength:
                before = boosts or [1.0] * len(index.item_ids)
                gained = ((1.0 + strength * share) / (1.0 + strength) for share in shares)
                boosts = [each * gain for each, gain in zip(before, gained, strict=True)]
        brand_strength = 1.0 - (1.0 - brand_strength) * (1.0 - rule.then.respect_brand_preferences)
        calibration = max(calibration, rule.then.calibrate_categories)
    for rule in sorted(held, key=lambda rule: (-rule.priority, rule.id)):
        for place, item_id in sorted(rule.then.pin.items()):
            pinned = index.position.get(item_id)
            taken = {item for item, _ in pins.values()}
            if pinned is not None and not blocked[pinned] and place - 1 not in pins and pinned not in taken:
                pins[place - 1] = (pinned, rule.id)
    return Effect(
        names=tuple(rule.id for rule in held),
        blocked=bytes(blocked),
        boosts=boosts,
        brand_strength=brand_strength,
        calibration=calibration,
        exclude_seen=any(rule.then.exclude_seen for rule in held),
        pins=pins,
        max_per_category=_smallest(rule.then.max_per_category for rule in held),
        max_per_brand=_smallest(rule.then.max_per_brand for rule in held),
        held=held,
        text=orjson.dumps([rule.to_dict() for rule in held]),
    )


def blocked_positions(then: Actions, index: CatalogueIndex) -> set[int]:
    """Positions of the items that these actions leave out, whoever asks."""
    found: set[int] = set()
    if then.exclude_out_of_stock:
        found.update(index.out_of_stock)
    found.update(_unwanted(index.category, then.only_categories, then.exclude_categories))
    found.update(_unwanted(index.brand, then.only_brands, then.exclude_brands))
    if then.price_min is not None or then.price_max is not None:
        low, high = then.price_min or 0.0, then.price_max if then.price_max is not None else float("inf")
        found.update(
            position
            for position, price in enumerate(index.prices)
            if price is None or not low <= price <= high
        )
    found.update(index.position[item_id] for item_id in then.ban if item_id in index.position)
    return found


def held_from(values: Iterable[Mapping[str, Any]]) -> list[HeldRule]:
    """The inverse of `HeldRule.to_dict` for each."""
    return [
        HeldRule(each["id"], Actions.model_validate(each["then"]), int(each["priority"])) for each in values
    ]


def _unwanted(names: Sequence[str | None], only: Sequence[str], excluded: Sequence[str]) -> Iterable[int]:
    """Positions whose folded name is not among `only` (if given) or is among `excluded`."""
    if not only and not excluded:
        return ()
    wanted, unwanted = {name.casefold() for name in only}, {name.casefold() for name in excluded}
    folded = [None if name is None else name.casefold() for name in names]
    return [
        position
        for position, name in enumerate(folded)
        if (wanted and name not in wanted) or (name is not None and name in unwanted)
    ]


def _smallest(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
