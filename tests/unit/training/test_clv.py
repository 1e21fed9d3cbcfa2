"""The CLV model on customers whose truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.unit.training.customers import CLV, cutoff, frame
from training.clv import fit_clv, read_clv, score_clv, write_clv
from training.errors import BrokenModel, InvalidConfig, NotEnoughData
from training.horizons import score_horizons
from training.splits import Fold
from training.value_config import ClvConfig
from training.value_evaluation import evaluate_clv
from training.value_metrics import coverage, spearman, total_ratio


def test_expected_spend_ranks_customers_and_adds_up() -> None:
    scored_truth = frame([0.0], customers=2000, seed=9, first=6)
    truth = scored_truth["spend_next"].to_numpy()
    scored = score_clv(fit_clv(frame([0.0, 0.0, 0.0]), CLV), scored_truth)
    assert spearman(truth, scored["clv"].to_numpy()) > 0.6
    assert total_ratio(truth, scored["clv"].to_numpy()) == pytest.approx(1.0, abs=0.2)


def test_the_interval_covers_the_stated_share_and_holds_the_expectation() -> None:
    test = frame([0.0], customers=2000, seed=9, first=6)
    scored = score_clv(fit_clv(frame([0.0, 0.0, 0.0], customers=2000), CLV), test)
    low, high = scored["clv_low"].to_numpy(), scored["clv_high"].to_numpy()
    assert coverage(test["spend_next"].to_numpy(), low, high) == pytest.approx(0.8, abs=0.07)
    assert np.all((low >= 0.0) & (low <= scored["clv"]) & (scored["clv"] <= high))


def test_unlikely_buyers_may_spend_nothing() -> None:
    test = frame([0.0], seed=9, first=6)
    scored = score_clv(fit_clv(frame([0.0, 0.0, 0.0]), CLV), test)
    unlikely = scored["purchase_probability"] < 0.5
    assert unlikely.any()
    assert (scored.loc[unlikely, "clv_low"] == 0.0).all()


def test_a_model_written_and_read_scores_the_same_without_pickles(tmp_path: Path) -> None:
    model, test = fit_clv(frame([0.0, 0.5, 0.2]), CLV), frame([0.0], seed=2, first=6)
    write_clv(model, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".ubj"}
    assert score_clv(read_clv(tmp_path), test).equals(score_clv(model, test))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_clv(fit_clv(frame([0.0, 0.5]), CLV), tmp_path)
    (tmp_path / "amount_trees.json").unlink()
    with pytest.raises(BrokenModel, match=r"amount_trees\.json"):
        read_clv(tmp_path)


def test_too_few_buyers_are_named() -> None:
    data = frame([0.0, 0.0])
    data.loc[data["cutoff"] == cutoff(1), ["spend_next", "orders_next"]] = 0
    with pytest.raises(NotEnoughData, match="to calibrate: found 0, needed 20"):
        fit_clv(data, CLV)


def test_an_impossible_coverage_names_its_field() -> None:
    with pytest.raises(InvalidConfig, match=r"coverage=1\.0"):
        ClvConfig(coverage=1.0)


def test_a_report_has_all_baselines_and_the_intervals_coverage() -> None:
    data = frame([0.0] * 8, customers=400)
    found_folds = [
        Fold(cutoff(number), tuple(cutoff(each) for each in range(number - 2)), 60) for number in (6, 7)
    ]
    found = evaluate_clv(data, found_folds, CLV, draws=20)
    assert [row.name for row in found.report.baselines] == [
        "bgnbd_gamma_gamma",
        "past_spend_rate",
        "spend_last_90d",
        "pareto_nbd_gamma_gamma",
    ]
    assert 0.6 < found.report.candidate.metrics["coverage"].value <= 1.0
    assert {"truth", "xgboost", "low", "high"} <= set(found.predictions.columns)


def test_another_horizon_scales_the_money_and_keeps_the_interval_in_order() -> None:
    test = frame([0.0], customers=2000, seed=9, first=6)
    model = fit_clv(frame([0.0, 0.0, 0.0], customers=2000), CLV)
    same, third, four = (score_clv(model, test, np.full(2000, ratio)) for ratio in (1.0, 1 / 3, 4.0))
    pd.testing.assert_frame_equal(same, score_clv(model, test))
    assert third["clv"].to_numpy() == pytest.approx(same["clv"].to_numpy() / 3)
    assert four["clv"].to_numpy() == pytest.approx(same["clv"].to_numpy() * 4)
    assert (third["purchase_probability"] < same["purchase_probability"]).all()
    assert (four["clv_low"] >= same["clv_low"]).all()
    assert ((third["clv_low"] <= third["clv"]) & (third["clv"] <= third["clv_high"])).all()


def test_the_parts_of_a_value_multiply_to_it_and_a_longer_horizon_is_worth_more() -> None:
    test = frame([0.0], customers=500, seed=9, first=6)
    found = score_horizons(fit_clv(frame([0.0, 0.0, 0.0]), CLV), test)
    product = found["p_alive"] * found["expected_orders_90d"] * found["expected_order_value"]
    assert product.to_numpy() == pytest.approx(found["clv_90d"].to_numpy())
    assert (found["clv_30d"] < found["clv_90d"]).all()
    assert (found["clv_90d"] < found["clv_365d"]).all()
    assert (found["clv_365d"] < found["clv_90d"] * 365 / 90 + 1e-9).all()
