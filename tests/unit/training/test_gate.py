import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from training.config import GateConfig
from training.evaluation import Claim, Estimate, ModelReport, ScoreRow
from training.evidence import Cost, Evidence, FoldFigure, Overlap
from training.gate import Decision, decide


def row(name: str, role: str, value: float, paired: tuple[float, float] | None = None) -> ScoreRow:
    differences = {} if paired is None else {"recall": Estimate(sum(paired) / 2, *paired)}
    return ScoreRow(name, role, {"recall": Estimate(value, value - 0.01, value + 0.01)}, differences)  # type: ignore[arg-type]


def report(*rows: ScoreRow, higher_is_better: bool = True, claims: list[Claim] | None = None) -> ModelReport:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return ModelReport("tiny", when, list(rows), "recall", higher_is_better, [], claims or [])


NEW, POPULAR = row("als", "candidate", 0.3), row("popularity", "baseline", 0.2)


def test_the_first_of_its_kind_is_promoted_when_it_beats_the_baselines() -> None:
    decision = decide(report(NEW, POPULAR), True)
    assert decision.promoted
    assert "als beats popularity on recall: 0.3000 vs 0.2000" in decision.reasons


def test_the_first_of_its_kind_is_rejected_when_a_baseline_is_as_good() -> None:
    decision = decide(report(NEW, POPULAR, row("again", "baseline", 0.3)), True)
    assert not decision.promoted
    assert decision.reasons == ["als does not beat again on recall: 0.3000 vs 0.3000"]


def test_failed_validation_rejects_whatever_the_figures_say() -> None:
    decision = decide(report(NEW, POPULAR), False)
    assert not decision.promoted
    assert decision.reasons == ["its validation failed"]


@pytest.mark.parametrize(("champion", "promoted"), [(0.305, True), (0.31, False)])
def test_a_candidate_may_be_below_the_champion_within_the_margin_only(
    champion: float, promoted: bool
) -> None:
    rows = (NEW, POPULAR, row("champion", "champion", champion))
    assert decide(report(*rows), True, GateConfig(champion_margin=0.02)).promoted is promoted


def test_a_champion_that_was_not_measured_on_the_fold_blocks() -> None:
    blind = ScoreRow("champion", "champion", {})
    assert decide(report(NEW, POPULAR, blind), True).reasons == ["the champion was not measured on recall"]


def test_lower_can_be_better() -> None:
    rows = (row("model", "candidate", 0.1), row("recency", "baseline", 0.2))
    assert decide(report(*rows, higher_is_better=False), True).promoted
    assert not decide(report(*rows), True).promoted


def test_the_near_bound_counts_where_the_gate_asks_for_it() -> None:
    unsure = report(NEW, row("popularity", "baseline", 0.2, paired=(-0.01, 0.2)))
    sure = report(NEW, row("popularity", "baseline", 0.2, paired=(0.01, 0.2)))
    strict = GateConfig(require_interval=True)
    assert decide(unsure, True).promoted
    assert not decide(unsure, True, strict).promoted
    assert decide(sure, True, strict).promoted


def test_a_claim_that_does_not_hold_rejects_and_says_which() -> None:
    claims = [Claim("als", "recall", "popularity", strict=True), Claim("popularity", "recall", "als")]
    decision = decide(report(NEW, POPULAR, claims=claims), True)
    assert decision.reasons == [
        "popularity is not at least as good as als on recall: 0.2000 vs 0.3000",
    ]


def test_a_report_without_a_measured_baseline_promotes_nothing() -> None:
    assert decide(report(NEW), True).reasons == ["no baseline was measured on recall; add one to the report"]


def test_a_figure_that_is_not_a_number_never_wins() -> None:
    assert not decide(report(row("als", "candidate", float("nan")), POPULAR), True).promoted
    assert not decide(report(NEW, row("popularity", "baseline", float("nan"))), True).promoted


def test_a_report_survives_json_and_prints_as_a_table() -> None:
    claims = [Claim("als", "recall", "popularity")]
    original = report(NEW, row("popularity", "baseline", 0.2, paired=(0.0, 0.1)), claims=claims)
    assert ModelReport.from_dict(json.loads(original.to_json())) == original
    assert "| als | candidate | 0.3000 [0.2900, 0.3100] |" in original.table()


def test_a_row_that_is_not_there_is_an_error_with_the_names() -> None:
    with pytest.raises(ValueError, match="popularity"):
        report(NEW, POPULAR).row("missing")


@dataclass(frozen=True)
class Logged:
    """A gain, or a value, by logged answers."""

    estimate: float
    low: float
    high: float
    abstains: bool = False
    reason: str = "enough"


def refused(**shown: object) -> list[str]:
    return decide(report(NEW, POPULAR), True, evidence=Evidence(**shown)).refused_by  # type: ignore[arg-type]


def test_a_candidate_that_logs_say_earns_less_is_refused_and_a_thin_log_decides_nothing() -> None:
    served = Logged(0.100, 0.098, 0.102)
    assert refused(off_policy=(Logged(0.001, -0.003, 0.005), served)) == []
    assert refused(off_policy=(Logged(-0.004, -0.006, -0.002), served)) == ["off_policy"]
    assert refused(off_policy=(Logged(-0.05, -0.09, -0.01), served)) == ["off_policy"]
    assert refused(off_policy=(Logged(-0.01, -0.09, 0.07), served)) == []
    assert refused(off_policy=(Logged(-0.05, -0.09, -0.01, True, "12 users"), served)) == []


def test_one_lost_fold_of_four_refuses_and_fewer_folds_are_said() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    even, lost = FoldFigure(when, 0.30, 0.303), FoldFigure(when, 0.30, 0.32)
    assert refused(folds=[even, even, even, even]) == []
    assert refused(folds=[even, even, lost, even]) == ["rolling_folds"]
    decision = decide(report(NEW, POPULAR), True, evidence=Evidence(folds=[even]))
    assert "on 1 rolling folds (the history allows 1 of 4)" in "\n".join(decision.reasons)


def test_lists_that_a_seed_turns_over_are_refused() -> None:
    assert refused(overlap=Overlap(0.4, "two seeds", True)) == ["stable_lists"]
    assert refused(overlap=Overlap(0.4, "candidate and champion", False)) == []


def test_size_and_time_are_bounded_by_the_champions_above_a_floor_and_by_themselves() -> None:
    assert refused(size=Cost(3e6, 1e5), seconds=Cost(0.019, 0.001)) == []
    assert refused(size=Cost(5e6, 1e5), seconds=Cost(0.021, 0.001)) == ["size", "latency"]
    assert refused(size=Cost(3e9), seconds=Cost(61.0)) == ["size", "latency"]


def test_figures_too_good_to_be_true_are_taken_for_a_leak() -> None:
    decision = decide(report(row("als", "candidate", 0.93), POPULAR), True)
    assert decision.refused_by == ["plausible"]


def test_a_decision_survives_json_and_names_its_failed_checks_in_a_table() -> None:
    decision = decide(report(NEW, row("again", "baseline", 0.3)), True)
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    assert "| beats_again | **failed** | als does not beat again" in decision.table()
