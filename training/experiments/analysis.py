"""The analysis of one metric: two arms at one look, at every day's look, and in segments.

Each variant is compared with the control, at level 1 - (1 - level) / (variants - 1) (Bonferroni). What a look
says never depends on users whose window is open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.experiments.cuped import USERS_PER_COVARIATE, adjusted
from training.experiments.effects import (
    Arm,
    Array,
    Inference,
    arm,
    difference,
    fixed_horizon,
    lift,
    linearised,
    winsorised,
)
from training.experiments.metrics import Metric
from training.experiments.multiplicity import adjusted_for_discoveries
from training.experiments.sequential import MINIMUM_USERS, always_valid

Days = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Users:
    """The users of one arm, one row each. `exposed_day`: day of first exposure, counted from any one day.

    `numerator` and `denominator`: sums within the metric's window. `covariates`: (users, k), from before the
    exposure; `segments`: dimension -> value of each user.
    """

    exposed_day: Days
    numerator: Array
    denominator: Array | None = None
    covariates: Array | None = None
    segments: Mapping[str, npt.NDArray[np.object_]] | None = None

    def __len__(self) -> int:
        return len(self.exposed_day)

    def where(self, kept: npt.NDArray[np.bool_]) -> "Users":
        """Some of the users."""
        segments = {name: values[kept] for name, values in (self.segments or {}).items()}
        return Users(
            self.exposed_day[kept],
            self.numerator[kept],
            None if self.denominator is None else self.denominator[kept],
            None if self.covariates is None else self.covariates[kept],
            segments,
        )


@dataclass(frozen=True)
class Look:
    """Treated against control at one instant, each figure by both methods; arrays where many are analysed.

    `adjusted_*`: with CUPED, None without covariates. `variance_reduction`: of the difference, by CUPED.
    """

    control: Arm
    treated: Arm
    fixed: Inference
    always_valid: Inference
    lift_fixed: Inference
    lift_always_valid: Inference
    adjusted_fixed: Inference | None
    adjusted_always_valid: Inference | None
    variance_reduction: Array | None

    @property
    def deciding(self) -> Inference:
        """What the verdict rests on: always valid, with CUPED where there is one."""
        return self.adjusted_always_valid or self.always_valid


@dataclass(frozen=True)
class DayLook:
    """The look at the end of one day, counted as `Users.exposed_day` is."""

    day: int
    look: Look


@dataclass(frozen=True)
class SegmentLook:
    """The look at the users of one segment. p-values are adjusted over the segments of all dimensions."""

    dimension: str
    value: str
    look: Look
    adjusted_p_fixed: float
    adjusted_p_always_valid: float


def user_values(
    metric: Metric, numerators: tuple[Array, ...], denominators: tuple[Array, ...] | None
) -> tuple[Array, ...]:
    """One value per user, whose mean over an arm is the metric."""
    if metric.is_binary:
        return tuple((each > 0).astype(np.float64) for each in numerators)
    if denominators is not None:
        return tuple(linearised(above, below) for above, below in zip(numerators, denominators, strict=True))
    return winsorised(numerators, metric.winsorise) if metric.winsorise else numerators


def compare(
    values: tuple[Array, Array], covariates: tuple[Array, Array] | None, level: float, planned: float
) -> Look:
    """Control and treated, users along the last axis. `planned`: users of both arms that were planned for."""
    control, treated = arm(values[0]), arm(values[1])
    contrast, relative = difference(control, treated), lift(control, treated)
    fixed, sequential, reduction = None, None, None
    if covariates is not None:
        after = adjusted(values, covariates)
        cleared = difference(arm(after[0]), arm(after[1]))
        fixed = fixed_horizon(cleared, level)
        sequential = always_valid(cleared, level, planned)
        with np.errstate(invalid="ignore", divide="ignore"):
            reduction = np.where(contrast.variance > 0, 1 - cleared.variance / contrast.variance, 0.0)
    return Look(
        control,
        treated,
        fixed_horizon(contrast, level),
        always_valid(contrast, level, planned),
        fixed_horizon(relative, level),
        always_valid(relative, level, planned),
        fixed,
        sequential,
        reduction,
    )


def look_at(
    metric: Metric, control: Users, treated: Users, until: int, level: float, planned: float
) -> Look | None:
    """The look at the end of day `until`; None while either arm has too few users with a closed window."""
    arms = [
        each.where(each.exposed_day + metric.closes_after_days <= until + 1) for each in (control, treated)
    ]
    if min(len(each) for each in arms) < MINIMUM_USERS:
        return None
    first, second = arms
    denominators = None
    if first.denominator is not None and second.denominator is not None:
        denominators = (first.denominator, second.denominator)
        if min(float(each.sum()) for each in denominators) <= 0:
            return None
    values = user_values(metric, (first.numerator, second.numerator), denominators)
    known = None
    if first.covariates is not None and second.covariates is not None:
        width = first.covariates.shape[1]
        if 0 < width * USERS_PER_COVARIATE <= len(first) + len(second):
            known = (first.covariates, second.covariates)
    return compare((values[0], values[1]), known, level, planned)


def daily_looks(
    metric: Metric, control: Users, treated: Users, days: Sequence[int], level: float, planned: float
) -> list[DayLook]:
    """The looks at the end of each of these days that has enough users."""
    found = ((day, look_at(metric, control, treated, day, level, planned)) for day in days)
    return [DayLook(day, look) for day, look in found if look is not None]


def segment_looks(
    metric: Metric, control: Users, treated: Users, until: int, level: float, planned: float
) -> list[SegmentLook]:
    """Every segment with enough users, p-values adjusted by Benjamini-Hochberg over all of them.

    `planned` is scaled to a segment's share of the users.
    """
    found: list[tuple[str, str, Look]] = []
    total = len(control) + len(treated)
    for dimension, of_control in (control.segments or {}).items():
        of_treated = (treated.segments or {})[dimension]
        for value in sorted({*of_control, *of_treated}):
            parts = control.where(of_control == value), treated.where(of_treated == value)
            share = (len(parts[0]) + len(parts[1])) / total
            look = look_at(metric, *parts, until, level, planned * share)
            if look is not None:
                found.append((dimension, value, look))
    fixed = adjusted_for_discoveries([float(look.fixed.p_value) for *_, look in found])
    sequential = adjusted_for_discoveries([float(look.deciding.p_value) for *_, look in found])
    return [
        SegmentLook(dimension, value, look, fixed[place], sequential[place])
        for place, (dimension, value, look) in enumerate(found)
    ]
