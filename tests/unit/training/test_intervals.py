import numpy as np
import pytest

from training.errors import NotEnoughData
from training.intervals import (
    Estimate,
    bootstrap_mean,
    bootstrap_means,
    bootstrap_statistic,
    paired_difference,
    paired_statistic_difference,
)


def test_an_interval_holds_the_mean_and_agrees_with_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    estimate = bootstrap_mean(values, seed=2, draws=2000)
    error = values.std() / np.sqrt(len(values))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - 1.96 * error, abs=0.03)
    assert estimate.high == pytest.approx(values.mean() + 1.96 * error, abs=0.03)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [0.0, 1.0, 0.0, 1.0, 1.0]
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)


def test_users_without_a_value_are_left_out_of_their_column_alone() -> None:
    first, second = bootstrap_means([[1.0, np.nan], [3.0, 4.0]], seed=1)
    assert first.value == 2.0
    assert second == Estimate.exact(4.0)


def test_a_column_without_any_value_is_nan() -> None:
    assert np.isnan(bootstrap_means([[np.nan], [np.nan]], seed=1)[0].value)


def test_a_paired_difference_is_tighter_than_two_separate_intervals() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(0.0, 5.0, 300)
    better = base + 0.2 + rng.normal(0.0, 0.1, 300)
    paired = paired_difference(better, base, seed=1)
    alone = bootstrap_mean(better, seed=1)
    assert paired.low > 0.0
    assert paired.high - paired.low < (alone.high - alone.low) / 10


def test_any_statistic_can_be_resampled_and_undefined_draws_are_left_out() -> None:
    def share_of_ones(values: np.ndarray) -> float:
        return float("nan") if values.sum() == 0 else float(values.mean())

    estimate = bootstrap_statistic(share_of_ones, np.array([1.0, 0.0, 0.0]), seed=1)
    assert estimate.value == pytest.approx(1 / 3)
    assert 0 < estimate.low <= estimate.high <= 1


def test_equal_scores_differ_by_nothing() -> None:
    truth, score = np.array([1.0, 0.0, 2.0]), np.array([0.1, 0.2, 0.3])
    same = paired_statistic_difference(lambda y, s: float((y * s).sum()), truth, score, score, seed=1)
    assert same == Estimate.exact(0.0)


def test_nobody_to_resample_is_an_error_that_says_so() -> None:
    with pytest.raises(NotEnoughData, match="earlier cut-off"):
        bootstrap_mean([], seed=1)


def test_an_estimate_survives_json() -> None:
    estimate = Estimate(0.2, 0.1, 0.3)
    assert Estimate.from_dict(estimate.to_dict()) == estimate
    assert str(estimate) == "0.2000 [0.1000, 0.3000]"
