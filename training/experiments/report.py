"""What is published of one experiment: figures as JSON, and a verdict in words for every comparison."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.experiments.analysis import (
    Look,
    Users,
    daily_looks,
    look_at,
    segment_looks,
    user_values,
)
from training.experiments.bandit import shares as bandit_shares
from training.experiments.effects import Array, Inference, arm, linearised
from training.experiments.metrics import Metric
from training.experiments.sample_ratio import BLOCKS_BELOW, SampleRatio, sample_ratio
from training.experiments.sequential import MINIMUM_USERS

LEVEL = 0.95
FIXED, BANDIT = "fixed", "bandit"


@dataclass(frozen=True)
class Design:
    """What was decided before the start. `shares`: variant -> planned share, the control first.

    `metrics`: the primary metric first. `planned_users`: in each variant. `mode`: fixed or bandit.
    """

    experiment_id: str
    shares: Mapping[str, float]
    metrics: tuple[Metric, ...]
    guardrails: tuple[Metric, ...] = ()
    planned_users: int = 1000
    mode: str = FIXED

    @property
    def control(self) -> str:
        return next(iter(self.shares))

    @property
    def level(self) -> float:
        """Of each comparison with the control (Bonferroni)."""
        return 1 - (1 - LEVEL) / max(len(self.shares) - 1, 1)


@dataclass(frozen=True)
class Observed:
    """What came of it. `users`: metric -> variant -> its users; `exposed`: variant -> count.

    `propensities`: variant -> of each of its users, where a bandit dealt them. Days count as
    `Users.exposed_day` does; `until` is the last day with complete data.
    """

    users: Mapping[str, Mapping[str, Users]]
    exposed: Mapping[str, int]
    until: int
    propensities: Mapping[str, Array] | None = None


def report(
    design: Design,
    observed: Observed,
    day_text: Callable[[int], str],
    false_positives: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Everything that the API and the dashboard show of an experiment.

    `false_positives`: metric -> what simulated A/A tests show; `day_text` writes a day.
    """
    ratio = sample_ratio(observed.exposed, design.shares) if design.mode == FIXED else None
    metrics: list[dict[str, Any]] = []
    for metric in dict.fromkeys((*design.metrics, *design.guardrails)):
        role = "guardrail"
        if metric in design.metrics:
            role = "primary" if metric == design.metrics[0] else "secondary"
        variants = [
            _comparison(design, observed, metric, name, day_text, ratio) for name in list(design.shares)[1:]
        ]
        metrics.append(
            {
                "metric": metric.name,
                "role": role,
                "kind": metric.kind,
                "description": metric.description,
                "is_lower_better": metric.is_lower_better,
                "window_days": metric.window_days,
                "from_day": metric.from_day,
                "winsorise": metric.winsorise,
                "false_positives": false_positives.get(metric.name),
                "variants": variants,
            }
        )
    guardrails = [
        _guardrail(metric, entry)
        for metric in design.guardrails
        for entry in next(each["variants"] for each in metrics if each["metric"] == metric.name)
    ]
    return {
        "experiment_id": design.experiment_id,
        "mode": design.mode,
        "data_until": day_text(observed.until),
        "level": LEVEL,
        "level_of_each_variant": design.level,
        "control": design.control,
        "planned_users_per_variant": design.planned_users,
        "exposed": dict(observed.exposed),
        "sample_ratio": None if ratio is None else _sample_ratio(ratio),
        "metrics": metrics,
        "guardrails": guardrails,
        "verdict": _overall(metrics, guardrails, ratio),
        "next_shares": _next_shares(design, observed) if design.mode == BANDIT else None,
    }


def _comparison(
    design: Design,
    observed: Observed,
    metric: Metric,
    name: str,
    day_text: Callable[[int], str],
    ratio: SampleRatio | None,
) -> dict[str, Any]:
    control, treated = (_weighed(design, observed, metric, each) for each in (design.control, name))
    read = _ratio_of(metric) if design.mode == BANDIT else metric
    planned = 2.0 * design.planned_users
    days = sorted({*control.exposed_day, *treated.exposed_day})
    closing = [int(day) + metric.closes_after_days - 1 for day in days]
    looks = daily_looks(
        read, control, treated, [day for day in closing if day <= observed.until], design.level, planned
    )
    look = look_at(read, control, treated, observed.until, design.level, planned)
    first = next((each.day for each in looks if _excludes_nothing(each.look.deciding)), None)
    segments = segment_looks(read, control, treated, observed.until, design.level, planned)
    return {
        "variant": name,
        **_figures(look),
        "decided_on": None if first is None else day_text(first),
        "verdict": _verdict(metric, name, look, ratio),
        "days": [
            {"date": day_text(each.day), "users": int(each.look.control.users + each.look.treated.users)}
            | {key: _interval(getattr(each.look, key)) for key in ("fixed", "always_valid")}
            | {"cuped_always_valid": _interval(each.look.adjusted_always_valid)}
            for each in looks
        ],
        "segments": [
            {
                "dimension": each.dimension,
                "segment": each.value,
                **_figures(each.look),
                "adjusted_p_fixed": each.adjusted_p_fixed,
                "adjusted_p_always_valid": each.adjusted_p_always_valid,
                "differs": each.adjusted_p_always_valid < 1 - LEVEL,
            }
            for each in segments
        ],
    }


def compare_period(design: Design, observed: Observed) -> dict[str, Any]:
    """Figures of each metric, for all users and by segment, with no course of days and no verdict.

    Of the intervals only `fixed` means anything: tomorrow's period is another one.
    """
    metrics: list[dict[str, Any]] = []
    for metric in design.metrics:
        variants = []
        for name in list(design.shares)[1:]:
            control, treated = (observed.users[metric.name][each] for each in (design.control, name))
            asked = (metric, control, treated, observed.until, design.level, 2.0 * design.planned_users)
            segments = [
                {
                    "dimension": each.dimension,
                    "segment": each.value,
                    **_figures(each.look),
                    "differs": each.adjusted_p_fixed < 1 - LEVEL,
                }
                for each in segment_looks(*asked)
            ]
            variants.append({"variant": name, **_figures(look_at(*asked)), "segments": segments})
        metrics.append({"metric": metric.name, "description": metric.description, "variants": variants})
    return {"exposed": dict(observed.exposed), "metrics": metrics}


def _weighed(design: Design, observed: Observed, metric: Metric, name: str) -> Users:
    """An arm's users; a bandit's weighed by 1 / propensity, as a ratio of weighted sums."""
    users = observed.users[metric.name][name]
    if design.mode != BANDIT or observed.propensities is None:
        return users
    weights = 1 / observed.propensities[name]
    values = (users.numerator > 0).astype(np.float64) if metric.is_binary else users.numerator
    below = weights if users.denominator is None else users.denominator * weights
    return Users(users.exposed_day, values * weights, below, None, users.segments)


def _ratio_of(metric: Metric) -> Metric:
    """The same windows for weighted sums; `_weighed` has done what the kind asks for."""
    return Metric(
        metric.name,
        "ratio",
        metric.numerator,
        metric.denominator or metric.numerator,
        window_days=metric.window_days,
        from_day=metric.from_day,
        is_lower_better=metric.is_lower_better,
    )


def _next_shares(design: Design, observed: Observed) -> dict[str, float]:
    """The bandit's shares of new visitors, by the primary metric of users with a closed window."""
    metric = design.metrics[0]
    arms = {}
    for name in design.shares:
        users = _weighed(design, observed, metric, name)
        users = users.where(users.exposed_day + metric.closes_after_days <= observed.until + 1)
        if users.denominator is not None and users.denominator.sum() > 0:
            arms[name] = arm(linearised(users.numerator, users.denominator))
        else:
            arms[name] = arm(user_values(metric, (users.numerator,), None)[0])
    return bandit_shares(arms, MINIMUM_USERS, metric.is_lower_better)


def _figures(look: Look | None) -> dict[str, Any]:
    if look is None:
        return dict.fromkeys(
            ("users", "control_users", "value", "control_value", "fixed", "always_valid", "lift", "cuped")
        )
    cuped = None
    if look.variance_reduction is not None:
        cuped = {
            "variance_reduction": _number(look.variance_reduction),
            "fixed": _interval(look.adjusted_fixed),
            "always_valid": _interval(look.adjusted_always_valid),
        }
    return {
        "users": int(look.treated.users),
        "control_users": int(look.control.users),
        "value": _number(look.treated.mean),
        "control_value": _number(look.control.mean),
        "fixed": _interval(look.fixed),
        "always_valid": _interval(look.always_valid),
        "lift": {
            "fixed": _interval(look.lift_fixed),
            "always_valid": _interval(look.lift_always_valid),
        },
        "cuped": cuped,
    }


def _interval(found: Inference | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {name: _number(getattr(found, name)) for name in ("estimate", "low", "high", "p_value")}


def _number(value: Array) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _sample_ratio(ratio: SampleRatio) -> dict[str, Any]:
    return {
        "observed": dict(ratio.observed),
        "expected": dict(ratio.expected),
        "p_value": ratio.p_value,
        "blocks_below": BLOCKS_BELOW,
        "is_mismatch": ratio.is_mismatch,
    }


def _excludes_nothing(found: Inference) -> bool:
    return bool(found.low > 0 or found.high < 0)


def _verdict(metric: Metric, name: str, look: Look | None, ratio: SampleRatio | None) -> dict[str, str]:
    what = metric.name.replace("_", " ")
    if ratio is not None and ratio.is_mismatch:
        return {"code": "blocked", "text": f"No verdict on {what}: {_mismatch(ratio)}"}
    if look is None:
        text = f"Wait: fewer than {MINIMUM_USERS} visitors in an arm have a closed window for {what}."
        return {"code": "too_early", "text": text}
    found = look.deciding
    means = f"{float(look.treated.mean):.4g} against {float(look.control.mean):.4g}"
    reach = f"difference {float(found.estimate):+.4g}, {float(found.low):+.4g} to {float(found.high):+.4g}"
    if not _excludes_nothing(found):
        return {
            "code": "undecided",
            "text": f"{name} may or may not change {what} ({means}; {reach}). Wait, or stop without one.",
        }
    is_better = (float(found.estimate) > 0) != metric.is_lower_better
    word = "raises" if float(found.estimate) > 0 else "lowers"
    return {
        "code": "better" if is_better else "worse",
        "text": f"{name} {word} {what}: {means}; {reach}, however often one looks.",
    }


def _guardrail(metric: Metric, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Held: a harm beyond the margin is excluded. Broken: a harm is shown and it is not excluded."""
    assert metric.margin is not None
    reach = (entry["lift"] or {}).get("always_valid") or {}
    low, high = reach.get("low"), reach.get("high")
    status = "undecided"
    if low is not None and high is not None:
        worst, best = (-high, -low) if metric.is_lower_better else (low, high)
        if worst > -metric.margin:
            status = "held"
        elif best < 0:
            status = "broken"
    return {"metric": metric.name, "variant": entry["variant"], "margin": metric.margin, "status": status}


def _overall(
    metrics: Sequence[Mapping[str, Any]], guardrails: Sequence[Mapping[str, Any]], ratio: SampleRatio | None
) -> dict[str, str]:
    """The primary metric's verdicts, unless the sample ratio or a guardrail speaks against them."""
    if ratio is not None and ratio.is_mismatch:
        return {"code": "blocked", "text": f"No verdict: {_mismatch(ratio)}"}
    verdicts = [entry["verdict"] for entry in metrics[0]["variants"]]
    codes = {verdict["code"] for verdict in verdicts}
    code = next(code for code in ("better", "worse", "undecided", "too_early") if code in codes)
    texts = [verdict["text"] for verdict in verdicts]
    broken = [f"{each['metric']} ({each['variant']})" for each in guardrails if each["status"] == "broken"]
    if broken:
        return {
            "code": "guardrail_broken",
            "text": " ".join([f"Do not ship: worse on {', '.join(broken)}.", *texts]),
        }
    return {"code": code, "text": " ".join(texts)}


def _mismatch(ratio: SampleRatio) -> str:
    counts = ", ".join(f"{name} {ratio.observed.get(name, 0):,}" for name in ratio.expected)
    planned = ", ".join(f"{name} {share:.1%}" for name, share in ratio.expected.items())
    return (
        f"visitors came as {counts}, planned were {planned} (p = {ratio.p_value:.1g}). Some were lost after "
        "they were dealt: find out where, then start again."
    )
