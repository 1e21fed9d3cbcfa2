"""Distances whose value can be told by hand, and when they are a reason to train again."""

import numpy as np
import pytest

from training.drift import Drift, compare, compare_outcome, expanded, reasons, stability_index, summary

BEFORE = np.arange(1000.0)


def feature(name: str, current: np.ndarray, model: str = "churn") -> Drift:
    return compare(model, "feature", name, BEFORE, current)


def test_what_did_not_move_has_no_distance() -> None:
    found = feature("spend", BEFORE[::-1].copy())
    assert (found.psi, found.ks, found.wasserstein, found.drifted) == (0.0, 0.0, 0.0, False)


def test_ten_percent_more_in_the_last_tenth_is_a_known_index() -> None:
    moved = np.concatenate([BEFORE[100:], np.full(100, 950.0)])
    expected = (1e-4 - 0.1) * np.log(1e-4 / 0.1) + 0.1 * np.log(2.0)
    assert stability_index(BEFORE, moved) == pytest.approx(expected, rel=0.02)
    assert feature("spend", moved).drifted


def test_missing_values_are_a_bin_of_their_own() -> None:
    gone = np.where(np.arange(1000) % 2, BEFORE, np.nan)
    assert feature("spend", gone).drifted
    assert feature("spend", gone).current_mean == pytest.approx(500.0)


def test_too_few_rows_are_not_judged() -> None:
    found = feature("spend", np.full(199, 1e6))
    assert np.isnan(found.psi)
    assert not found.drifted


def test_a_column_comes_back_from_its_summary_with_its_distribution() -> None:
    values = np.where(np.arange(4000) % 4 == 0, np.nan, np.arange(4000.0) ** 2)
    again = expanded(summary(values))
    assert compare("churn", "feature", "x", again, values).psi < 0.01
    assert np.isnan(again).mean() == pytest.approx(0.25, abs=0.01)
    assert not feature("x", expanded(summary(np.arange(50.0)))).drifted
    assert len(expanded(summary(np.empty(0)))) == 0


def test_an_outcome_is_judged_by_what_came_over_what_was_expected() -> None:
    expected = np.full(1000, 0.4)
    came = (np.arange(1000) % 10 < 5).astype(float)
    assert not compare_outcome("churn", "churn", expected, came).drifted
    assert compare_outcome("churn", "churn", expected, np.ones(1000)).drifted
    assert compare_outcome("churn", "churn", expected, np.zeros(1000)).drifted


def test_a_model_is_trained_again_when_enough_features_or_any_answer_moved() -> None:
    still = [feature(name, BEFORE) for name in ("a", "b", "c")]
    moved = feature("spend", BEFORE + 2000.0)
    assert reasons([*still, moved]) == []
    [reason] = reasons([*still[:2], moved])
    assert (reason.model, reason.aspect) == ("churn", "feature")
    assert reason.text.startswith("1 of 3 features moved, most of all spend (PSI ")
    came = compare_outcome("clv", "spend", np.full(300, 10.0), np.full(300, 30.0))
    answers = compare("clv", "prediction", "clv_90d", BEFORE, BEFORE + 900.0)
    assert [each.text for each in reasons([answers, came])][1] == "spend: 30 came, 10 was expected"
    assert [each.aspect for each in reasons([answers, came])] == ["prediction", "outcome"]
