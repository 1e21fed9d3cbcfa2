"""Metrics as data: what is summed for each user, over which days, and which way is better.

A metric reads additive columns of the mart `experiment_user_daily`. Its unit is always the user who was
exposed: events of one user are not independent, so they are summed first (Deng, Knoblich & Lu 2018).

- `mean`: numerator summed for each user (revenue per visitor).
- `conversion`: share of users with a numerator above 0.
- `ratio`: sum of numerators over sum of denominators, over users, with the delta method (click-through rate).
- `retention`: conversion from a later day on, so that the act of exposure itself is not counted.

The window is `window_days` UTC days from `from_day` on; day 0 is that of the first exposure, from its instant
on. A user counts once their window has closed, so that a user's value never changes after it was first used:
that is what always-valid inference needs, and it keeps young users from diluting the mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from training.errors import InvalidMetrics

KINDS = ("mean", "conversion", "ratio", "retention")
MEASURES = (
    "event_count",
    "visit_count",
    "active_day_count",
    "view_count",
    "cart_count",
    "order_count",
    "unit_count",
    "spend",
    "return_amount",
    "rating_count",
    "rating_sum",
    "recommendation_view_count",
    "recommendation_click_count",
    "reported_count",
    "reported_value",
)
"""Columns of the mart `experiment_user_daily` that a metric may sum."""

MAX_WINDOW_DAYS = 60


@dataclass(frozen=True)
class Metric:
    """One metric. `winsorise`: values above this quantile of all counted users are set to it.

    `margin`: as a guardrail, the relative change for the worse that is still accepted (0.02 = 2 %); None:
    no guardrail. `is_lower_better` turns the direction.
    """

    name: str
    kind: str
    numerator: str
    denominator: str | None = None
    window_days: int = 7
    from_day: int = 0
    winsorise: float | None = None
    is_lower_better: bool = False
    margin: float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InvalidMetrics(self.name, *problem)

    @property
    def is_binary(self) -> bool:
        """Whether a user's value is 0 or 1."""
        return self.kind in ("conversion", "retention")

    @property
    def closes_after_days(self) -> int:
        """Days after that of the exposure on which the window is closed."""
        return self.from_day + self.window_days

    def _problem(self) -> tuple[str, object, str] | None:
        if self.kind not in KINDS:
            return "kind", self.kind, f"one of {', '.join(KINDS)}"
        if self.numerator not in MEASURES:
            return "numerator", self.numerator, f"one of {', '.join(MEASURES)}"
        if (self.kind == "ratio") != (self.denominator is not None):
            return "denominator", self.denominator, "one for a ratio, none for another kind"
        if self.denominator is not None and self.denominator not in MEASURES:
            return "denominator", self.denominator, f"one of {', '.join(MEASURES)}"
        if self.kind == "retention" and self.from_day < 1:
            return "from_day", self.from_day, "1 or more for retention"
        if self.from_day < 0 or self.window_days < 1 or self.closes_after_days > MAX_WINDOW_DAYS:
            return "window_days", self.window_days, f"a window of 1 to {MAX_WINDOW_DAYS} days from exposure"
        if self.winsorise is not None and not 0.5 < self.winsorise < 1:
            return "winsorise", self.winsorise, "a quantile between 0.5 and 1"
        if self.winsorise is not None and self.kind != "mean":
            return "winsorise", self.winsorise, "only for the kind mean"
        if self.margin is not None and not 0 < self.margin < 1:
            return "margin", self.margin, "a share between 0 and 1"
        return None


BUILT_IN = (
    Metric(
        "click_through_rate",
        "ratio",
        "recommendation_click_count",
        "recommendation_view_count",
        description="Recommendations opened over recommendations seen, within 7 days of exposure",
    ),
    Metric(
        "conversion_rate",
        "conversion",
        "order_count",
        margin=0.05,
        description="Share of visitors with an order within 7 days of exposure",
    ),
    Metric(
        "revenue_per_visitor",
        "mean",
        "spend",
        winsorise=0.999,
        margin=0.1,
        description="Spend within 7 days of exposure, before returns, cut at the 99.9 % quantile",
    ),
    Metric(
        "average_order_value",
        "ratio",
        "spend",
        "order_count",
        description="Spend over orders, within 7 days of exposure",
    ),
    Metric(
        "orders_per_visitor",
        "mean",
        "order_count",
        description="Orders within 7 days of exposure per visitor",
    ),
    Metric(
        "engagement_score",
        "mean",
        "event_count",
        winsorise=0.999,
        description="Events within 7 days of exposure per visitor, cut at the 99.9 % quantile",
    ),
    Metric(
        "retention_rate",
        "retention",
        "active_day_count",
        from_day=7,
        description="Share of visitors who were active in the second week after exposure",
    ),
    Metric(
        "mean_rating",
        "ratio",
        "rating_sum",
        "rating_count",
        window_days=28,
        description="Mean rating of items within 28 days of exposure, on the shop's own scale",
    ),
    Metric(
        "return_share",
        "ratio",
        "return_amount",
        "spend",
        window_days=28,
        is_lower_better=True,
        description="Value of returns over spend, within 28 days of exposure",
    ),
    Metric(
        "reported_conversion_rate",
        "conversion",
        "reported_count",
        description="Share of visitors with a conversion reported by an application within 7 days",
    ),
)
"""What every installation has; `experiment_metrics.yaml` in the home changes and adds."""

OF_PERIOD = (
    Metric(
        "revenue_per_visitor",
        "mean",
        "spend",
        window_days=1,
        winsorise=0.999,
        description="Spend per visitor in the period, before returns, cut at the 99.9 % quantile",
    ),
    Metric(
        "conversion_rate",
        "conversion",
        "order_count",
        window_days=1,
        description="Share of visitors with an order in the period",
    ),
    Metric(
        "engagement_score",
        "mean",
        "event_count",
        window_days=1,
        winsorise=0.999,
        description="Events per visitor in the period, cut at the 99.9 % quantile",
    ),
    Metric(
        "mean_rating",
        "ratio",
        "rating_sum",
        "rating_count",
        window_days=1,
        description="Mean rating of items in the period, on the shop's own scale",
    ),
    Metric(
        "return_share",
        "ratio",
        "return_amount",
        "spend",
        window_days=1,
        is_lower_better=True,
        description="Value of returns over spend, in the period",
    ),
)
"""Summed over a period instead, of everybody who was exposed until its end: nobody's window is open."""

# A fall of these is looked at in every experiment, whatever it set out to raise.
GUARDRAILS = tuple(metric.name for metric in BUILT_IN if metric.margin is not None)


def read_metrics(path: Path) -> tuple[Metric, ...]:
    """The built-in metrics with those of a YAML file over them; only the built-in ones without the file.

    metrics:
      - {name: conversion_rate, kind: conversion, numerator: order_count, window_days: 14}

    Raises `InvalidMetrics` naming the metric, the field and what it may be.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return BUILT_IN
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidMetrics(path.name, "file", str(error).partition("\n")[0], "readable YAML") from error
    listed = content.get("metrics") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise InvalidMetrics(path.name, "metrics", listed, "a list under `metrics:`")
    found = {metric.name: metric for metric in BUILT_IN}
    for given in listed:
        metric = _metric(given, path.name)
        found[metric.name] = metric
    return tuple(found.values())


def _metric(given: Any, file_name: str) -> Metric:
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise InvalidMetrics(file_name, "name", given, "a mapping with a name, a kind and a numerator")
    name = given["name"]
    for key, value in given.items():
        if key not in _TYPES:
            raise InvalidMetrics(name, str(key), value, f"one of {', '.join(_TYPES)}")
        if not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and key != "is_lower_better"):
            raise InvalidMetrics(name, key, value, " or ".join(each.__name__ for each in _TYPES[key]))
    for key in ("kind", "numerator"):
        if key not in given:
            raise InvalidMetrics(name, key, None, "required")
    return Metric(**given)


_TEXT, _NUMBER = (str,), (int, float)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "name": _TEXT,
    "kind": _TEXT,
    "numerator": _TEXT,
    "denominator": _TEXT,
    "window_days": (int,),
    "from_day": (int,),
    "winsorise": _NUMBER,
    "is_lower_better": (bool,),
    "margin": _NUMBER,
    "description": _TEXT,
}


def by_name(metrics: Sequence[Metric]) -> dict[str, Metric]:
    """The metrics by their names."""
    return {metric.name: metric for metric in metrics}
