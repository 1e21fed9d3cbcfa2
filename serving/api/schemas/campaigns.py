"""Campaigns and journeys as they are declared, and how far they are."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class CampaignState(BaseModel):
    """One campaign of `campaigns.yaml`, whole, and its messages."""

    model_config = ConfigDict(extra="allow")

    name: str
    audience: dict[str, Any]
    channel: str
    send: bool = Field(description="Whether a daily run queues its messages; else they are drafts")
    messages: dict[str, int] = Field(
        description="Messages by state: draft, queued, sending, sent, held_out, skipped, failed"
    )


class JourneyState(BaseModel):
    """One journey of `journeys.yaml`."""

    name: str
    send: bool
    customers: dict[str, int] = Field(description="Customers by the state they are in, or ended in")
    diagram: str = Field(description="Mermaid")


class CampaignsAnswer(BaseModel):
    """All of both."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "campaigns": [
                        {
                            "name": "spring-win-back",
                            "audience": {"list": "at_risk", "where": {}},
                            "channel": "email",
                            "control_share": 0.1,
                            "send": True,
                            "messages": {"sent": 412, "held_out": 47, "skipped": 9},
                        }
                    ],
                    "journeys": [
                        {
                            "name": "welcome",
                            "send": True,
                            "customers": {"pause": 31, "done": 118},
                            "diagram": "stateDiagram-v2\n    s1: hello (3)\n    [*] --> s1: signup",
                        }
                    ],
                }
            ]
        }
    )

    campaigns: list[CampaignState]
    journeys: list[JourneyState]
