"""Team-draft interleaving: both teams pick their best in turns; visitors are counted, not clicks."""

import numpy as np
import pytest
from scipy import stats

from training.errors import NotEnoughData
from training.experiments.interleaving import FIRST, SECOND, preference, team_draft


def test_each_round_takes_one_of_each_and_each_team_its_best() -> None:
    first, second = [f"a{rank}" for rank in range(10)], [f"b{rank}" for rank in range(10)]
    items, teams = team_draft(first, second, 10, np.random.default_rng(3))
    assert [sorted(teams[place : place + 2]) for place in range(0, 10, 2)] == [[FIRST, SECOND]] * 5
    assert [item for item, team in zip(items, teams, strict=True) if team == FIRST] == first[:5]
    assert [item for item, team in zip(items, teams, strict=True) if team == SECOND] == second[:5]


def test_what_both_want_is_taken_once_and_by_either_alike() -> None:
    rng = np.random.default_rng(7)
    drafts = [team_draft(["a", "b"], ["a", "c"], 3, rng) for _ in range(2_000)]
    assert {tuple(sorted(items)) for items, _ in drafts} == {("a", "b", "c")}
    assert np.mean([teams[0] for _, teams in drafts]) == pytest.approx(0.5, abs=0.04)


def test_a_short_ranking_passes() -> None:
    items, teams = team_draft(["a", "b", "c"], ["a"], 5, np.random.default_rng(1))
    assert sorted(items) == ["a", "b", "c"]
    assert sum(teams) <= 1


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
