"""Receipts of decisions; `serving.decision_log` builds answers in this shape."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class DecisionOutcome(BaseModel):
    """One event that came back with the decision's id."""

    status: str = Field(description="clicked or converted")
    item_id: str | None
    event_id: str
    at: str


class DecisionAnswer(BaseModel):
    """What a decision saw, what it gave, and whether it comes out the same again."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "decision_id": "0191d2c0a1b2c3d4e5f60718293a4b5c",
                "kind": "recommendations",
                "customer_id": "c_1",
                "at": "2026-11-20T10:00:00+00:00",
                "release": "20261119-1a2b3c4d",
                "status": "clicked",
                "outcomes": [],
                "inputs": {"limit": 2, "rung": "batch", "explore": 0.05},
                "output": {
                    "rung": "batch",
                    "items": [],
                    "removed": {},
                },
                "recomputed": True,
                "identical": True,
                "not_recomputed_because": None,
            }
        }
    )

    decision_id: str
    kind: str
    customer_id: str | None = Field(description="Null where tracking or personalization was not allowed")
    at: str
    release: str
    status: str = Field(description="served, clicked or converted")
    outcomes: list[DecisionOutcome]
    inputs: dict[str, Any] = Field(
        description="Features with ages, candidates with sources, rules in force, experiment arms, seed"
    )
    output: dict[str, Any] = Field(description="Items with scores and propensities; what each rule left out")
    recomputed: bool = Field(description="Whether the decision was made again from its inputs")
    identical: bool | None = Field(description="Whether the same came out; null if it was not made again")
    not_recomputed_because: str | None
