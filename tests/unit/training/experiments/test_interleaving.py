"""Team-draft interleaving: visitors are counted, not clicks."""

import numpy as np
import pytest
from scipy import stats

from training.errors import NotEnoughData
from training.experiments.interleaving import preference


def test_one_eager_visitor_has_one_vote() -> None:
    visitors = ["a"] * 50 + ["b", "c"]
    found = preference(visitors, [0] * 50 + [1, 1], [1] * 50 + [0, 0])
    assert (found.prefer_first, found.prefer_second) == (2, 1)
    assert found.preference == pytest.approx(-1 / 3)


def test_the_tests_are_scipys_on_one_number_per_visitor() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.poisson(0.5, 300), rng.poisson(0.8, 300)
    found = preference(np.arange(300), first, second)
    scores = np.sign(second - first)[first + second > 0]
    theirs = stats.ttest_1samp(scores, 0.0)
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    wins = int((scores > 0).sum())
    assert found.sign_p_value == pytest.approx(stats.binomtest(wins, int((scores != 0).sum())).pvalue)


def test_lists_without_a_click_and_ties_prefer_nothing() -> None:
    found = preference(["a", "b", "c"], [0, 2, 1], [0, 2, 1])
    assert (found.visitors, found.preference, found.p_value, found.sign_p_value) == (2, 0.0, 1.0, 1.0)


def test_too_few_visitors_are_named() -> None:
    with pytest.raises(NotEnoughData, match="visitors who clicked: found 1"):
        preference(["a", "a"], [1, 0], [0, 1])
