"""Consent: what a person allows, and the ledger of how that came about."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictBool, StringConstraints

from serving.api.schemas.closed import Closed

PurposeName = Literal["tracking", "personalization", "email", "sms", "push", "data_sharing"]
Word = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class ConsentRequest(Closed):
    """One grant or revocation."""

    purpose: PurposeName = Field(examples=["email"])
    granted: StrictBool = Field(examples=[True])
    source: Word = Field(default="api", description="Where the person said so", examples=["checkout"])
    text_version: Word | None = Field(
        default=None, description="Which wording was shown", examples=["2025-11"]
    )


class ConsentEntry(BaseModel):
    """One entry of the ledger."""

    purpose: PurposeName
    granted: bool
    at: str
    source: str
    text_version: str | None


class Purposes(BaseModel):
    """What is allowed now, request headers aside."""

    tracking: bool
    personalization: bool
    email: bool
    sms: bool
    push: bool
    data_sharing: bool


class ConsentState(BaseModel):
    """What one person allows now."""

    user_id: str
    purposes: Purposes


class ConsentAnswer(ConsentState):
    """What one person allows now, and a page of their ledger, newest first."""

    ledger: list[ConsentEntry]
    next: int | None = Field(description="Give it as `before` for the next page; null on the last one")
