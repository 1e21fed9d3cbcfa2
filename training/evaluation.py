"""Candidate, baselines and champion in one table, which the gate reads (`training.gate`).

Every row of a report was measured on the same fold: the same cut-off, the same users, the same labels. The
caller re-scores the champion on the candidate's fold and adds it as a row with role 'champion'; a figure
that was measured on another fold is never compared.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from training.intervals import Estimate

__all__ = ["Claim", "Estimate", "ModelReport", "Role", "ScoreRow"]

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
