"""Receipts of erasure, and what an export holds."""

from typing import Any

from pydantic import BaseModel, Field


class Removed(BaseModel):
    """What is gone."""

    operational: dict[str, int] = Field(description="Table -> rows", examples=[{"events": 12}])
    online_features: int = Field(description="Rows of the online store")
    memory: str


class Remaining(BaseModel):
    """What is still there, and until when."""

    store: str
    holds: str
    until: str
    how: str


class Receipt(BaseModel):
    """What an erasure did."""

    user_id: str
    erased_at: str
    ids: int = Field(description="The id and the anonymous ids that had joined it")
    removed: Removed
    remains: list[Remaining]
    kept: str


class ExportAnswer(BaseModel):
    """Everything that is held about a person."""

    user_id: str
    anonymous_ids: list[str]
    exported_at: str
    operational: dict[str, list[dict[str, Any]]] = Field(description="Table -> rows")
    online_features: dict[str, dict[str, Any]] = Field(description="View -> id -> row")
    files: dict[str, list[dict[str, Any]]] = Field(description="Published and landed tables -> rows")
