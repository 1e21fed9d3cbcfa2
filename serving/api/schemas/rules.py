"""Business rules; `serving.decisions.rules` has the rules themselves."""

from typing import Any

from pydantic import BaseModel, Field


class RuleVersion(BaseModel):
    """One version that was stored."""

    version: int
    at: str
    source: str = Field(description="api or file")


class RulesAnswer(BaseModel):
    """The rules in force."""

    version: int = Field(description="0: the default rules, nothing was stored yet")
    source: str = Field(examples=["api"], description="default, file or api")
    rules: list[dict[str, Any]] = Field(description="In the form that PUT takes; defaults are left out")
    history: list[RuleVersion]
