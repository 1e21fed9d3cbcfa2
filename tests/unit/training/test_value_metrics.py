"""Metrics with answers that can be counted by hand."""

import numpy as np
import pytest

from training import value_metrics as metrics

TRUTH = np.array([0.0, 0.0, 1.0, 1.0])
SCORE = np.array([0.1, 0.4, 0.4, 0.8])
MONEY = np.array([0.0, 10.0, 30.0, 60.0])


def test_auc_counts_ties_half() -> None:
    assert metrics.roc_auc(TRUTH, SCORE) == pytest.approx(3.5 / 4)


def test_auc_of_one_class_is_undefined() -> None:
    assert np.isnan(metrics.roc_auc(np.ones(3), np.arange(3.0)))


def test_calibration_error_weights_bins_by_customers() -> None:
    truth = np.array([0.0, 1.0, 1.0, 1.0])
    probability = np.array([0.05, 0.05, 0.95, 1.0])
    assert metrics.expected_calibration_error(truth, probability) == pytest.approx(0.5 * 0.45 + 0.5 * 0.025)


def test_a_perfect_forecast_has_no_brier_score_and_next_to_no_log_loss() -> None:
    assert metrics.brier(TRUTH, TRUTH) == 0.0
    assert metrics.log_loss(TRUTH, TRUTH) == pytest.approx(0.0, abs=1e-8)


def test_spearman_of_the_reversed_order_is_minus_one() -> None:
    assert metrics.spearman(MONEY, -MONEY) == pytest.approx(-1.0)
    assert np.isnan(metrics.spearman(MONEY, np.zeros(4)))


def test_capture_is_the_chosen_customers_money_over_the_best_ones() -> None:
    assert metrics.top_decile_capture(MONEY, np.array([0.0, 0.0, 9.0, 1.0]), share=0.25) == pytest.approx(0.5)
    assert metrics.top_decile_capture(MONEY, MONEY, share=0.5) == 1.0


def test_capture_shares_the_edge_among_tied_customers() -> None:
    tied = np.array([0.0, 0.0, 1.0, 1.0])
    assert metrics.top_decile_capture(MONEY, tied, share=0.25) == pytest.approx(45.0 / 60.0)
    assert metrics.top_decile_capture(MONEY, np.zeros(4), share=0.25) == pytest.approx(25.0 / 60.0)


def test_gini_is_one_for_the_true_order_and_nothing_for_no_order() -> None:
    assert metrics.gini(MONEY, MONEY) == pytest.approx(1.0)
    assert metrics.gini(MONEY, np.zeros(4)) == pytest.approx(0.0)
    assert metrics.gini(MONEY, -MONEY) == pytest.approx(-1.0)


def test_nobody_spending_leaves_money_metrics_undefined() -> None:
    nothing = np.zeros(3)
    assert np.isnan(metrics.top_decile_capture(nothing, np.arange(3.0)))
    assert np.isnan(metrics.gini(nothing, np.arange(3.0)))
    assert np.isnan(metrics.total_ratio(nothing, np.arange(3.0)))


def test_coverage_includes_both_ends() -> None:
    assert (
        metrics.coverage(MONEY, np.array([0.0, 11.0, 0.0, 60.0]), np.array([0.0, 20.0, 30.0, 60.0])) == 0.75
    )


@pytest.mark.parametrize(
    "metric",
    [
        metrics.roc_auc,
        metrics.brier,
        metrics.log_loss,
        metrics.expected_calibration_error,
        metrics.spearman,
        metrics.top_decile_capture,
        metrics.gini,
    ],
)
def test_row_order_never_changes_a_metric(metric: metrics.Metric) -> None:
    draw = np.random.default_rng(5)
    truth = (draw.uniform(size=60) < 0.4).astype(float)
    score = np.round(draw.uniform(size=60), 1)
    order = draw.permutation(60)
    assert metric(truth[order], score[order]) == pytest.approx(metric(truth, score), abs=1e-12)


def test_a_tenth_is_calibrated_if_its_predicted_money_is_near_the_true_money() -> None:
    truth = np.repeat(np.arange(1.0, 11.0), 3)
    prediction = truth.copy()
    prediction[truth == 4.0] = 4.7
    prediction[truth == 1.0] = 1.25
    assert metrics.decile_ratios(truth, prediction)[[0, 3, 9]] == pytest.approx([1.25, 1.175, 1.0])
    assert metrics.calibrated_deciles(truth, prediction) == 9.0
    order = np.random.default_rng(0).permutation(30)
    assert metrics.calibrated_deciles(truth[order], prediction[order]) == 9.0
