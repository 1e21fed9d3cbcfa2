from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from training.candidate_table import SweepConfig, sweep
from training.errors import NotEnoughData
from training.holdouts import Holdout, by_time, last_basket, last_share, random_pairs
from training.pair_features import PairFeatures
from training.ranker import RankerConfig, fit_ranker, training_rows
from training.sources.habits import BuyAgainConfig, PopularityConfig
from training.sources.history import History, history_of
from training.sources.linear import GraphFilterConfig
from training.sources.portfolio import PortfolioConfig
from training.two_stage import TwoStageConfig, fit, thin, tune

QUICK = TwoStageConfig(
    portfolio=PortfolioConfig(seconds=0.0, als_factors=8, rank=8),
    ranker=RankerConfig(rounds=10, min_child_weight=0.1),
    per_source=5,
    kept=10,
)


def world(repeating: bool, users: int = 120, items: int = 24, baskets: int = 6) -> History:
    """Two tastes; repeating users take four favourites again and again, others never the same twice."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(users):
        own = np.flatnonzero(np.arange(items) % 2 == user % 2)
        liked = rng.permutation(own)
        for basket in range(baskets):
            chosen = rng.choice(liked[:4], 2, replace=False) if repeating else [liked[basket]]
            rows += [(user, item, basket * 10 + user % 7) for item in chosen]
    user, item, at = zip(*rows, strict=True)
    return history_of((users, items), "days", user, item, at)


def test_by_time_knows_nothing_of_the_labels_window_and_labels_nothing_before_it() -> None:
    whole = history_of((2, 3), "days", [0, 0, 0, 1], [0, 1, 2, 0], [0, 10, 20, 12])
    fold = by_time(whole, 10.0, 10.0)
    assert fold.history.at.tolist() == [0]
    assert fold.users.tolist() == [0]
    assert fold.labels.toarray().tolist() == [[0, 1, 0]]
    assert fold.history.age.tolist() == [10]


def test_the_last_basket_is_held_out_whole_and_users_with_one_basket_are_not_asked() -> None:
    whole = history_of((2, 4), "steps", [0, 0, 0, 1], [0, 1, 2, 3], [1, 2, 2, 1])
    fold = last_basket(whole)
    assert fold.users.tolist() == [0]
    assert fold.labels.indices.tolist() == [1, 2]
    assert fold.history.item.tolist() == [0, 3]
    assert fold.history.step.tolist() == [0, 0]


def test_a_last_share_leaves_every_user_a_basket() -> None:
    whole = history_of((2, 10), "steps", [0] * 10 + [1] * 2, [*range(10), 0, 1], [*range(10), 0, 1])
    fold = last_share(whole, 0.3)
    assert fold.label_count.tolist() == [3, 1]
    assert fold.labels[0].indices.tolist() == [7, 8, 9]


def test_random_pairs_hold_out_the_share_and_leave_every_user_one() -> None:
    users, items = np.repeat(np.arange(200), 10), np.tile(np.arange(10), 200)
    whole = history_of((201, 10), "none", np.r_[users, 200], np.r_[items, 0])
    fold = random_pairs(whole, 0.25, 1)
    assert 200 not in fold.users
    assert 0.22 < fold.label_count.sum() / 2000 < 0.28
    assert fold.history.taken[fold.users].multiply(fold.labels).nnz == 0
    assert len(fold.history) + fold.label_count.sum() == len(whole)


def test_no_known_user_with_labels_is_an_error_that_says_what_to_do() -> None:
    whole = history_of((2, 2), "days", [0, 1], [0, 1], [0, 10])
    with pytest.raises(NotEnoughData, match="earlier cut-off"):
        by_time(whole, 5.0, 10.0)


@pytest.mark.parametrize("repeating", [True, False])
def test_features_of_a_pair_are_those_of_the_pair_alone_whatever_the_block(repeating: bool) -> None:
    features = PairFeatures(world(repeating))
    users, items = np.array([3, 0, 7, 3]), np.array([1, 2, 9, 0])
    whole = np.empty((4, len(features.names)), dtype=np.float32)
    features.write(whole, users, items)
    for row in range(4):
        single = np.empty((1, len(features.names)), dtype=np.float32)
        features.write(single, users[row : row + 1], items[row : row + 1])
        np.testing.assert_array_equal(single[0], whole[row])


def test_own_features_count_days_and_intervals() -> None:
    at = [0, 10, 30, 30]
    history = history_of((1, 3), "days", [0] * 4, [0, 0, 0, 1], at, now=np.array([40.0]), end=40.0)
    features = PairFeatures(history)
    found = np.empty((2, len(features.names)), dtype=np.float32)
    features.write(found, np.array([0, 0]), np.array([0, 2]))
    own = dict(zip(features.names, found[0].tolist(), strict=True))
    assert own["pair_count"] == 3
    assert own["pair_age"] == 10
    assert own["pair_first_age"] == 40
    assert own["pair_gap"] == 15
    assert own["pair_overdue"] == pytest.approx(10 / 15)
    assert own["user_baskets"] == 3
    never = dict(zip(features.names, found[1].tolist(), strict=True))
    assert never["pair_count"] == 0
    assert np.isnan(never["pair_age"])


def test_candidates_are_what_the_sources_propose_and_never_twice() -> None:
    history = world(repeating=True)
    scorers = [PopularityConfig().fit(history, 0), BuyAgainConfig().fit(history, 0)]
    users = np.array([4, 9, 30])
    found = sweep(scorers, PairFeatures(history), users, SweepConfig(per_source=3, depth=5))
    table = found.table
    pairs = list(zip(table.row.tolist(), table.item.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert set(found.lists["buy_again"][1, :3]) <= set(table.item[table.row == 1].tolist())
    assert table.taken.any()
    assert not table.taken.all()
    strict = sweep(scorers, PairFeatures(history), users, SweepConfig(per_source=3, exclude_taken=True))
    assert not strict.table.taken.any()


def test_a_sweep_of_one_user_equals_the_users_part_of_a_sweep_of_all() -> None:
    history = world(repeating=True)
    scorers = [GraphFilterConfig().fit(history, 0), BuyAgainConfig().fit(history, 0)]
    config = SweepConfig(per_source=4, depth=6)
    together = sweep(scorers, PairFeatures(history), np.arange(10), config).table
    alone = sweep(scorers, PairFeatures(history), np.array([6]), config).table
    mine = together.row == 6
    assert together.item[mine].tolist() == alone.item.tolist()
    np.testing.assert_allclose(together.features[mine], alone.features, rtol=1e-5)


def test_a_source_s_lists_hold_its_best_items_taken_or_not_and_its_best_new_ones() -> None:
    history = world(repeating=True)
    users = np.arange(40)
    taken = history.taken[users].toarray() > 0
    for scorer in (BuyAgainConfig().fit(history, 0), GraphFilterConfig().fit(history, 0)):
        found = sweep([scorer], PairFeatures(history), users, SweepConfig(per_source=4, depth=6))
        scores = scorer.scores(users)
        for lists, allowed in ((found.lists, scores), (found.new_lists, np.where(taken, -np.inf, scores))):
            shown = np.take_along_axis(allowed, lists[scorer.name], axis=1)
            np.testing.assert_array_equal(shown, -np.sort(-allowed, axis=1)[:, :6])


def test_thinning_keeps_the_best_of_each_user_by_the_blend() -> None:
    history = world(repeating=True)
    scorers = [PopularityConfig().fit(history, 0), BuyAgainConfig().fit(history, 0)]
    table = sweep(scorers, PairFeatures(history), np.arange(5), SweepConfig(per_source=6)).table
    thinned = thin(table, {"buy_again": 1.0}, 3)
    assert np.diff(thinned.starts).tolist() == [3] * 5
    lost = table.features[table.row == 2][:, 1]
    assert thinned.features[thinned.row == 2][:, 1].min() >= np.sort(lost)[-3]
    assert thinned.names[-1] == "blend"


def test_a_ranker_learns_from_hits_and_drawn_others_only() -> None:
    history = world(repeating=True)
    fold = last_basket(history)
    scorers = [BuyAgainConfig().fit(fold.history, 0)]
    table = sweep(scorers, PairFeatures(fold.history), fold.users, SweepConfig(per_source=12)).table
    relevant = table.relevance(fold.labels)
    rows = training_rows(table, relevant, RankerConfig(negatives=2), 0)
    owners = table.row[rows]
    assert (np.bincount(owners[~relevant[rows]]) <= 2).all()
    assert relevant[rows].sum() == relevant.sum()
    with pytest.raises(NotEnoughData, match="users with a hit"):
        fit_ranker(table, np.zeros(len(table), dtype=bool), RankerConfig(), 0)


def test_where_people_repeat_taken_items_are_kept_and_come_first() -> None:
    whole = world(repeating=True)
    fold = last_basket(whole)
    plan = tune([last_basket(fold.history)], QUICK, [0, 1])
    assert not plan.exclude_taken
    assert set(plan.orders) == {"all", "new"}
    found = fit(plan, fold.history, 0).sweep(fold.users)
    items, _ = plan.rank(found.table, "all", 4)
    assert share_of_hits(items, fold) > 0.9
    fresh, _ = plan.rank(found.table, "new", 4)
    taken = fold.history.taken[fold.users].toarray() > 0
    shown = np.where(fresh >= 0, fresh, 0)
    assert not (np.take_along_axis(taken, shown, axis=1) & (fresh >= 0)).any()


def test_where_nobody_repeats_taken_items_are_left_out() -> None:
    whole = world(repeating=False)
    fold = last_basket(whole)
    plan = tune([last_basket(fold.history)], QUICK, [0])
    assert plan.exclude_taken
    assert set(plan.orders) == {"all"}
    items, scores = plan.rank(fit(plan, fold.history, 0).sweep(fold.users).table, "all", 7)
    assert share_of_hits(items, fold) > 0.95
    assert (np.diff(scores, axis=1) <= 0).all()


def share_of_hits(items: np.ndarray, fold: Holdout) -> float:
    labels = sparse.csr_matrix(fold.labels).toarray() > 0
    hits = np.take_along_axis(labels, np.maximum(items, 0), axis=1) & (items >= 0)
    return float(hits.sum() / labels.sum())


def test_a_plan_keeps_the_sources_that_a_blend_needs_and_one_for_everybody() -> None:
    fold = by_time(world(repeating=True), 50.0, 10.0)
    whole = tune([last_basket(fold.history)], QUICK, [0])
    lean = tune([last_basket(fold.history)], replace(QUICK, least_gain=10.0), [0])
    names = {source.name for source in lean.sources}
    singles = {order.single for order in lean.orders.values()}
    assert singles <= names
    assert any(isinstance(source, PopularityConfig) for source in lean.sources)
    assert len(names) <= len(singles) + 1 < len(whole.sources)


def test_the_ranker_is_the_trees_of_both_halves_for_each_seed() -> None:
    fold = by_time(world(repeating=True), 50.0, 10.0)
    plan = tune([last_basket(fold.history)], QUICK, [0, 1])
    rankers = [order.ranker for order in plan.orders.values() if order.ranker is not None]
    assert [len(ranker.boosters) for ranker in rankers] == [4] * len(rankers)
    assert rankers
