"""Preferences: how a person is shown things, which messages they get, how private they are."""

from typing import Annotated, Literal

import langcodes
import pycountry
from langcodes.tag_parser import LanguageTagError
from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictStr
from pydantic_core import PydanticCustomError

from serving.api.schemas.closed import Closed


def _language(value: str) -> str:
    """A BCP 47 tag in its usual spelling."""
    try:
        is_valid = langcodes.tag_is_valid(value)
    except LanguageTagError:
        is_valid = False
    if not is_valid:
        raise PydanticCustomError("language", "use a BCP 47 language tag such as en, pt or pt-BR")
    return langcodes.standardize_tag(value)


def _currency(value: str) -> str:
    """An ISO 4217 code in capitals."""
    found = pycountry.currencies.get(alpha_3=value.upper())
    if found is None:
        raise PydanticCustomError("currency", "use an ISO 4217 currency code such as USD or EUR")
    return str(found.alpha_3)


Language = Annotated[
    StrictStr, Field(min_length=2, max_length=35, examples=["en", "pt-BR"]), AfterValidator(_language)
]
Currency = Annotated[
    StrictStr, Field(min_length=3, max_length=3, examples=["USD", "EUR"]), AfterValidator(_currency)
]
Theme = Annotated[Literal["light", "dark", "auto"], Field(examples=["dark"])]


class NotificationsPatch(Closed):
    """Which messages a person wants; a grant or a revocation in the consent ledger."""

    email: StrictBool | None = None
    sms: StrictBool | None = None
    push: StrictBool | None = None


class PrivacyPatch(Closed):
    """How private a person wants to be; a grant or a revocation in the consent ledger."""

    tracking_enabled: StrictBool | None = Field(default=None, description="false stops tracking at once")
    personalized_ads: StrictBool | None = Field(
        default=None, description="false stops personalization at once: answers are those for everybody"
    )


class PreferencesPatch(Closed):
    """What to change; what is not named stays."""

    language: Language | None = None
    currency: Currency | None = None
    theme: Theme | None = None
    notifications: NotificationsPatch | None = None
    privacy: PrivacyPatch | None = None


class Notifications(BaseModel):
    """Messages that may be sent; communication waits for a grant unless GDPR_COMPLIANT is false."""

    email: bool
    sms: bool
    push: bool


class Privacy(BaseModel):
    """What is allowed."""

    tracking_enabled: bool
    personalized_ads: bool


class PreferencesAnswer(BaseModel):
    """All preferences of one user."""

    user_id: str
    language: str = Field(description="BCP 47")
    currency: str = Field(description="ISO 4217")
    theme: Theme
    notifications: Notifications
    privacy: Privacy
    disabled: str | None = Field(
        default=None, description="The setting that switches the preference center off, if it is off"
    )
