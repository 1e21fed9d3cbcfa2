"""Reads `campaigns.yaml`, the campaigns of a home:

campaigns:
  - name: spring-win-back
    audience: {list: win_back, where: {churn_probability: {from: 0.85}}}
    channel: email
    content: {grid_items: 4, articles: 1}
    send_time: best
    cost_per_message: 0.02
    budget: 200
    caps: {per_run: 500, quiet_days: 30}
    control_share: 0.1
    start: 2026-03-01
    end: 2026-05-31
    send: true
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from serving.api.schemas.closed import Closed
from serving.declared import read_list

MAX_CAMPAIGNS = 200
JOURNEY = "journey"
TEXT_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "value_segment": ("high", "medium", "low", "at_risk", "churned"),
    "loyalty_tier": ("VIP", "Premium", "Standard", "New"),
}
FREE_TEXT_COLUMNS = ("segment", "next_category")
NUMBER_COLUMNS = (
    "churn_probability",
    "clv_90d",
    "expected_saving",
    "order_count",
    "spend_total",
    "days_since_order",
    "replenish_in_days",
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Link = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=500)]
"""May hold {item_id}, {campaign}, {message_id}, {user_id} and {recommendation_id}."""
Channel = Literal["email", "sms", "push"]


class Range(Closed):
    """Numbers from one on and below another."""

    least: float | None = Field(default=None, alias="from")
    below: float | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.least is None and self.below is None:
            raise ValueError("give from, below, or both")
        if self.least is not None and self.below is not None and self.least >= self.below:
            raise ValueError("give a from that is less than below")
        return self


class Conditions(Closed):
    """What must hold of a customer; what is not known of them holds for nobody."""

    where: dict[str, Range | list[str]] = Field(default_factory=dict)

    @field_validator("where", mode="before")
    @classmethod
    def _known(cls, where: object) -> object:
        columns = (*TEXT_COLUMNS, *FREE_TEXT_COLUMNS, *NUMBER_COLUMNS)
        for column, wanted in where.items() if isinstance(where, dict) else ():
            if column not in columns:
                raise ValueError(f"there is no {column!r}; use {', '.join(columns)}")
            if column in FREE_TEXT_COLUMNS and not isinstance(wanted, list):
                raise ValueError(f"{column}={wanted!r} cannot be used: list names")
            if column in NUMBER_COLUMNS and not isinstance(wanted, dict | Range):
                raise ValueError(f"{column} needs {{from: …, below: …}}")
            if column in TEXT_COLUMNS:
                known = TEXT_COLUMNS[column]
                if not isinstance(wanted, list) or not wanted or any(each not in known for each in wanted):
                    raise ValueError(f"{column}={wanted!r} cannot be used: list some of {', '.join(known)}")
        return where

    def holds(self, customer: Mapping[str, Any]) -> bool:
        """Whether all of it is true of this row of `campaigns/customers.parquet`."""
        return all(_holds(wanted, customer.get(column)) for column, wanted in self.where.items())


def _holds(wanted: Range | list[str], value: Any) -> bool:
    if value is None or value != value:
        return False
    if isinstance(wanted, list):
        return value in wanted
    return (wanted.least is None or value >= wanted.least) and (wanted.below is None or value < wanted.below)


class Audience(Conditions):
    """A list, and what else must hold. `journey`: nobody but whom a journey brings."""

    list: Literal["win_back", "at_risk", "loyal", "replenishment", "everybody", "journey"] = "everybody"

    def holds(self, customer: Mapping[str, Any]) -> bool:
        """Whether the customer is of the audience."""
        listed = {
            "everybody": True,
            JOURNEY: False,
            "replenishment": customer.get("replenish_item_id") is not None,
        }
        return listed.get(self.list, customer.get("list") == self.list) and super().holds(customer)


class Content(Closed):
    """How the message is composed, as `POST /api/v1/personalize/email/{user_id}` takes it."""

    use_customer_name: bool = True
    include_personalized_offer: bool = True
    grid_items: int = Field(default=6, ge=0, le=24)
    articles: int = Field(default=2, ge=0, le=10)
    product_link: Link | None = None
    unsubscribe_link: Link | None = None

    @model_validator(mode="after")
    def _names_the_item(self) -> Self:
        if self.product_link is not None and "{item_id}" not in self.product_link:
            raise ValueError(f"product_link={self.product_link!r} leads to no item; write {{item_id}} in it")
        return self


class Caps(Closed):
    """`per_run`: messages of one run. `quiet_days`: for which the campaign leaves a customer alone."""

    per_run: int | None = Field(default=None, ge=1)
    quiet_days: int = Field(default=30, ge=1, le=3650)


class Campaign(Closed):
    """Whom to write to, what, when, how often, at what cost, and who is left out to measure the effect."""

    name: Name
    audience: Audience = Field(default_factory=Audience)
    channel: Channel = "email"
    content: Content = Field(default_factory=lambda: Content())
    send_time: Literal["best", "soonest"] | Annotated[int, Field(ge=0, le=23)] = "best"
    cost_per_message: float = Field(default=0.0, ge=0)
    budget: float | None = Field(default=None, ge=0)
    caps: Caps = Field(default_factory=lambda: Caps())
    control_share: float = Field(default=0.1, ge=0, le=0.9)
    start: date
    end: date | None = None
    send: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError(f"end={self.end} is before start={self.start}; give a later end, or none")
        if self.budget is not None and self.cost_per_message == 0:
            raise ValueError("budget needs cost_per_message above 0; give what one message costs")
        return self

    def is_running(self, day: date) -> bool:
        """From the first day to the last."""
        return self.start <= day and (self.end is None or day <= self.end)


def read_campaigns(path: Path) -> list[Campaign]:
    """The campaigns of a home, none without a file; raises `InvalidDeclarations`."""
    return read_list(path, "campaigns", Campaign, MAX_CAMPAIGNS)
