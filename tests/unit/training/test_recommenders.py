"""One suite for all recommenders, on checkerboard data with a known right answer."""

import numpy as np
import pytest

from tests.unit.training.shop import checkerboard, interactions
from training.candidates import BlendChoice, blend
from training.collaborative import CollaborativeScorer, fit
from training.config import AlsConfig
from training.identifiers import UNKNOWN
from training.interactions import Interactions
from training.popularity import BuyAgainScorer, CategoryScorer, PopularityScorer
from training.top_items import Scorer, recommend

SMALL = AlsConfig(factors=2, regularization=1.0, iterations=15)
NAMES = [
    "als",
    "als_trend",
    "released",
    "buy_again",
    "popularity",
    "popularity_recent",
    "popularity_by_category",
]


def scorer_of(name: str, data: Interactions) -> Scorer:
    if name in ("als", "als_trend", "released"):
        factors = fit(data, SMALL, seed=3).factors
        if name == "released":
            return blend(data, factors, BlendChoice(0.8, None, 0.2))
        return CollaborativeScorer(data, factors, trend=name == "als_trend")
    if name == "buy_again":
        return BuyAgainScorer(data)
    if name == "popularity_by_category":
        return CategoryScorer(data, {item: str(int(item[1:]) % 2) for item in data.items.ids})
    return PopularityScorer(data, 30 if name == "popularity_recent" else None)


@pytest.fixture(scope="module")
def data() -> Interactions:
    return checkerboard()


@pytest.fixture(scope="module", params=NAMES)
def scorer(request: pytest.FixtureRequest, data: Interactions) -> Scorer:
    return scorer_of(request.param, data)


def everybody(data: Interactions) -> np.ndarray:
    return np.arange(len(data.users))


def test_a_list_has_at_most_k_items_and_no_item_twice(scorer: Scorer, data: Interactions) -> None:
    for k in (1, 5, 20, 100):
        top = recommend(scorer, everybody(data), k)
        assert top.positions.shape[1] <= k
        for row in top.positions:
            known = row[row != UNKNOWN]
            assert len(set(known)) == len(known)


def test_what_was_bought_is_left_out_when_excluded_even_if_little_remains(
    scorer: Scorer, data: Interactions
) -> None:
    top = recommend(scorer, everybody(data), 20, excluded=data.bought)
    for user, row in enumerate(top.positions):
        bought = set(data.bought[user].indices)
        assert not bought & set(row[row != UNKNOWN])
        assert len(row[row != UNKNOWN]) <= 20 - len(bought)


def test_a_user_with_nothing_left_gets_an_empty_list_not_padding(scorer: Scorer, data: Interactions) -> None:
    everything = data.bought.copy()
    everything = everything + everything[::-1][:, ::-1] + 1.0 * np.ones(everything.shape)
    top = recommend(scorer, everybody(data), 5, excluded=_csr(everything))
    assert (top.positions == UNKNOWN).all()
    assert np.isneginf(top.scores).all()


def test_scores_fall_along_the_list(scorer: Scorer, data: Interactions) -> None:
    scores = recommend(scorer, everybody(data), 20).scores
    assert (np.diff(np.where(np.isneginf(scores), -1e9, scores), axis=1) <= 0).all()


def test_a_batch_equals_single_answers(scorer: Scorer, data: Interactions) -> None:
    batch = scorer.scores(everybody(data))
    singles = np.vstack([scorer.scores(np.array([user])) for user in everybody(data)])
    np.testing.assert_allclose(singles, batch, rtol=1e-5, atol=1e-6)


def test_scoring_twice_gives_the_same_array_and_not_a_shared_one(scorer: Scorer, data: Interactions) -> None:
    first = scorer.scores(everybody(data))
    kept = first.copy()
    first[:] = 0.0
    np.testing.assert_array_equal(scorer.scores(everybody(data)), kept)


@pytest.mark.parametrize("name", ["als", "als_trend", "released"])
def test_the_missing_field_of_the_checkerboard_is_the_first_new_item(name: str, data: Interactions) -> None:
    top = recommend(scorer_of(name, data), everybody(data), 1, excluded=data.bought)
    assert top.positions[:, 0].tolist() == everybody(data).tolist()


@pytest.mark.parametrize("name", ["als", "als_trend", "released", "buy_again", "popularity_by_category"])
def test_personal_lists_start_with_the_own_colour(name: str, data: Interactions) -> None:
    top = recommend(scorer_of(name, data), everybody(data), 9)
    assert (top.positions % 2 == everybody(data)[:, None] % 2).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_rows_changes_nothing(name: str) -> None:
    rows = [("a", "i1", 3), ("a", "i2", 1), ("b", "i2", 2), ("b", "i3", 9), ("c", "i1", 40), ("c", "i3", 5)]
    straight, reverse = interactions(rows), interactions(rows[::-1])
    users = np.arange(3)
    np.testing.assert_allclose(
        scorer_of(name, reverse).scores(users), scorer_of(name, straight).scores(users), rtol=1e-4, atol=1e-5
    )


def _csr(table: np.ndarray):  # type: ignore[no-untyped-def]
    from scipy import sparse

    return sparse.csr_matrix(np.asarray(table))
