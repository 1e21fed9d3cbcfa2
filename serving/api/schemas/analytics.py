"""Analytics answers: figures, what each means, and why some are not there."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class AnalyticsAnswer(BaseModel):
    """Figures of one report; `definitions` says what each is, `unavailable` why some are null."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "period": {
                        "from": "2026-01-02",
                        "to": "2026-01-31",
                        "days": 30,
                        "data_until": "2026-01-31",
                    },
                    "currency": "EUR",
                    "revenue": 93543.27,
                    "margin_rate": 0.386818,
                    "customer_acquisition_cost": None,
                    "unavailable": {"customer_acquisition_cost": "no source tells what marketing costs"},
                    "definitions": {"revenue": "units times price of the orders begun in the period"},
                }
            ]
        },
    )

    period: dict[str, Any] | None = Field(default=None, description="Days of the tables, in data time")
    window: dict[str, Any] | None = Field(default=None, description="Days of what was served, by the clock")
    currency: str | None = None
    unavailable: dict[str, str] = Field(default_factory=dict, description="Figure -> why it is null")
    definitions: dict[str, str] = Field(default_factory=dict, description="Figure -> what it means")
