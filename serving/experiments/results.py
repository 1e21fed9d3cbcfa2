"""Results of experiments, as the pipeline published them: read, never computed here.

`<home>/experiments/<id>.json` is replaced whole by each run (`orchestration.experiments`); a file is read
again when it has changed.
"""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from feature_repo.layout import Home
from serving.api.schemas.experiments import PlanQuestion
from serving.decisions.assignment import HELD_OUT, HOLDOUT_ID, INCLUDED
from serving.errors import InvalidField
from training.artifacts import InvalidPlan, Question, detectable_lift, of_share, plan

Result = dict[str, Any]

NOT_YET = (
    "No result is published: nobody has met the experiment yet, or no run has followed since."
    " `attune run --source event_log` makes one."
)
NO_HOLDOUT = (
    "No holdout is measured: set ATTUNE_HOLDOUT_SHARE, then run the pipeline once a window is closed."
)
LIFT_METRICS = {
    "revenue": "revenue_per_visitor",
    "conversion": "conversion_rate",
    "engagement": "engagement_score",
    "retention": "retention_rate",
    "satisfaction": "mean_rating",
    "returns": "return_share",
}
ALL_TIME = "all"
LIFT_DIMENSIONS = ("customer_tier", "device_type", "traffic_source")


class Results:
    """The published results of a home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._read: dict[str, tuple[tuple[int, int], Result]] = {}

    async def of(self, experiment_id: str) -> Result:
        """The result of one experiment; `result` is null, with the reason, before there is one."""
        found = await asyncio.to_thread(self.published, experiment_id)
        reason = NOT_YET if found is None else None
        return {"experiment_id": experiment_id, "result": found, "reason": reason}

    async def lift(self, period: str = ALL_TIME) -> Result:
        """Personalized visitors against the permanent holdout, by metric and by segment."""
        found = await asyncio.to_thread(self.published, HOLDOUT_ID)
        if found is None:
            return {"result": None, "reason": NO_HOLDOUT}
        if period == ALL_TIME:
            return {"result": lift_of(found), "reason": None}
        of_period = found.get("periods", {}).get(period)
        if of_period is None:
            return {"result": None, "reason": NOT_YET}
        return {"result": lift_of_period(found, of_period), "reason": None}

    def published(self, experiment_id: str) -> Result | None:
        """The file of one experiment; None if there is none."""
        path = self._home.experiment_result(experiment_id)
        try:
            state = _state(path)
            kept = self._read.get(experiment_id)
            if kept is None or kept[0] != state:
                kept = self._read[experiment_id] = (state, orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        return kept[1]


def lift_of(result: Result) -> Result:
    """The holdout's result as lift: what personalized visitors bring above the control group."""
    lifts, segments = _lifts(result["metrics"], "always_valid")
    return {
        **_groups(result, result["exposed"]),
        "intervals": "hold however often one looks",
        "lift": lifts,
        "by": segments,
        "verdict": result["verdict"]["text"],
    }


def lift_of_period(result: Result, period: Result) -> Result:
    """The same over the last days of everybody who ever met the holdout; the verdict looks at all time."""
    lifts, segments = _lifts(period["metrics"], "fixed")
    return {
        **_groups(result, period["exposed"]),
        "period": {"from": period["from"], "until": period["until"]},
        "intervals": "hold for one look at this period",
        "lift": lifts,
        "by": segments,
        "verdict": None,
    }


def _groups(result: Result, exposed: Result) -> Result:
    return {
        "data_until": result["data_until"],
        "level": result["level"],
        "personalized_users": exposed.get(INCLUDED, 0),
        "control_group": exposed.get(HELD_OUT, 0),
        "sample_ratio": result["sample_ratio"],
    }


def _lifts(metrics: list[Result], kind: str) -> tuple[Result, dict[str, list[Result]]]:
    """By metric, and by segment; `kind` of interval."""
    by_metric = {each["metric"]: each for each in metrics}
    lifts: Result = {}
    segments: dict[str, list[Result]] = {dimension: [] for dimension in LIFT_DIMENSIONS}
    for name, metric in LIFT_METRICS.items():
        found = by_metric.get(metric)
        entry = found and next((each for each in found["variants"] if each["variant"] == INCLUDED), None)
        if not found or not entry:
            continue
        lifts[name] = {"metric": metric, "definition": found["description"], **_lift(entry, kind)}
        if "verdict" in entry:
            lifts[name]["false_positives"] = found["false_positives"]
            lifts[name]["verdict"] = entry["verdict"]["text"]
        for segment in entry["segments"]:
            if segment["dimension"] in segments:
                shown = {"metric": name, "segment": segment["segment"], **_lift(segment, kind)}
                segments[segment["dimension"]].append(shown | {"differs": segment["differs"]})
    return lifts, segments


def answer_plan(asked: PlanQuestion) -> Result:
    """Visitors and days that an experiment needs; raises `InvalidField` for what has no answer."""
    four_weeks = None
    try:
        deviation, treated = asked.deviation, None
        if deviation is None:
            deviation, treated = of_share(asked.baseline, asked.lift)
        question = Question(
            mean=asked.baseline,
            deviation=deviation,
            treated_deviation=treated,
            lift=asked.lift,
            alpha=1 - asked.confidence,
            power=asked.power,
            variants=asked.variants,
            visitors_per_day=asked.visitors_per_day,
            window_days=asked.window_days,
        )
        found = plan(question)
    except InvalidPlan as error:
        field = {"mean": "baseline", "alpha": "confidence"}.get(error.field, error.field)
        raise InvalidField(field, error.value, f"give {error.allowed}") from None
    if asked.visitors_per_day is not None:
        four_weeks = detectable_lift(question, max(1, int(28 * asked.visitors_per_day / asked.variants)))
    return {
        "users_per_variant": found.users_per_variant,
        "users_in_all": found.users_per_variant * asked.variants,
        "days": found.days,
        "users_per_variant_always_valid": found.users_per_variant_always_valid,
        "days_always_valid": found.days_always_valid,
        "absolute_effect": found.absolute_effect,
        "detectable_lift_in_28_days": four_weeks,
    }


def _lift(entry: Result, kind: str) -> Result:
    return {
        "personalized": entry["value"],
        "control": entry["control_value"],
        "personalized_users": entry["users"],
        "control_users": entry["control_users"],
        "difference": entry[kind],
        "relative": (entry["lift"] or {}).get(kind),
        "relative_fixed": (entry["lift"] or {}).get("fixed"),
    }


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
