"""Customers and their addresses."""

import re
from typing import Annotated, Any, Literal, Self

import orjson
import pycountry
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    StrictInt,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from serving.api.schemas.closed import Closed
from serving.api.schemas.common import CustomerId
from serving.api.schemas.recommendations import RecommendedItem

EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f.]+(\.[^@\s\x00-\x1f.]+)+")
MAX_OBJECT_BYTES = 16_384
MAX_ADDRESSES = 20


def _email(value: str) -> str:
    if not EMAIL.fullmatch(value):
        raise PydanticCustomError("email", "use an address such as name@example.com")
    return value


def _country(value: str) -> str:
    """An ISO 3166 code of two letters."""
    found = pycountry.countries.get(alpha_2=value.upper()) or pycountry.countries.get(alpha_3=value.upper())
    if found is None:
        raise PydanticCustomError("country", "use an ISO 3166 country code such as PT or DE")
    return str(found.alpha_2)


def _small(value: dict[str, Any]) -> dict[str, Any]:
    """An object that can be stored: JSON, and not a library."""
    try:
        size = len(orjson.dumps(value))
    except (TypeError, orjson.JSONEncodeError):
        raise PydanticCustomError("json", "use JSON values") from None
    if size > MAX_OBJECT_BYTES:
        raise PydanticCustomError("too_large", f"use at most {MAX_OBJECT_BYTES} bytes of JSON")
    return value


def _capitalized(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Text = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Email = Annotated[
    str,
    StringConstraints(strict=True, max_length=254),
    AfterValidator(_email),
    Field(examples=["ana@example.com"]),
]
Country = Annotated[
    str,
    StringConstraints(strict=True, min_length=2, max_length=3),
    AfterValidator(_country),
    Field(description="ISO 3166, two or three letters; stored as two", examples=["PT"]),
]
Age = Annotated[StrictInt, Field(ge=0, le=130)]
Object = Annotated[dict[Text, Any], Field(max_length=100), AfterValidator(_small)]
NAMED = AliasChoices("customer_id", "user_id")


class CustomerFields(Closed):
    """What the shop knows about a customer; all of it is optional."""

    name: Text | None = None
    email: Email | None = None
    age: Age | None = None
    gender: Text | None = None
    location: Text | None = None
    segment: Text | None = Field(default=None, examples=["Regular"])
    preferences: Object | None = Field(default=None, examples=[{"category": "electronics"}])
    attributes: Object | None = Field(
        default=None,
        description="Whatever else: interests, values, lifestyle, brand affinity; a batch reads it",
        examples=[{"interests": ["cycling"]}],
    )


class CreateCustomer(CustomerFields):
    """A new customer."""

    customer_id: CustomerId = Field(validation_alias=NAMED, examples=["42"])


class UpdateCustomer(CustomerFields):
    """What to change; what is not named stays, and null takes a value away."""

    @model_validator(mode="after")
    def _needs_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("empty", "name at least one field to change")
        return self


class Address(Closed):
    """Where a customer lives or pays."""

    type: Annotated[Literal["shipping", "billing"], BeforeValidator(_capitalized)]
    line1: Text = Field(examples=["1 Quay St"])
    line2: Text | None = None
    city: Text = Field(examples=["Lisbon"])
    region: Text | None = None
    postal_code: (
        Annotated[
            str, StringConstraints(strict=True, min_length=1, max_length=20, pattern=r"^[^\x00-\x1f\x7f]+$")
        ]
        | None
    ) = Field(default=None, examples=["1100"])
    country: Country


class AddAddresses(Closed):
    """Addresses to add to a customer: a list, or one."""

    customer_id: CustomerId = Field(validation_alias=NAMED, examples=["42"])
    addresses: list[Address] = Field(min_length=1, max_length=MAX_ADDRESSES)

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        if isinstance(value, dict) and "address" in value and "addresses" not in value:
            return {
                **{name: each for name, each in value.items() if name != "address"},
                "addresses": [value["address"]],
            }
        return value


class NewAddresses(Closed):
    """Addresses to add to the customer of the path."""

    addresses: list[Address] = Field(min_length=1, max_length=MAX_ADDRESSES)


class ShownAddress(BaseModel):
    """An address as it is stored."""

    type: str
    line1: str
    line2: str | None
    city: str
    region: str | None
    postal_code: str | None
    country: str


class AddressesAnswer(BaseModel):
    """All addresses of a customer."""

    customer_id: str
    addresses: list[ShownAddress]


class CustomerAnswer(AddressesAnswer):
    """One customer."""

    name: str | None
    email: str | None
    age: int | None
    gender: str | None
    location: str | None
    segment: str | None
    preferences: dict[str, Any]
    attributes: dict[str, Any]
    created_at: str | None = Field(description="null for a customer whom only the batch knows")
    updated_at: str | None


class CustomerProfileAnswer(CustomerAnswer):
    """One customer with what to show them now."""

    recommendation_id: str
    recommendations: list[RecommendedItem]
    release: str
