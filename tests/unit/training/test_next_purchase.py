"""When customers of a known rhythm order next."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.unit.training.customers import FEW_TREES, cutoff, frame
from training.dataset import fold_days
from training.errors import NotEnoughData
from training.next_purchase import (
    fit_next_purchase,
    own_gap_forecast,
    read_next_purchase,
    score_next_purchase,
    write_next_purchase,
)
from training.next_purchase_evaluation import came_early, evaluate_next_purchase, restricted_error
from training.splits import Fold
from training.value_config import CutoffConfig, NextPurchaseConfig

HORIZON = 60
CONFIG = NextPurchaseConfig(cutoffs=CutoffConfig(horizon_days=HORIZON), trees=FEW_TREES)


def world(cutoffs: int, seed: int = 0, customers: int = 800) -> pd.DataFrame:
    """The next order comes after exp(4 - order days standardised / 2) days, give or take a factor."""
    data = frame([0.0] * cutoffs, customers=customers, seed=seed)
    draw = np.random.default_rng(seed)
    days = np.exp(4.0 - (data["order_day_count"] - 10.0) / 6.0 + draw.normal(0.0, 0.7, len(data)))
    data["days_to_next_order"] = np.floor(days).where(days < HORIZON)
    data["orders_next"] = (days < HORIZON).astype(int)
    return data


def test_loyal_customers_order_sooner_and_the_interval_holds_four_of_five() -> None:
    data, test = world(4), world(1, seed=7, customers=2000)
    model = fit_next_purchase(data, float(fold_days(data).max()) + HORIZON, CONFIG)
    scored = score_next_purchase(model, test)
    loyal = test["order_day_count"] > 12.0
    assert scored.loc[loyal, "next_order_days"].median() < 45 < scored.loc[~loyal, "next_order_days"].median()
    assert came_early(test["days_to_next_order"].to_numpy(), scored).mean() == pytest.approx(0.1, abs=0.05)
    assert (scored["next_order_days_low"] < scored["next_order_days"]).all()


def test_an_order_that_has_not_come_yet_counts_as_later_and_not_as_never() -> None:
    data = world(4)
    short = data.assign(days_to_next_order=data["days_to_next_order"].where(data["days_to_next_order"] < 20))
    full = fit_next_purchase(data, float(fold_days(data).max()) + HORIZON, CONFIG)
    never = fit_next_purchase(short, float(fold_days(data).max()) + HORIZON, CONFIG)
    early = fit_next_purchase(
        short, float(fold_days(data).max()) + 20, NextPurchaseConfig(CutoffConfig(horizon_days=20), FEW_TREES)
    )
    middle = [np.median(np.exp(each.log_days(data))) for each in (full, early, never)]
    assert middle[0] < middle[1] < 0.75 * middle[2]


def test_the_baseline_is_the_own_gap_and_never_in_the_past() -> None:
    data = pd.DataFrame({"mean_gap_days": [30.0, 10.0, np.nan], "recency_days": [10.0, 15.0, 5.0]})
    assert own_gap_forecast(data).tolist() == [20.0, 0.0, 15.0]


def test_the_error_is_cut_at_the_horizon() -> None:
    assert restricted_error(np.array([10.0, np.nan]), np.array([25.0, 400.0]), 90.0) == 7.5


def test_the_report_sets_the_model_beside_the_own_gap_and_one_number() -> None:
    data = world(6, customers=300)
    fold = Fold(cutoff(5), tuple(cutoff(each) for each in range(4)), HORIZON, (cutoff(4),))
    found = evaluate_next_purchase(data, [fold], CONFIG, draws=10)
    assert [row.name for row in found.report.rows] == ["xgboost", "own_mean_gap", "usual_days"]
    assert found.report.candidate.metrics["roc_auc_30d"].value > 0.7
    assert found.report.candidate.metrics["early_share"].value == pytest.approx(0.1, abs=0.06)
    assert found.boundaries["evaluation_labels_end"] == f"{cutoff(5) + timedelta(days=HORIZON):%Y-%m-%d}"


def test_a_model_written_and_read_scores_the_same_without_pickles(tmp_path: Path) -> None:
    data = world(3, customers=200)
    model = fit_next_purchase(data, float(fold_days(data).max()) + HORIZON, CONFIG)
    write_next_purchase(model, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".ubj"}
    assert score_next_purchase(read_next_purchase(tmp_path), data).equals(score_next_purchase(model, data))


def test_too_few_orders_are_named() -> None:
    data = world(3).assign(days_to_next_order=np.nan)
    with pytest.raises(NotEnoughData, match="calibrate the next purchase on: found 0, needed 20"):
        fit_next_purchase(data, float(fold_days(data).max()) + HORIZON, CONFIG)
