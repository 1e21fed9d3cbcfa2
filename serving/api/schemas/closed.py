"""Requests that name every field they take: an unknown one is refused with those that there are."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Closed(BaseModel):
    """Base of requests that take their own fields only."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        allowed: set[str] = set()
        for name, field in cls.model_fields.items():
            choices = getattr(field.validation_alias, "choices", None)
            allowed |= {str(each) for each in choices} if choices else {field.alias or name}
        unknown = sorted(str(name) for name in value if name not in allowed)
        if unknown:
            raise PydanticCustomError(
                "unknown_field",
                "there is no field {unknown}; use {allowed}",
                {"unknown": ", ".join(unknown)[:200], "allowed": ", ".join(sorted(allowed))},
            )
        return value
