"""Analytics answers: figures, series and tables, each with what it means and where it comes from."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Number = float | int | None


class Described(BaseModel):
    """What stands beside every number."""

    unit: str = Field(description="Currency code, share (0 to 1), seconds, or what is counted")
    definition: str
    source_asset: str | None = Field(description="The Dagster asset that made it")
    as_of: str | None = Field(default=None, description="The last day of data in it")


class Comparison(BaseModel):
    """A figure in the period that it is compared with."""

    value: Number
    change: float | None = Field(description="Share by which the figure differs; null if either is unknown")


class FigureAnswer(Described):
    """One number of the period."""

    value: Number | str
    comparison: Comparison | None
    unavailable: str | None = Field(default=None, description="Why the value is null")


class SeriesAnswer(Described):
    """One number of each day that has data."""

    x: list[str] = Field(description="Days")
    values: list[Number]
    comparison: list[Number] | None = Field(description="The same days of the other period, in this order")


class ColumnAnswer(BaseModel):
    """One column of a table."""

    model_config = ConfigDict(extra="allow")

    name: str
    unit: str
    definition: str


class TableAnswer(BaseModel):
    """Rows by member, item or step."""

    columns: list[ColumnAnswer]
    rows: list[dict[str, Any]]
    source_asset: str | None
    as_of: str | None = None
    comparison: list[dict[str, Any]] | None = Field(description="The rows' figures in the other period")


class DashboardAnswer(BaseModel):
    """Figures, series and tables of one dashboard."""

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
                    "comparison_period": {"from": "2025-12-03", "to": "2026-01-01", "days": 30},
                    "segment": None,
                    "currency": "EUR",
                    "as_of": "2026-01-31",
                    "figures": {
                        "revenue": {
                            "value": 93543.27,
                            "unit": "EUR",
                            "definition": "Units times price of what was bought in the sessions begun in the"
                            " period, before returns.",
                            "source_asset": "transforms/metrics_daily",
                            "as_of": "2026-01-31",
                            "comparison": {"value": 88012.5, "change": 0.062841},
                        }
                    },
                    "series": {
                        "orders": {
                            "x": ["2026-01-30", "2026-01-31"],
                            "values": [41, 38],
                            "unit": "orders",
                            "definition": "Orders with a line in those sessions, guests included.",
                            "source_asset": "transforms/metrics_daily",
                            "as_of": "2026-01-31",
                            "comparison": [39, 44],
                        }
                    },
                    "tables": {
                        "by_channel": {
                            "columns": [
                                {"name": "channel", "unit": "text", "definition": "Member of channel."},
                                {"name": "sessions", "unit": "sessions", "definition": "Sessions begun."},
                            ],
                            "rows": [{"channel": "web", "sessions": 4410}],
                            "source_asset": "transforms/metrics_daily",
                            "as_of": "2026-01-31",
                            "comparison": [{"sessions": 4205}],
                        }
                    },
                }
            ]
        },
    )

    period: dict[str, Any] | None = Field(default=None, description="Days of the tables, in data time")
    comparison_period: dict[str, Any] | None = Field(
        default=None, description="What it is compared with; null if the data begins later"
    )
    segment: dict[str, str] | None = None
    currency: str | None = None
    as_of: str | None = Field(default=None, description="The last day of the tables")
    figures: dict[str, FigureAnswer]
    series: dict[str, SeriesAnswer]
    tables: dict[str, TableAnswer]
    live: dict[str, Any] | None = Field(default=None, description="What came since, with its definitions")


class ExperimentResults(BaseModel):
    """Published results, one for each experiment."""

    experiments: list[dict[str, Any]]
    source_asset: str = Field(examples=["analysis/experiments"])
    unavailable: dict[str, str] = Field(default_factory=dict)
