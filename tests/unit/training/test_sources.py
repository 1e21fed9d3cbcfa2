"""All sources share these tests; the checkerboard's right answers are known."""

import numpy as np
import pytest

from tests.unit.training.shop import checkerboard
from training.sources.habits import BuyAgainConfig, PopularityConfig, TrendingConfig
from training.sources.history import History, at_instant, history_from_interactions, history_of
from training.sources.latent import AlsSourceConfig, SpectralConfig
from training.sources.linear import (
    EaseConfig,
    GraphFilterConfig,
    ProfileConfig,
    TransitionsConfig,
    content_scorer,
)
from training.sources.people import UserNeighboursConfig
from training.sources.portfolio import SourceConfig
from training.top_items import recommend

SIZE = 20
BOARD = history_from_interactions(checkerboard(SIZE))
COLOURS = tuple("white" if item % 2 else "black" for item in range(SIZE))
PERSONAL: list[SourceConfig] = [
    GraphFilterConfig(),
    GraphFilterConfig("neighbours", 0.5, 0.0, 0.5, ProfileConfig(half_life=30.0)),
    TransitionsConfig(),
    EaseConfig(regularization=1.0),
    SpectralConfig(rank=2),
    AlsSourceConfig(factors=2, regularization=0.1),  # the rank of the board
    UserNeighboursConfig(neighbours=5),
]
ALL = [*PERSONAL, PopularityConfig(), PopularityConfig(30.0), TrendingConfig(), BuyAgainConfig()]
EVERYBODY = np.arange(SIZE, dtype=np.int64)


def names(configs: list[SourceConfig]) -> list[str]:
    return [f"{type(config).__name__}-{config.name}" for config in configs]


@pytest.mark.parametrize("source", PERSONAL, ids=names(PERSONAL))
def test_the_one_item_of_the_own_colour_that_is_left_comes_first(source: SourceConfig) -> None:
    top = recommend(source.fit(BOARD, 0), EVERYBODY, 1, BOARD.taken)
    assert top.positions[:, 0].tolist() == EVERYBODY.tolist()


def test_content_finds_what_reads_alike() -> None:
    scorer = content_scorer(COLOURS, BOARD)
    top = recommend(scorer, EVERYBODY, 1, BOARD.taken)
    assert top.positions[:, 0].tolist() == EVERYBODY.tolist()
    np.testing.assert_allclose(scorer.scores(EVERYBODY[7:8])[0], scorer.scores(EVERYBODY)[7], rtol=1e-5)


def test_without_a_word_content_has_no_opinion() -> None:
    history = history_of((1, 2), "steps", [0], [0], [0])
    assert not content_scorer(("", "-"), history).scores(np.array([0])).any()


@pytest.mark.parametrize("source", ALL, ids=names(ALL))
def test_a_block_of_users_scores_as_each_user_alone(source: SourceConfig) -> None:
    scorer = source.fit(BOARD, 0)
    whole = scorer.scores(EVERYBODY)
    assert whole.shape == (SIZE, SIZE)
    assert whole.dtype == np.float32
    for user in (0, 7, 19):
        single = scorer.scores(np.array([user]))
        np.testing.assert_allclose(single[0], whole[user], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("source", ALL, ids=names(ALL))
def test_the_same_seed_gives_the_same_scores(source: SourceConfig) -> None:
    first, second = (source.fit(BOARD, 3).scores(EVERYBODY) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("source", ALL, ids=names(ALL))
def test_what_happens_after_the_instant_changes_nothing(source: SourceConfig) -> None:
    rng = np.random.default_rng(1)
    users, items, at = rng.integers(0, 8, 200), rng.integers(0, 9, 200), rng.integers(0, 60, 200)
    before = at < 40
    shape = (8, 9)
    known = at_instant(history_of(shape, "days", users[before], items[before], at[before]), 40.0)
    cut = at_instant(history_of(shape, "days", users, items, at), 40.0)
    everybody = np.arange(8)
    np.testing.assert_array_equal(
        source.fit(known, 0).scores(everybody), source.fit(cut, 0).scores(everybody)
    )


def test_transitions_know_which_way_people_go() -> None:
    """Everybody takes 0, then 1, then 2: after 1 comes 2, not 0."""
    users = np.repeat(np.arange(6), 3)
    steps = np.tile(np.arange(3), 6)
    history = history_of((7, 3), "steps", np.r_[users, 6], np.r_[steps, 1], np.r_[steps, 0])
    scores = TransitionsConfig().fit(history, 0).scores(np.array([6]))[0]
    assert scores[2] > scores[0] > 0


def test_buy_again_prefers_what_is_bought_often_and_then_what_is_popular() -> None:
    history = sample_history()
    scores = BuyAgainConfig().fit(history, 0).scores(np.array([0]))[0]
    assert np.argsort(-scores)[:2].tolist() == [1, 0]
    assert scores[3] == -np.inf


def test_a_pair_that_was_taken_just_now_is_less_due_than_one_whose_interval_is_over() -> None:
    users, items = [0] * 6, [0, 1, 0, 1, 0, 1]
    at = [0, 20, 30, 50, 60, 99]
    history = history_of((1, 2), "days", users, items, at, now=np.array([100.0]), end=100.0)
    scores = BuyAgainConfig(due=True, popularity=0.0).fit(history, 0).scores(np.array([0]))[0]
    assert scores[0] > scores[1]


def test_trending_prefers_what_grows() -> None:
    users = np.arange(40)
    items = np.r_[np.zeros(20, int), np.ones(20, int)]
    at = np.r_[np.full(10, 50.0), np.full(10, 99.0), np.full(2, 50.0), np.full(18, 99.0)]
    history = history_of((40, 2), "days", users, items, at)
    scores = TrendingConfig().fit(history, 0).scores(np.array([0]))[0]
    assert scores[1] > scores[0]


def sample_history() -> History:
    rows = [(0, 0, 1), (0, 1, 1), (0, 1, 5), (1, 2, 3), (2, 2, 4)]
    users, items, at = zip(*rows, strict=True)
    return history_of((3, 4), "days", users, items, at)


def test_rows_of_the_same_user_item_and_instant_are_one_and_baskets_count_from_the_last() -> None:
    history = history_of((2, 3), "steps", [0, 0, 0, 1], [2, 1, 1, 0], [5, 9, 9, 1], [1, 2, 3, 1])
    assert history.item.tolist() == [2, 1, 0]
    assert history.step.tolist() == [1, 0, 0]
    assert history.quantity.tolist() == [1, 5, 1]
    assert history.age.tolist() == [1, 0, 0]
    assert history.baskets_of_user.tolist() == [2, 1]
