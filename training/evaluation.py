"""Candidate, baselines and champion in one table, and the gate that decides on promotion.

Every row of a report was measured on the same fold: the same cut-off, the same users, the same labels. The
caller re-scores the champion on the candidate's fold and adds it as a row with role 'champion'; a figure
that was measured on another fold is never compared.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np

from training.config import GateConfig
from training.intervals import Estimate

__all__ = ["Check", "Claim", "Decision", "Estimate", "ModelReport", "Role", "ScoreRow", "decide"]

Role = Literal["candidate", "baseline", "champion"]


@dataclass(frozen=True)
class ScoreRow:
    """One model's metrics on the report's fold.

    `differences` holds, per metric, the gated candidate minus this row, paired over users; empty where no
    paired interval was computed. A metric that does not apply to the model is absent.
    """

    name: str
    role: Role
    metrics: dict[str, Estimate]
    differences: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A statement that must hold besides the primary metric: `row` is at least as good as `against`.

    With `strict` it must be better.
    """

    row: str
    metric: str
    against: str
    strict: bool = False
    higher_is_better: bool = True


@dataclass(frozen=True)
class ModelReport:
    """All rows of one model kind on one fold.

    `primary` is the metric that the gate compares; the gated candidate is the first row with role
    'candidate'. `notes` are sentences about the protocol; `claims` are further statements for the gate.
    """

    kind: str
    cutoff: datetime
    rows: list[ScoreRow]
    primary: str
    higher_is_better: bool = True
    notes: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    @property
    def candidate(self) -> ScoreRow:
        """The row on which the gate decides."""
        for row in self.rows:
            if row.role == "candidate":
                return row
        raise ValueError(f"the report on {self.kind} has no row with role 'candidate'")

    @property
    def baselines(self) -> list[ScoreRow]:
        """The rows that the candidate must beat."""
        return [row for row in self.rows if row.role == "baseline"]

    @property
    def champion(self) -> ScoreRow | None:
        """The present champion on this fold, if there is one."""
        return next((row for row in self.rows if row.role == "champion"), None)

    def row(self, name: str) -> ScoreRow:
        """The row of that name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(f"the report on {self.kind} has no row {name!r}, only {[r.name for r in self.rows]}")

    def to_dict(self) -> dict[str, Any]:
        """JSON form; carries no user rows."""
        return {
            "kind": self.kind,
            "cutoff": self.cutoff.isoformat(),
            "primary": self.primary,
            "higher_is_better": self.higher_is_better,
            "notes": list(self.notes),
            "claims": [vars(claim) for claim in self.claims],
            "rows": [
                {
                    "name": row.name,
                    "role": row.role,
                    "metrics": {name: value.to_dict() for name, value in row.metrics.items()},
                    "differences": {name: value.to_dict() for name, value in row.differences.items()},
                }
                for row in self.rows
            ],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelReport":
        """The inverse of `to_dict`."""
        rows = [
            ScoreRow(
                row["name"],
                row["role"],
                {name: Estimate.from_dict(value) for name, value in row["metrics"].items()},
                {name: Estimate.from_dict(value) for name, value in row["differences"].items()},
            )
            for row in values["rows"]
        ]
        return cls(
            values["kind"],
            datetime.fromisoformat(values["cutoff"]),
            rows,
            values["primary"],
            values["higher_is_better"],
            list(values["notes"]),
            [Claim(**claim) for claim in values["claims"]],
        )

    def to_json(self) -> str:
        """Indented JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def table(self, metrics: list[str] | None = None) -> str:
        """A Markdown table: one line per row, one column per metric, each with its interval."""
        names = metrics or list(dict.fromkeys(name for row in self.rows for name in row.metrics))
        lines = [" | ".join(["| model | role", *names]) + " |", "|" + " --- |" * (2 + len(names))]
        for row in self.rows:
            cells = [str(row.metrics[name]) if name in row.metrics else "–" for name in names]
            lines.append(" | ".join([f"| {row.name} | {row.role}", *cells]) + " |")
        return "\n".join(lines)


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

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "promoted": self.promoted,
            "reasons": list(self.reasons),
            "checks": [vars(check) for check in self.checks],
        }


def decide(report: ModelReport, validation_passed: bool, config: GateConfig | None = None) -> Decision:
    """Whether the report's candidate becomes champion.

    It does if its validation passed, its point estimate on the primary metric is better than every baseline's
    (with `require_interval` also the near bound of the paired difference, where there is one), every claim
    holds, and it is not worse than the champion on the same fold by more than `champion_margin` (relative).
    A missing champion does not relax anything: the first of its kind must beat the baselines too.
    """
    gate = config or GateConfig()
    checks = [
        Check(
            "validation",
            validation_passed,
            "its validation passed" if validation_passed else "its validation failed",
        )
    ]
    checks += _baseline_checks(report, gate)
    checks += [_claim_check(report, claim) for claim in report.claims]
    checks.append(_champion_check(report, gate))
    failed = [check.detail for check in checks if not check.passed]
    reasons = failed or [check.detail for check in checks]
    return Decision(not failed, reasons, checks)


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
    allowed = gate.champion_margin * abs(theirs)
    passed = bool(_gain(mine, theirs, report.higher_is_better) >= -allowed)
    detail = (
        f"{report.candidate.name} is {'not worse' if passed else 'worse'} than the champion on {metric} "
        f"beyond the margin of {gate.champion_margin:.1%}: {mine:.4f} vs {theirs:.4f}"
    )
    return Check("not_worse_than_champion", passed, detail)


def _gain(mine: float, theirs: float, higher_is_better: bool) -> float:
    """How much better `mine` is; NaN on either side counts as no gain."""
    if np.isnan(mine) or np.isnan(theirs):
        return float("-inf")
    return mine - theirs if higher_is_better else theirs - mine
