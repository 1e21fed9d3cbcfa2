"""The churn model on customers whose truth is known."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.customers import CHURN, PURCHASE, cutoff, frame
from training.churn import churned, fit_churn, read_churn, score_churn, write_churn
from training.dataset import known_at
from training.errors import BrokenModel, NotEnoughData
from training.purchase import fit_purchase
from training.splits import Fold
from training.value_evaluation import evaluate_churn
from training.value_metrics import expected_calibration_error, roc_auc


def test_loyal_customers_get_a_low_probability() -> None:
    model = fit_churn(frame([0.0, 0.0, 0.0]), CHURN)
    test = frame([0.0], seed=9, first=6)
    scored = score_churn(model, test)
    assert list(scored.columns) == ["user_id", "cutoff", "churn_probability"]
    assert roc_auc(churned(test), scored["churn_probability"].to_numpy()) > 0.75
    assert expected_calibration_error(churned(test), scored["churn_probability"].to_numpy()) < 0.06


def test_a_month_in_which_everybody_buys_is_no_property_of_its_customers() -> None:
    model = fit_churn(frame([-2.0, 2.0, -2.0, 2.0, 0.0], customers=1500), CHURN)
    levels = np.array(model.purchase.levels.offsets)
    assert np.all(np.diff(levels)[:3] * [1, -1, 1] > 2.5)
    quiet, busy = (model.purchase.score.margin(frame([level], seed=4)).mean() for level in (-2.0, 2.0))
    assert quiet == pytest.approx(busy, abs=1e-9)


def test_the_slope_is_measured_on_a_fold_that_the_score_had_not_seen() -> None:
    data = frame([0.0, 0.0, 0.0])
    same = fit_purchase(data, PURCHASE, 0)
    data.loc[data["cutoff"] == cutoff(2), "orders_next"] = np.random.default_rng(1).permutation(
        data.loc[data["cutoff"] == cutoff(2), "orders_next"]
    )
    other = fit_purchase(data, PURCHASE, 0)
    assert np.array_equal(same.before.score.margin(data), other.before.score.margin(data))
    assert other.model.platt.slope < 0.5 < same.model.platt.slope
    assert not np.array_equal(same.model.score.margin(data), other.model.score.margin(data))


def test_a_cutoff_whose_window_is_open_teaches_who_buys_but_sets_no_level() -> None:
    data = frame([0.0, 0.0, 0.0, 0.0])
    opened = known_at(data, cutoff(3) + timedelta(days=40), 60)
    assert opened.loc[opened["cutoff"] == cutoff(3), "spend_next"].isna().all()
    assert opened.loc[opened["cutoff"] == cutoff(2), "spend_next"].notna().all()
    model = fit_churn(opened, CHURN).purchase
    assert len(model.levels.days) == 3
    without = fit_churn(data[data["cutoff"] < cutoff(3)], CHURN).purchase
    assert not np.array_equal(model.score.margin(data), without.score.margin(data))


def test_the_line_goes_on_where_the_trees_have_seen_nothing() -> None:
    model = fit_churn(frame([0.0, 0.0, 0.0]), CHURN).purchase.score
    far = frame([0.0], customers=1).loc[[0, 0]].assign(order_day_count=[29.0, 31.0])
    trees, line = model.trees.margin(far), model.linear.margin(far)
    assert trees[0] == trees[1]
    assert line[0] < line[1]


def test_equal_data_and_seed_give_equal_probabilities_in_any_row_order() -> None:
    data, test = frame([0.0, 0.3, 0.1]), frame([0.0], seed=2, first=6)
    first, second = fit_churn(data, CHURN, 3), fit_churn(data.copy(), CHURN, 3)
    assert np.array_equal(first.probability(test), second.probability(test))
    assert np.array_equal(first.probability(test)[::-1], first.probability(test.iloc[::-1]))


def test_a_model_written_and_read_scores_the_same_without_pickles(tmp_path: Path) -> None:
    model, test = fit_churn(frame([0.0, 0.5, 0.2]), CHURN), frame([0.0], seed=2, first=6)
    write_churn(model, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".ubj"}
    assert np.array_equal(read_churn(tmp_path).probability(test), model.probability(test))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    write_churn(fit_churn(frame([0.0, 0.5]), CHURN), tmp_path)
    (tmp_path / "purchase_trees_0.ubj").write_bytes(b"no booster")
    with pytest.raises(BrokenModel, match=r"purchase_trees_0\.ubj"):
        read_churn(tmp_path)


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    write_churn(fit_churn(frame([0.0, 0.5]), CHURN), tmp_path)
    (tmp_path / "churn.json").write_text(json.dumps({"format_version": 99, "horizon_days": 90}))
    with pytest.raises(BrokenModel, match="format_version 99"):
        read_churn(tmp_path)


def test_one_cutoff_is_not_enough() -> None:
    with pytest.raises(NotEnoughData, match="training cut-offs"):
        fit_churn(frame([0.0]), CHURN)


def test_a_report_has_the_baselines_the_champion_and_paired_differences() -> None:
    data = frame([0.0] * 8, customers=400)
    found_folds = [
        Fold(cutoff(number), tuple(cutoff(each) for each in range(number - 2)), 60) for number in (5, 6, 7)
    ]
    champion = fit_churn(data[data["cutoff"] <= cutoff(4)], CHURN, 5)
    found = evaluate_churn(data, found_folds, CHURN, champion=champion, draws=20)
    assert [report.cutoff for report in found.reports] == [cutoff(5), cutoff(6), cutoff(7)]
    assert [row.role for row in found.report.rows].count("baseline") == 3
    assert found.report.champion is not None
    assert found.reports[0].champion is None
    assert found.report.row("recency").differences["roc_auc"].low > 0.0
    assert set(found.report.candidate.metrics) == {"roc_auc", "ece", "brier", "log_loss"}
    assert found.boundaries["training_labels_end"] == f"{cutoff(4) + timedelta(days=60):%Y-%m-%d}"
    assert len(found.predictions) == 400
    assert sum(note.startswith("Fold of ") for note in found.report.notes) == 2
