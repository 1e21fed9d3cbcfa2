"""Each rule of a suite: passes on good rows, fails on the one row that breaks it."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import pandas as pd
import psutil
import pytest

from orchestration.assets import PREDICTIONS
from orchestration.quality.checks import blocking_failures, check_results, check_specs
from orchestration.quality.evaluation import evaluating_beside, run_suite
from orchestration.quality.suites import Rule, landed_events, predictions, training_frame

MIDNIGHT = pd.Timestamp("2024-03-01", tz="UTC")


def landed() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event_date": ["2024-03-01", "2024-03-02"],
            "row_count": [10, 12],
            "null_keys": [0, 0],
            "duplicate_ids": [0, 0],
            "unknown_types": [0, 0],
            "misplaced": [0, 0],
            "bad_amounts": [0, 0],
            "incomplete_purchases": [0, 0],
            "quarantined_share": [0.0, 0.1],
            "share_of_median": [0.9, 1.1],
        }
    )


def trained() -> pd.DataFrame:
    count = 24
    return pd.DataFrame(
        {
            "user_id": [f"u{number}" for number in range(count)],
            "cutoff": MIDNIGHT,
            "feature_at": MIDNIGHT - pd.Timedelta(days=1),
            "spend_next": [float(number % 3) for number in range(count)],
            "orders_next": [number % 3 for number in range(count)],
            "order_count": 1,
        }
    )


def predicted() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": ["u1", "u2"],
            "clv_90d": [10.0, 20.0],
            "clv_90d_low": [1.0, 2.0],
            "clv_90d_high": [30.0, 40.0],
            "churn_probability": [0.1, 0.9],
            "value_segment": ["low", "churned"],
            "candidate_count": [100, 3],
            "repeated_candidates": [0, 0],
            "has_candidates": [1, 1],
            "unanswered": [0, 0],
        }
    )


def failed(frame: pd.DataFrame, rules: list[Rule]) -> set[str]:
    return {outcome.rule.name for outcome in run_suite(frame, rules) if not outcome.passed}


@pytest.mark.parametrize(
    ("frame", "rules"),
    [(landed(), landed_events()), (trained(), training_frame()), (predicted(), predictions())],
    ids=["landed", "training", "predictions"],
)
def test_good_rows_pass_every_rule(frame: pd.DataFrame, rules: list[Rule]) -> None:
    assert failed(frame, rules) == set()


BREAKS: list[tuple[str, Callable[[], pd.DataFrame], Callable[[], list[Rule]], str, object]] = [
    ("keys_present", landed, landed_events, "null_keys", 1),
    ("ids_unique_in_day", landed, landed_events, "duplicate_ids", 1),
    ("types_in_vocabulary", landed, landed_events, "unknown_types", 1),
    ("events_in_their_day", landed, landed_events, "misplaced", 1),
    ("amounts_sane", landed, landed_events, "bad_amounts", 1),
    ("purchases_complete", landed, landed_events, "incomplete_purchases", 1),
    ("quarantine_is_small", landed, landed_events, "quarantined_share", 0.3),
    ("volume_is_usual", landed, landed_events, "share_of_median", 0.01),
    ("customers_named", trained, training_frame, "user_id", None),
    ("one_row_per_customer_and_cutoff", trained, training_frame, "user_id", "u1"),
    ("nothing_after_the_cutoff", trained, training_frame, "feature_at", MIDNIGHT + pd.Timedelta(days=1)),
    ("spend_label_not_negative", trained, training_frame, "spend_next", -1.0),
    ("order_label_not_negative", trained, training_frame, "orders_next", -1),
    ("order_count_not_negative", trained, training_frame, "order_count", -1),
    ("one_row_per_customer", predicted, predictions, "user_id", "u2"),
    ("values_complete", predicted, predictions, "unanswered", 1),
    ("clv_in_range", predicted, predictions, "clv_90d", -0.1),
    ("clv_in_range", predicted, predictions, "clv_90d", float("inf")),
    ("clv_interval_ordered", predicted, predictions, "clv_90d_low", 31.0),
    ("churn_is_probability", predicted, predictions, "churn_probability", 1.1),
    ("segment_known", predicted, predictions, "value_segment", "gold"),
    ("candidates_bounded", predicted, predictions, "candidate_count", 101),
    ("candidates_distinct", predicted, predictions, "repeated_candidates", 1),
    ("most_have_candidates", predicted, predictions, "has_candidates", 0),
]


@pytest.mark.parametrize(
    ("rule", "frame", "rules", "column", "value"), BREAKS, ids=[each[0] for each in BREAKS]
)
def test_one_bad_row_breaks_its_rule_alone(
    rule: str,
    frame: Callable[[], pd.DataFrame],
    rules: Callable[[], list[Rule]],
    column: str,
    value: object,
) -> None:
    broken = frame()
    broken.loc[0, column] = value
    assert failed(broken, rules()) == {rule}


def test_no_rows_break_the_row_count() -> None:
    assert "has_days" in failed(landed().iloc[:0], landed_events())
    assert "has_rows" in failed(trained().iloc[:3], training_frame())


def test_one_kind_of_customer_cannot_be_learned_from() -> None:
    assert failed(trained().assign(orders_next=0), training_frame()) == {"labels_vary"}


def test_values_that_no_champion_predicts_are_allowed_to_be_null() -> None:
    columns = ["clv_90d", "clv_90d_low", "clv_90d_high", "churn_probability"]
    frame = predicted().assign(**dict.fromkeys(columns, float("nan")), value_segment=None)
    assert failed(frame, predictions()) == set()


def test_each_expectation_is_one_check_with_what_was_observed() -> None:
    frame = predicted()
    frame.loc[0, "churn_probability"] = 1.5
    outcomes = run_suite(frame, predictions())
    results = {result.check_name: result for result in check_results(PREDICTIONS, outcomes)}
    assert set(results) == {spec.name for spec in check_specs(PREDICTIONS, predictions())}
    result = results["churn_is_probability"]
    assert not result.passed
    assert result.metadata["unexpected_count"].value == 1
    assert blocking_failures(outcomes) == [
        "churn_is_probability (element_count 2, unexpected_count 1, unexpected_percent 50.0)"
    ]


def test_results_never_carry_the_rows_that_failed() -> None:
    frame = predicted()
    frame.loc[0, "value_segment"] = "a-secret-value"
    assert "a-secret-value" not in repr(run_suite(frame, predictions()))


def test_a_missing_column_fails_the_rule_and_says_so() -> None:
    outcomes = run_suite(predicted().drop(columns="churn_probability"), predictions())
    [outcome] = [one for one in outcomes if one.rule.name == "churn_is_probability"]
    assert not outcome.passed
    assert "column is missing" in str(outcome.observed["error"])


def evaluating(process: psutil.Process) -> psutil.Process:
    """Its child that evaluates suites, which is there at once or very soon."""
    end = time.monotonic() + 10.0
    while time.monotonic() < end:
        for child in process.children():
            with suppress(psutil.Error):
                if "quality.evaluation" in " ".join(child.cmdline()):
                    return child
        time.sleep(0.01)
    raise AssertionError(f"{process} has no child that evaluates suites")


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended; its parent may not have noticed yet."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def test_another_process_finds_the_same_and_is_gone_afterwards() -> None:
    frame = predicted()
    frame.loc[0, "churn_probability"] = 1.5
    with evaluating_beside():
        other = evaluating(psutil.Process())
        found = [run_suite(frame, predictions()), run_suite(landed(), landed_events())]
    assert is_gone(other)
    assert found == [run_suite(frame, predictions()), run_suite(landed(), landed_events())]


def test_a_process_that_died_is_done_without() -> None:
    with evaluating_beside():
        other = evaluating(psutil.Process())
        other.kill()
        assert {outcome.passed for outcome in run_suite(landed(), landed_events())} == {True}


def test_the_other_process_ends_with_a_run_that_is_killed() -> None:
    waiting = "with evaluating_beside(): print('open', flush=True); time.sleep(60)"
    script = f"import time\nfrom orchestration.quality.evaluation import evaluating_beside\n{waiting}"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.readline()
        other = evaluating(psutil.Process(run.pid))
        run.kill()
    end = time.monotonic() + 60.0
    while not is_gone(other) and time.monotonic() < end:
        time.sleep(0.05)
    assert is_gone(other)
