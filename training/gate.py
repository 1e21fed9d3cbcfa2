"""The gate: whether a candidate becomes champion, and each reason as a sentence.

The report says how good the candidate is (`training.evaluation`), the evidence how it behaves
(`training.evidence`). Checks stand in the order in which a fault would explain the others: a model that
answers NaN is not called slow, one that knows the future is not praised for its figures. So the first reason
of a refusal is the one to look at.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.config import GateConfig
from training.evaluation import Claim, ModelReport, ScoreRow
from training.evidence import Evidence

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Check:
    """One condition of the gate: what was asked, whether it held, and the figures."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Decision:
    """The gate's answer; `reasons` are sentences: what failed, or what carried the promotion."""

    promoted: bool
    reasons: list[str]
    checks: list[Check]

    @property
    def refused_by(self) -> list[str]:
        """Names of the checks that failed, the one that explains most first."""
        return [check.name for check in self.checks if not check.passed]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "promoted": self.promoted,
            "reasons": list(self.reasons),
            "checks": [vars(check) for check in self.checks],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Decision":
        """The inverse of `to_dict`."""
        checks = [Check(**check) for check in values["checks"]]
        return cls(bool(values["promoted"]), list(values["reasons"]), checks)

    def table(self) -> str:
        """A Markdown table of the checks."""
        rows = [
            f"| {check.name} | {'held' if check.passed else '**failed**'} | {check.detail} |"
            for check in self.checks
        ]
        return "\n".join(["| check | | figures |", "| --- | --- | --- |", *rows])


def decide(
    report: ModelReport,
    validation_passed: bool,
    config: GateConfig | None = None,
    evidence: Evidence | None = None,
) -> Decision:
    """Whether the report's candidate becomes champion.

    It does if its validation passed, its point estimate on the primary metric is better than every baseline's
    (with `require_interval` also the near bound of the paired difference, where there is one), every claim
    holds, it is not worse than the champion by more than `champion_margin` (relative) on this fold nor on the
    rolling ones, and nothing that the evidence measured is out of bounds. What was not measured is not asked.
    A missing champion does not relax anything: the first of its kind must beat the baselines too.
    """
    gate, found = config or GateConfig(), evidence or Evidence()
    newcomers = list(_newcomers(found, gate))
    checks = [
        Check(
            "validation",
            validation_passed,
            "its validation passed" if validation_passed else "its validation failed",
        ),
        *_soundness(report, found, gate),
        *(newcomers if _concerns_newcomers(found, gate) else []),
        *_baseline_checks(report, gate),
        *_calibration(found, gate),
        *([] if _concerns_newcomers(found, gate) else newcomers),
        *(_claim_check(report, claim) for claim in report.claims),
        _champion_check(report, gate),
        *_folds(report, found, gate),
        *_stability(found, gate),
        *_cost(found, gate),
        *_off_policy(found, gate),
    ]
    failed = [check.detail for check in checks if not check.passed]
    reasons = failed or [check.detail for check in checks]
    return Decision(not failed, reasons, checks)


def _soundness(report: ModelReport, found: Evidence, gate: GateConfig) -> Iterator[Check]:
    """Whether the figures of the report can be believed at all."""
    if found.answers is not None:
        one = found.answers
        detail = f"{one.rows - one.finite} of {one.rows} scores are missing or infinite"
        yield Check("finite_scores", one.finite == one.rows, detail)
        needed = max(gate.least_distinct, int(gate.least_distinct_share * one.rows))
        passed = one.distinct >= min(needed, one.rows)
        detail = f"{one.distinct} different {one.what} for {one.rows} customers, at least {needed} wanted"
        yield Check("scores_vary", passed, detail)
    if found.readback is not None:
        passed = found.readback <= gate.largest_difference
        detail = f"read back from its files it answers differently for {found.readback:.1%} of customers"
        yield Check("same_from_files", passed, detail)
    if found.memory is not None:
        passed = found.memory >= gate.least_memory
        detail = (
            f"items that a customer bought rank above {found.memory:.0%} of the catalogue in the model's "
            f"scores, at least {gate.least_memory:.0%} wanted: below it ids do not belong to their vectors"
        )
        yield Check("ids_match", passed, detail)
    if found.stale is not None:
        passed = found.stale <= gate.largest_stale
        detail = (
            f"the features of {found.stale:.1%} of customers do not know their last order before the "
            f"cut-off, at most {gate.largest_stale:.0%} allowed"
        )
        yield Check("fresh_features", passed, detail)
    if found.replay is not None:
        passed = found.replay.problem is None and found.replay.differing <= gate.largest_difference
        told = found.replay.problem or (
            f"without what happened after the cut-off {found.replay.differing:.1%} of scores are different"
        )
        yield Check("knows_no_future", passed, f"{told} ({found.replay.rows} customers scored again)")
    yield from _plausible(report, gate)


def _plausible(report: ModelReport, gate: GateConfig) -> Iterator[Check]:
    """Figures too good to be true, for metrics whose best value is 1."""
    metric, candidate = report.primary, report.candidate.metrics.get(report.primary)
    rows = [row.metrics[metric].value for row in report.baselines if metric in row.metrics]
    known = [value for value in rows if np.isfinite(value)]
    if candidate is None or not report.higher_is_better or not known or max(known) >= 1.0:
        return
    left = (1.0 - candidate.value) / (1.0 - max(known))
    detail = (
        f"it leaves {left:.0%} of what the best baseline lacks on {metric} ({candidate.value:.4f} vs "
        f"{max(known):.4f}); below {gate.least_error_left:.0%} look for a leak"
    )
    yield Check("plausible", not left < gate.least_error_left, detail)


def _baseline_checks(report: ModelReport, gate: GateConfig) -> list[Check]:
    comparable = [row for row in report.baselines if report.primary in row.metrics]
    if not comparable:
        detail = f"no baseline was measured on {report.primary}; add one to the report"
        return [Check("beats_baselines", False, detail)]
    return [_beats(report, row, gate) for row in comparable]


def _beats(report: ModelReport, baseline: ScoreRow, gate: GateConfig) -> Check:
    candidate, metric = report.candidate, report.primary
    mine, theirs = candidate.metrics[metric], baseline.metrics[metric]
    gain = _gain(mine.value, theirs.value, report.higher_is_better)
    passed = gain > 0.0
    paired = baseline.differences.get(metric)
    bound = ""
    if paired is not None:
        bound = f" (paired difference {paired})"
        nearest = paired.low if report.higher_is_better else -paired.high
        if gate.require_interval:
            passed = passed and nearest > 0.0
    verb = "beats" if passed else "does not beat"
    figures = f"{mine.value:.4f} vs {theirs.value:.4f}{bound}"
    detail = f"{candidate.name} {verb} {baseline.name} on {metric}: {figures}"
    return Check(f"beats_{baseline.name}", passed, detail)


def _calibration(found: Evidence, gate: GateConfig) -> Iterator[Check]:
    one = found.calibration
    if one is None:
        return
    if one.probability_error is not None:
        passed = one.probability_error <= gate.largest_calibration_error
        detail = (
            f"probabilities are off by {one.probability_error:.3f} on average (expected calibration error), "
            f"at most {gate.largest_calibration_error:g} allowed"
        )
        yield Check("calibrated", passed, detail)
    if one.total_ratio is not None and one.decile_error is not None:
        within = 1.0 / gate.largest_total_ratio <= one.total_ratio <= gate.largest_total_ratio
        passed = within and one.decile_error <= gate.largest_decile_error
        detail = (
            f"predicted over real money is {one.total_ratio:.2f} in all (from "
            f"{1.0 / gate.largest_total_ratio:.2f} to {gate.largest_total_ratio:.2f} allowed), and deciles "
            f"miss {one.decile_error:.0%} of the money (at most {gate.largest_decile_error:.0%})"
        )
        yield Check("calibrated", passed, detail)


def _concerns_newcomers(found: Evidence, gate: GateConfig) -> bool:
    """Whether everybody else is answered as well: then what newcomers lose explains what the average does."""
    one = found.newcomers
    return one is not None and one.rest is not None and one.rest >= -gate.newcomer_margin * abs(one.other)


def _newcomers(found: Evidence, gate: GateConfig) -> Iterator[Check]:
    one = found.newcomers
    if one is None:
        return
    lost = one.other - one.candidate
    surely = one.difference.high < 0.0
    passed = not (surely and lost > gate.newcomer_margin * abs(one.other))
    detail = (
        f"for newcomers ({one.who}) it has {one.metric} {one.candidate:.4f}, the {one.against} "
        f"{one.other:.4f} (difference {one.difference})"
    )
    yield Check("newcomers_not_worse", passed, detail)


def _claim_check(report: ModelReport, claim: Claim) -> Check:
    name = f"{claim.row}_{'above' if claim.strict else 'not_below'}_{claim.against}_on_{claim.metric}"
    mine = report.row(claim.row).metrics.get(claim.metric)
    theirs = report.row(claim.against).metrics.get(claim.metric)
    if mine is None or theirs is None:
        return Check(name, False, f"{claim.metric} was not measured for both {claim.row} and {claim.against}")
    gain = _gain(mine.value, theirs.value, claim.higher_is_better)
    passed = bool(gain > 0.0 if claim.strict else gain >= 0.0)
    wanted = "better than" if claim.strict else "at least as good as"
    detail = (
        f"{claim.row} is {'' if passed else 'not '}{wanted} {claim.against} on {claim.metric}: "
        f"{mine.value:.4f} vs {theirs.value:.4f}"
    )
    return Check(name, passed, detail)


def _champion_check(report: ModelReport, gate: GateConfig) -> Check:
    champion = report.champion
    if champion is None:
        return Check("not_worse_than_champion", True, f"there is no champion of {report.kind} yet")
    metric = report.primary
    if metric not in champion.metrics:
        return Check("not_worse_than_champion", False, f"the champion was not measured on {metric}")
    mine, theirs = report.candidate.metrics[metric].value, champion.metrics[metric].value
    passed = _not_worse(mine, theirs, report.higher_is_better, gate.champion_margin)
    detail = (
        f"{report.candidate.name} is {'not worse' if passed else 'worse'} than the champion on {metric} "
        f"beyond the margin of {gate.champion_margin:.1%}: {mine:.4f} vs {theirs:.4f}"
    )
    return Check("not_worse_than_champion", passed, detail)


def _folds(report: ModelReport, found: Evidence, gate: GateConfig) -> Iterator[Check]:
    """The candidate's recipe against the champion's, fitted anew on each rolling fold."""
    if not found.folds:
        if report.champion is not None:
            yield Check("rolling_folds", True, "its recipe is the champion's, which stood the rolling folds")
        return
    lost = [
        fold
        for fold in found.folds
        if fold.champion is not None
        and not _not_worse(fold.candidate, fold.champion, report.higher_is_better, gate.champion_margin)
    ]
    figures = "; ".join(str(fold) for fold in found.folds)
    count = len(found.folds)
    few = "" if count >= gate.folds else f" (the history allows {count} of {gate.folds})"
    if all(fold.champion is None for fold in found.folds):
        told = "no champion with another recipe to compare with"
    elif lost:
        told = f"worse than the champion's recipe on {len(lost)} of them"
    else:
        told = "not worse than the champion's recipe on any"
    yield Check("rolling_folds", not lost, f"on {count} rolling folds{few}, {told}: {figures}")


def _stability(found: Evidence, gate: GateConfig) -> Iterator[Check]:
    if found.overlap is not None:
        one = found.overlap
        detail = (
            f"{one.share:.0%} of the top lists are equal between {one.between}, at least "
            f"{one.floor(gate):.0%} wanted"
        )
        yield Check("stable_lists", one.share >= one.floor(gate), detail)


def _cost(found: Evidence, gate: GateConfig) -> Iterator[Check]:
    if found.size is not None:
        allowed = gate.largest_megabytes * MEGABYTE
        if found.size.champion is not None:
            relative = gate.largest_size_ratio * found.size.champion
            allowed = min(allowed, max(relative, gate.size_floor_megabytes * MEGABYTE))
        detail = (
            f"its files are {found.size.candidate / MEGABYTE:.1f} MB{_against(found.size.champion, MEGABYTE)}"
            f", at most {allowed / MEGABYTE:.1f} allowed"
        )
        yield Check("size", found.size.candidate <= allowed, detail)
    if found.seconds is not None:
        allowed = gate.largest_seconds
        if found.seconds.champion is not None:
            relative = gate.largest_time_ratio * found.seconds.champion
            allowed = min(allowed, max(relative, gate.seconds_floor))
        detail = (
            f"scoring 1,000 customers takes {found.seconds.candidate:.3f} s"
            f"{_against(found.seconds.champion, 1.0, 3)}, at most {allowed:.3f} allowed"
        )
        yield Check("latency", found.seconds.candidate <= allowed, detail)


def _off_policy(found: Evidence, gate: GateConfig) -> Iterator[Check]:
    """What logged answers say it adds to what was served, where there are enough of them to say it."""
    if found.off_policy is None:
        return
    gain, served = found.off_policy
    allowed = gate.off_policy_margin * abs(served.estimate)
    too_wide = gain.high - gain.low > 2.0 * allowed and gain.high >= 0.0
    if gain.abstains or too_wide:
        why = gain.reason if gain.abstains else f"[{gain.low:.4f}, {gain.high:.4f}] is wider than the margin"
        yield Check("off_policy", True, f"off-policy evaluation abstains: {why}")
        return
    detail = (
        f"by logged answers it adds {gain.estimate:.4f} [{gain.low:.4f}, {gain.high:.4f}] to the "
        f"{served.estimate:.4f} of what was served; its lower bound may be {-allowed:.4f}"
    )
    yield Check("off_policy", gain.low >= -allowed, detail)


def _against(champion: float | None, unit: float, digits: int = 1) -> str:
    return "" if champion is None else f" against the champion's {champion / unit:.{digits}f}"


def _not_worse(mine: float, theirs: float, higher_is_better: bool, margin: float) -> bool:
    return bool(_gain(mine, theirs, higher_is_better) >= -margin * abs(theirs))


def _gain(mine: float, theirs: float, higher_is_better: bool) -> float:
    """How much better `mine` is; NaN on either side counts as no gain."""
    if np.isnan(mine) or np.isnan(theirs):
        return float("-inf")
    return mine - theirs if higher_is_better else theirs - mine
