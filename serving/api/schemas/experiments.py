"""Experiments: their definition, as the API and `experiments.yaml` give it, and what is said of them."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from serving.api.schemas.common import CustomerId
from serving.decisions.assignment import AT_LEAST_TWO, AT_MOST, BUCKETS, HOLDOUT_ID
from serving.decisions.parameters import canonical_value, problem_of

SEGMENTS = ("high", "medium", "low", "at_risk", "churned")
ATTRIBUTES = (
    "device_type",
    "channel",
    "page",
    "session_type",
    "time_of_day",
    "traffic_source",
    "language",
    "country",
)
METRICS = (
    "click_through_rate",
    "conversion_rate",
    "revenue_per_visitor",
    "average_order_value",
    "orders_per_visitor",
    "engagement_score",
)
METRIC_SPELLINGS = {
    "ctr": "click_through_rate",
    "conversion": "conversion_rate",
    "aov": "average_order_value",
}
MAX_PARAMETER_BYTES = 2048

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _segment(value: object) -> object:
    """`high_value_customers` and `at_risk_customers` are the documents' names of value segments."""
    if not isinstance(value, str):
        return value
    return value.strip().lower().removesuffix("_customers").removesuffix("_value").replace("-", "_")


def _metric(value: object) -> object:
    return (
        METRIC_SPELLINGS.get(value.strip().lower(), value.strip().lower())
        if isinstance(value, str)
        else value
    )


Instant = Annotated[datetime, AfterValidator(_in_utc)]
Segment = Annotated[Literal[SEGMENTS], BeforeValidator(_segment)]  # type: ignore[valid-type]
Metric = Annotated[Literal[METRICS], BeforeValidator(_metric)]  # type: ignore[valid-type]
Attribute = Literal[ATTRIBUTES]  # type: ignore[valid-type]


class VariantDefinition(BaseModel):
    """One arm of an experiment."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "control", "weight": 1}]}
    )

    name: Name
    weight: float = Field(
        default=1.0,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Share of visitors, beside the others",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        max_length=20,
        description="What decisions read for its visitors; `GET /api/v1/experiments` lists the keys",
        examples=[{"recommendations.algorithm": "collaborative"}],
    )

    @model_validator(mode="before")
    @classmethod
    def _read_the_short_form(cls, value: Any) -> Any:
        """`algorithm: x` beside the name is `parameters: {recommendations.algorithm: x}`."""
        if not isinstance(value, dict) or "algorithm" not in value:
            return value
        given = value.get("parameters") or {}
        rest = {key: each for key, each in value.items() if key != "algorithm"}
        if not isinstance(given, dict):
            return value
        return {**rest, "parameters": {**given, "recommendations.algorithm": value["algorithm"]}}

    @field_validator("parameters")
    @classmethod
    def _is_read_by_a_decision(cls, given: dict[str, Any]) -> dict[str, Any]:
        values = {key: canonical_value(key, value) for key, value in given.items()}
        for key, value in values.items():
            problem = problem_of(key, value)
            if problem:
                raise ValueError(problem)
        try:
            size = len(orjson.dumps(values))
        except TypeError as error:
            raise ValueError(f"values are JSON: {error}") from None
        if size > MAX_PARAMETER_BYTES:
            raise ValueError(f"parameters take {size} bytes: at most {MAX_PARAMETER_BYTES} are kept")
        return values


class ConditionDefinition(BaseModel):
    """Who takes part, by what the request says."""

    model_config = ConfigDict(extra="forbid")

    attribute: Attribute
    is_one_of: list[Text] = Field(min_length=1, max_length=50, examples=[["mobile", "tablet"]])


EXAMPLE: dict[str, Any] = {
    "id": "collaborative-or-hybrid",
    "name": "Product Recommendation Algorithm Test",
    "hypothesis": "The hybrid ranking brings more clicks to valuable customers",
    "segment": "high",
    "variants": [
        {"name": "control", "weight": 1, "parameters": {"recommendations.algorithm": "collaborative"}},
        {"name": "variant_a", "weight": 1, "parameters": {"recommendations.algorithm": "hybrid"}},
    ],
    "metrics": ["click_through_rate", "conversion_rate", "revenue_per_visitor"],
    "start": "2026-12-01T00:00:00Z",
    "end": "2026-12-15T00:00:00Z",
    "layer": "recommendations",
    "share": 0.5,
}


def _without_its_id(schema: dict[str, Any]) -> None:
    """The name stands for the id where there is none, so a request may leave it out."""
    schema["examples"] = [EXAMPLE]
    schema["required"] = [name for name in schema["required"] if name != "id"]


class Definition(BaseModel):
    """An experiment. Its first variant is the control: what everybody else gets."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, json_schema_extra=_without_its_id)

    id: Name = Field(
        validation_alias=AliasChoices("id", "experiment_id"),
        description="Stands in every event; left out: the name in lower case with hyphens",
    )
    name: Text | None = None
    hypothesis: Text | None = Field(
        default=None, description="What is expected, written down before the start"
    )
    segment: Segment | None = Field(
        default=None,
        validation_alias=AliasChoices("segment", "customer_segment"),
        description="Value segment of those who take part; null: everybody",
    )
    conditions: list[ConditionDefinition] = Field(default_factory=list, max_length=10)
    variants: list[VariantDefinition] = Field(min_length=AT_LEAST_TWO, max_length=AT_MOST)
    metrics: list[Metric] = Field(
        default_factory=lambda: ["conversion_rate"],
        min_length=1,
        max_length=10,
        validation_alias=AliasChoices("metrics", "success_metrics"),
        description="What decides; the first one is the primary metric",
    )
    start: Instant | None = Field(default=None, description="Null: at once")
    end: Instant | None = Field(default=None, description="Null: until it is stopped")
    sample_size: int | None = Field(
        default=None,
        ge=10,
        le=100_000_000,
        description="Visitors wanted in each variant; null: AB_TEST_SAMPLE_SIZE",
    )
    layer: Name = Field(default="default", description="Experiments of one layer share no visitor")
    share: float = Field(default=1.0, ge=1 / BUCKETS, le=1, description="Share of the layer's visitors")
    holdout_share: float = Field(
        default=0.0, ge=0, le=0.5, description="Visitors of the permanent holdout who are left out, at least"
    )
    salt: Name | None = Field(default=None, description="Deals visitors to variants; null: the id")
    mode: Literal["fixed", "bandit"] = Field(
        default="fixed",
        description="bandit: each run deals anew, by how likely each variant is the best (Thompson sampling)",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_the_id_from_the_name(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "id" in value or "experiment_id" in value:
            return value
        words = re.findall(r"[a-z0-9]+", str(value.get("name") or "").lower())
        return {**value, "id": "-".join(words)[:64].strip("-")} if words else value

    @field_validator("id")
    @classmethod
    def _is_not_ours(cls, value: str) -> str:
        if value in (HOLDOUT_ID, "default", "plan", "false_positives"):
            raise ValueError(f"{value} is built in: choose another id")
        return value

    @field_validator("variants", mode="before")
    @classmethod
    def _read_a_mapping(cls, value: Any) -> Any:
        """`{control: {algorithm: x}, variant_a: {...}}` is a list of named variants."""
        if not isinstance(value, dict):
            return value
        return [{"name": name, **(each if isinstance(each, dict) else {})} for name, each in value.items()]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have one name: give each its own")
        if sum(variant.weight > 0 for variant in self.variants) < AT_LEAST_TWO:
            raise ValueError("fewer than two variants have a weight above 0: nothing would be compared")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end is not after start: give a later end")
        attributes = [condition.attribute for condition in self.conditions]
        if len(set(attributes)) < len(attributes):
            raise ValueError("two conditions have one attribute: list all values in one")
        return self


class DefinitionChange(BaseModel):
    """What to change; fields that are not sent stay. A running experiment keeps what deals its visitors."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"end": "2027-01-15T00:00:00Z"}]}
    )

    name: Text | None = None
    hypothesis: Text | None = None
    segment: Segment | None = None
    conditions: list[ConditionDefinition] | None = Field(default=None, max_length=10)
    variants: list[VariantDefinition] | None = Field(
        default=None, min_length=AT_LEAST_TWO, max_length=AT_MOST
    )
    metrics: list[Metric] | None = Field(default=None, min_length=1, max_length=10)
    start: Instant | None = None
    end: Instant | None = None
    sample_size: int | None = Field(default=None, ge=10, le=100_000_000)
    layer: Name | None = None
    share: float | None = Field(default=None, ge=1 / BUCKETS, le=1)
    holdout_share: float | None = Field(default=None, ge=0, le=0.5)
    salt: Name | None = None
    mode: Literal["fixed", "bandit"] | None = None


class ExperimentVersion(BaseModel):
    """One change of an experiment."""

    version: int
    change: str = Field(description="created, changed or stopped")
    changed_at: str


class ExperimentAnswer(BaseModel):
    """One experiment as it is now."""

    experiment_id: str = Field(examples=["collaborative-or-hybrid"])
    version: int
    status: str = Field(description="scheduled, running or ended")
    origin: str = Field(description="api, file (experiments.yaml) or built_in")
    definition: dict[str, Any]
    sample_size: int = Field(description="Visitors wanted in each variant")
    created_at: str | None
    stopped_at: str | None
    exposed: dict[str, int] | None = Field(default=None, description="Visitors who met each variant")
    has_sample: bool | None = Field(default=None, description="Whether each variant has its sample")
    versions: list[ExperimentVersion] | None = None


class ExperimentList(BaseModel):
    """Every experiment, the built-in one last."""

    enabled: bool
    disabled_by: str | None = Field(description="The setting that switches experiments off, if it does")
    holdout_share: float
    parameters: dict[str, dict[str, Any]] = Field(description="What variants may set, and which values")
    file_problem: str | None = Field(description="Why experiments.yaml is not in force, if it is not")
    experiments: list[ExperimentAnswer]


class VariantAnswer(BaseModel):
    """A visitor's variant."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "42",
                    "variant": "variant_a",
                    "experiment_id": "collaborative-or-hybrid",
                    "version": 1,
                    "parameters": {"recommendations.algorithm": "hybrid"},
                    "is_assigned": True,
                    "reason": None,
                }
            ]
        }
    )

    user_id: str
    variant: str
    experiment_id: str
    version: int
    parameters: dict[str, Any]
    is_assigned: bool = Field(description="False: the control, without being counted")
    reason: str | None = Field(description="Why not assigned, such as holdout, outside_the_share, opted_out")


class ExperimentEvent(BaseModel):
    """Something that a visitor of an experiment did."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={"examples": [{"user_id": "42", "event": "conversion", "value": 25.0}]},
    )

    user_id: CustomerId = Field(validation_alias=AliasChoices("user_id", "customer_id"))
    event: Name = Field(description="What happened, such as conversion, click, signup")
    value: float | None = Field(default=None, allow_inf_nan=False, ge=-1e12, le=1e12)
    experiment: Name | None = Field(
        default=None,
        validation_alias=AliasChoices("experiment", "experiment_id"),
        description="Null: all that the visitor was exposed to, else the one that the variant call names",
    )
    event_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None, description="Yours, so that a repeated request counts once"
    )
    timestamp: Instant | None = None


class TrackedConversion(BaseModel):
    """One event of the log."""

    event_id: str
    experiment_id: str
    variant: str | None
    status: str


class ExperimentEventAnswer(BaseModel):
    """What was written to the log."""

    tracked: bool
    event_id: str | None = Field(description="The first of `events`")
    reason: str | None
    events: list[TrackedConversion]


class ResultAnswer(BaseModel):
    """What an experiment shows so far."""

    experiment_id: str
    result: dict[str, Any] | None = Field(
        description="`verdict` in words; `sample_ratio`; `metrics`, each with its role, how often simulated"
        " A/A tests call a difference (`false_positives`) and, for each variant, value, `fixed` and"
        " `always_valid` interval of the difference, `lift`, `cuped`, `days`, `segments`; `guardrails`"
    )
    reason: str | None = Field(description="Why there is no result")


class LiftAnswer(BaseModel):
    """What personalization brings, against the permanent holdout."""

    result: dict[str, Any] | None = Field(
        description="`personalized_users`, `control_group`; `lift` of revenue, conversion, engagement,"
        " retention (over all time only), satisfaction (mean rating) and returns (lower is better); the same"
        " `by` customer_tier, device_type and traffic_source; `intervals` says when they hold; `period` from"
        " and until; `verdict` in words, null for a period"
    )
    reason: str | None = Field(
        description="Why there is no result", examples=["no visitor was held out: set ATTUNE_HOLDOUT_SHARE"]
    )


class PlanQuestion(BaseModel):
    """What an experiment shall be able to show."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"baseline": 0.05, "lift": 0.1, "visitors_per_day": 4000}]},
    )

    baseline: float = Field(
        ge=1e-6,
        le=1e9,
        description="The metric now: a share such as 0.05, or a mean such as 3.20 per visitor",
    )
    lift: float = Field(gt=-1, le=100, description="Smallest relative change worth finding: 0.1 is 10 %")
    deviation: float | None = Field(
        default=None,
        ge=1e-6,
        le=1e12,
        description="Standard deviation over visitors; null: the baseline is a share",
    )
    power: float = Field(default=0.8, ge=0.5, le=0.999, description="Probability to find such a change")
    confidence: float = Field(default=0.95, gt=0.5, le=0.9999)
    variants: int = Field(default=2, ge=AT_LEAST_TWO, le=AT_MOST, description="The control included")
    visitors_per_day: float | None = Field(
        default=None,
        ge=1,
        le=1e9,
        description="Who would take part, in all variants; null: no days are answered",
    )
    window_days: int = Field(default=7, ge=1, le=60, description="Days for which a visitor is followed")


class PlanAnswer(BaseModel):
    """What an experiment needs."""

    users_per_variant: int = Field(description="For one look, at the end")
    users_in_all: int
    days: int | None = Field(description="Until the last visitor's window is closed")
    users_per_variant_always_valid: int = Field(description="At most, with a look at any time")
    days_always_valid: int | None
    absolute_effect: float = Field(description="The lift in units of the metric")
    detectable_lift_in_28_days: float | None = Field(description="What 28 days of visitors would show")


class FlagAnswer(BaseModel):
    """One feature flag."""

    name: str = Field(examples=["ab_testing"])
    enabled: bool
    setting: str = Field(examples=["ENABLE_AB_TESTING"], description="Environment variable that decides")
    reason: str = Field(description="DEFAULT: nobody changed it; STATIC: the setting did")
    switches: str = Field(description="What it switches, and what happens while it is off")


class FlagList(BaseModel):
    """Every feature flag."""

    flags: list[FlagAnswer]
