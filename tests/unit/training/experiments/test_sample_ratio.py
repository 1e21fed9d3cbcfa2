"""The sample ratio check: scipy's chi-square, and the flags that it must and must not raise."""

import numpy as np
import pytest
from scipy import stats

from training.experiments.sample_ratio import p_values, sample_ratio

HALVES = {"control": 0.5, "variant_a": 0.5}


def test_three_arms_are_scipys_chi_square() -> None:
    assert p_values([310, 340, 350], [1, 1, 1]) == pytest.approx(stats.chisquare([310, 340, 350]).pvalue)


def test_two_arms_are_near_the_exact_test() -> None:
    exact = stats.binomtest(10_180, 20_000, 0.5).pvalue
    assert p_values([10_180, 9_820], [0.5, 0.5]) == pytest.approx(exact, rel=0.01)


def test_fifty_two_to_forty_eight_of_twenty_thousand_is_a_mismatch() -> None:
    assert sample_ratio({"control": 10_400, "variant_a": 9_600}, HALVES).is_mismatch


def test_a_healthy_split_is_none_and_nobody_at_all_neither() -> None:
    assert not sample_ratio({"control": 10_050, "variant_a": 9_950}, HALVES).is_mismatch
    assert not sample_ratio({}, HALVES).is_mismatch


def test_a_healthy_experiment_is_flagged_at_most_once_in_a_thousand() -> None:
    """Exactly: the probability of every count that would be flagged."""
    counts = np.arange(20_001)
    flagged = p_values(np.column_stack([counts, 20_000 - counts]), [0.5, 0.5]) < 0.001
    assert 0.0009 < stats.binom.pmf(counts[flagged], 20_000, 0.5).sum() <= 0.001


def test_an_arm_that_nobody_came_to_is_a_mismatch() -> None:
    assert sample_ratio({"control": 500}, HALVES).is_mismatch


def test_users_in_an_arm_of_no_share_are_a_mismatch() -> None:
    found = sample_ratio({"control": 500, "off": 3}, {"control": 1.0, "off": 0.0})
    assert found.is_mismatch
