"""What the schemas of several resources share."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MAX_LIMIT = 100


def decimal_text(value: object) -> object:
    """Identifiers are strings everywhere; a whole number becomes its decimal string."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


CustomerId = Annotated[
    str,
    BeforeValidator(decimal_text),
    StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Field(examples=["42"]),
]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many items")]


class Provenance(BaseModel):
    """What every answer says about where it comes from."""

    model_config = ConfigDict(protected_namespaces=())

    release: str = Field(description="Release that answered")
    model_versions: dict[str, str] = Field(description="Model kind -> registered version")


class Problem(BaseModel):
    """Why a request was not answered: the field, its value, and the remedy."""

    detail: str
