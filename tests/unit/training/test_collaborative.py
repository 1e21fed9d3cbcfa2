import numpy as np
import pytest
from scipy import sparse

from tests.unit.training.shop import checkerboard, interactions
from training.collaborative import CollaborativeScorer, fit, item_trend, vectors
from training.config import AlsConfig
from training.errors import NotEnoughData
from training.factors import ItemFactors

SMALL = AlsConfig(factors=4, regularization=0.5, iterations=10)


def test_the_same_seed_gives_the_same_factors_and_another_seed_others() -> None:
    first, second, other = (fit(checkerboard(), SMALL, seed).factors.vectors for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("weighting", ["binary", "log", "linear"])
def test_fold_in_with_numpy_alone_equals_the_librarys_solver(weighting: str) -> None:
    config = AlsConfig(factors=4, regularization=0.5, weighting=weighting)  # type: ignore[arg-type]
    factors = fit(checkerboard(), config, 1).factors
    history = sparse.csr_matrix(np.array([[0.0, 5.0, 0.0, 2.5] + [0.0] * 16, [0.0] * 20], dtype=np.float32))
    solved = vectors(factors, history)
    np.testing.assert_allclose(factors.fold_in([1, 3], [5.0, 2.5]), solved[0], rtol=1e-3, atol=1e-5)
    assert not solved[1].any()


def test_fold_in_solves_the_published_normal_equations() -> None:
    items = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=np.float32)
    factors = ItemFactors(("a", "b", "c"), items, np.ones(3, dtype=np.float32), 0.5, 2.0, "linear")
    confidence = np.diag([1.0, 2.0 * 3.0, 1.0])
    preference = np.array([0.0, 1.0, 0.0])
    expected = np.linalg.solve(
        items.T @ confidence @ items + 0.5 * np.eye(2), items.T @ confidence @ preference
    )
    np.testing.assert_allclose(factors.fold_in([1], [3.0]), expected, rtol=1e-5)


def test_a_history_of_unknown_items_or_none_scores_zero_everywhere() -> None:
    factors = fit(checkerboard(), SMALL, 1).factors
    assert not factors.score_history(["never seen"], [5.0]).any()
    assert not factors.score_history([], []).any()


def test_a_repeated_item_of_a_history_adds_up() -> None:
    factors = fit(checkerboard(), SMALL, 1).factors
    np.testing.assert_allclose(
        factors.score_history(["i01", "i01"], [2.0, 3.0]), factors.score_history(["i01"], [5.0]), rtol=1e-5
    )


def test_a_user_unknown_at_training_is_answered_from_the_history() -> None:
    factors = fit(checkerboard(), SMALL, 1).factors
    scores = factors.score_history(["i01", "i03", "i05"], [5.0, 5.0, 5.0])
    odd = np.arange(len(scores)) % 2 == 1
    assert scores[odd].min() > scores[~odd].max()


def test_items_that_the_model_does_not_know_are_not_recommendable() -> None:
    factors = fit(checkerboard(), SMALL, 1).factors
    later = interactions([("new user", "i01", 1), ("new user", "brand new", 1), ("other", "brand new", 1)])
    scorer = CollaborativeScorer(later, factors)
    scores = scorer.scores(later.users.positions(["new user", "other"]))
    assert np.isneginf(scores[0, later.items.position["brand new"]])
    assert np.isfinite(scores[0, later.items.position["i01"]])
    assert np.isneginf(scores[1]).all()


def test_an_item_that_sells_better_than_before_has_a_trend_above_one() -> None:
    rows = [(f"u{user}", "rising", 2) for user in range(6)] + [
        (f"u{user}", "fading", 80) for user in range(6)
    ]
    data = interactions(rows)
    trend = item_trend(data, AlsConfig(trend_exponent=0.5))
    assert trend[data.items.position["rising"]] > 1.0 > trend[data.items.position["fading"]]
    assert (item_trend(data, AlsConfig(trend_exponent=0.0)) == 1.0).all()


def test_one_user_is_too_few_to_fit() -> None:
    with pytest.raises(NotEnoughData, match="land more days"):
        fit(interactions([("only", "a", 1), ("only", "b", 1)]), SMALL, 1)
