"""The released recommender in two stages: what it ranks, that it sees no future, that files keep it."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from training import collaborative
from training.config import AlsConfig
from training.errors import BrokenModel
from training.hybrid import (
    HybridConfig,
    HybridScorer,
    below_one,
    fill_places,
    interactions_before,
    share_sources,
    tune_hybrid,
)
from training.identifiers import UNKNOWN, IdMap
from training.interactions import Interactions
from training.plan_files import plan_values, read_plan, write_plan
from training.ranker import RankerConfig
from training.top_items import top_items
from training.two_stage import Plan

ALS = AlsConfig(factors=4, regularization=1.0)
CONFIG = HybridConfig(
    trials=1,
    rank=8,
    als_factors=4,
    earlier_folds=1,
    rankers=1,
    ranker=RankerConfig(rounds=10, min_child_weight=1.0),
)
USERS, ITEMS, DAYS = 120, 30, 120


def shop(last_day: int = DAYS, seed: int = 4) -> Interactions:
    """Two tastes; half of what somebody buys is one of three favourites. Days count from 0."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(USERS):
        favourites = user % 2 + 2 * rng.choice(ITEMS // 2, 3, replace=False)
        for day in sorted(rng.choice(DAYS, 16, replace=False)):
            own = rng.random() < 0.5
            item = rng.choice(favourites) if own else user % 2 + 2 * rng.integers(ITEMS // 2)
            rows.append((user, item, day))
    user, item, day = np.array(sorted(set(rows))).T
    known = day < last_day
    return Interactions(
        users=IdMap.of(f"u{number:03}" for number in range(USERS)),
        items=IdMap.of(f"i{number:03}" for number in range(ITEMS)),
        cutoff=date.fromordinal(730_000 + last_day),
        user=user[known].astype(np.int32),
        item=item[known].astype(np.int32),
        age_days=(last_day - 1 - day[known]).astype(np.float32),
        purchase_count=np.ones(int(known.sum()), np.float32),
        strength=np.full(int(known.sum()), 5.0, np.float32),
    )


@pytest.fixture(scope="module")
def plan() -> Plan:
    found = tune_hybrid(shop(), 20, ALS, CONFIG, 1)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def scorer(plan: Plan) -> HybridScorer:
    interactions = shop()
    return HybridScorer(interactions, collaborative.fit(interactions, ALS, 1).factors, plan, 1)


def test_the_same_data_give_the_same_plan(plan: Plan) -> None:
    again = tune_hybrid(shop(), 20, ALS, CONFIG, 1)
    assert again is not None
    assert plan_values(again) == plan_values(plan)


def test_texts_are_compared_where_there_are_some_and_a_plan_without_them_goes_on(
    tmp_path: Path, plan: Plan
) -> None:
    described = replace(shop(), texts=tuple(f"kind{number % 2}" for number in range(ITEMS)))
    found = tune_hybrid(described, 20, ALS, CONFIG, 1)
    assert found is not None
    assert (found.further[-1], plan.further) == ("content", found.further[:-1])
    write_plan(found, tmp_path)
    loaded = read_plan(tmp_path)
    assert loaded is not None and loaded.further == found.further
    factors = collaborative.fit(described, ALS, 1).factors
    for one in (loaded, plan):  # without texts, content has no opinion
        for known in (described, shop()):
            assert np.isfinite(HybridScorer(known, factors, one, 1).scores(np.arange(5))).any()


def test_tuning_on_a_longer_history_cut_at_an_instant_sees_what_was_known_then(plan: Plan) -> None:
    part = interactions_before(shop(), 30)
    known = shop(DAYS - 30)
    assert part.cutoff == known.cutoff
    assert (part.strengths(30.0) != known.strengths(30.0)).nnz == 0


def test_users_get_what_their_taste_buys_and_what_they_bought_before(scorer: HybridScorer) -> None:
    users = np.arange(USERS)
    top = top_items(scorer.scores(users), 10).positions
    assert (top != UNKNOWN).all()
    assert (top % 2 == users[:, None] % 2).mean() > 0.9
    bought = scorer.interactions.bought.toarray() > 0
    assert bought[users[:, None], top[:, :3]].mean() > 0.8


def test_a_block_scores_as_its_users_do_alone(scorer: HybridScorer) -> None:
    together = scorer.scores(np.array([3, 50, 7]))
    alone = np.concatenate([scorer.scores(np.array([user])) for user in (3, 50, 7)])
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_scores_lie_between_0_and_1_and_each_user_s_best_has_1(scorer: HybridScorer) -> None:
    scores = scorer.scores(np.arange(20))
    finite = np.isfinite(scores)
    assert scores[finite].min() >= 0.0
    np.testing.assert_allclose(np.where(finite, scores, 0.0).max(axis=1), 1.0)


def test_places_of_new_items_are_filled_in_the_order_for_new_items() -> None:
    overall = np.array([[5, 1, 7, 2, UNKNOWN]])
    is_new = np.array([[False, True, False, True, False]])
    fresh = np.array([[2, 1, 9, UNKNOWN, UNKNOWN]])
    assert fill_places(overall, is_new, fresh).tolist() == [[5, 2, 7, 1, UNKNOWN]]


def test_margins_become_scores_in_the_same_order() -> None:
    found = below_one(np.array([[2.0, 1.0, -np.inf]], dtype=np.float32))
    np.testing.assert_allclose(found, [[1.0, np.exp(-1.0), -np.inf]], rtol=1e-6)
    assert not np.isfinite(below_one(np.full((1, 2), -np.inf, np.float32))).any()


def test_a_champion_s_sources_are_kept(plan: Plan) -> None:
    again = tune_hybrid(shop(), 20, ALS, CONFIG, 2, plan)
    assert again is not None
    assert again.sources == plan.sources


def test_too_short_a_history_gives_no_plan() -> None:
    assert tune_hybrid(interactions_before(shop(), DAYS - 40), 20, ALS, CONFIG, 1) is None


def test_a_plan_survives_its_files_and_a_broken_one_is_named(
    plan: Plan, scorer: HybridScorer, tmp_path: Path
) -> None:
    write_plan(plan, tmp_path)
    loaded = read_plan(tmp_path)
    assert loaded is not None
    assert loaded.sources == plan.sources
    assert plan_values(loaded) == plan_values(plan)
    other = HybridScorer(scorer.interactions, scorer.factors, loaded, 1)
    np.testing.assert_array_equal(other.scores(np.arange(30)), scorer.scores(np.arange(30)))
    shared = share_sources(other, scorer)
    assert isinstance(shared, HybridScorer)
    assert shared.fitted.scorers[0] is scorer.fitted.scorers[0]
    np.testing.assert_array_equal(shared.scores(np.arange(30)), scorer.scores(np.arange(30)))
    another = HybridScorer(scorer.interactions, scorer.factors, loaded, 2)
    assert share_sources(another, scorer) is another
    assert read_plan(tmp_path / "nothing") is None
    (tmp_path / "ranker_new_0.ubj").write_bytes(b"nothing")
    with pytest.raises(BrokenModel, match=r"ranker_new_0\.ubj"):
        read_plan(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(BrokenModel, match=r"plan\.json"):
        read_plan(tmp_path)
