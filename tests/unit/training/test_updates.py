"""One more day of a shop, scored by a model that was fitted before it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.training.test_hybrid import ALS, DAYS, shop
from training import collaborative
from training.hybrid import HybridScorer
from training.identifiers import IdMap
from training.interactions import Interactions
from training.sources.habits import BuyAgainConfig, PopularityConfig, TrendingConfig
from training.sources.latent import AlsSourceConfig, SpectralConfig
from training.sources.linear import EaseConfig, GraphFilterConfig, TransitionsConfig
from training.sources.people import UserNeighboursConfig
from training.sources.portfolio import SourceConfig
from training.two_stage import Order, Plan
from training.updates import fingerprints, known_before, of_items, of_users

SINCE = 2
SOURCES: tuple[SourceConfig, ...] = (
    PopularityConfig(),
    TrendingConfig(),
    GraphFilterConfig(),
    SpectralConfig(rank=8),
    TransitionsConfig(),
    BuyAgainConfig(half_life=30.0, due=True),
    UserNeighboursConfig(neighbours=10, own=0.5),
    AlsSourceConfig(factors=4, half_life=60.0, fold_in_step_decay=0.9),
    EaseConfig(),
)


def order(sources: Sequence[SourceConfig]) -> Order:
    """All sources, added."""
    return Order("blend", sources[0].name, {one.name: 1.0 for one in sources}, 150, None, {})


def today() -> Interactions:
    """The shop with an item and a user that the last day brought."""
    known = shop()
    late = {"user": known.user, "item": known.item, "age_days": known.age_days}
    return replace(
        known,
        users=IdMap((*known.users.ids, "u999")),
        items=IdMap((*known.items.ids, "i999")),
        user=np.r_[late["user"], 120, 120, 5].astype(np.int32),
        item=np.r_[late["item"], 3, 30, 30].astype(np.int32),
        age_days=np.r_[late["age_days"], 0, 0, 0].astype(np.float32),
        purchase_count=np.ones(len(known) + 3, np.float32),
        strength=np.full(len(known) + 3, 5.0, np.float32),
    )


@pytest.fixture(scope="module")
def scorer() -> HybridScorer:
    known = known_before(today(), SINCE)
    plan = Plan(SOURCES, False, 0.5, 20, {"all": order(SOURCES), "new": order(SOURCES)})
    return HybridScorer(known, collaborative.fit(known, ALS, 1).factors, plan, 1)


def rescored(scorer: HybridScorer, users: np.ndarray) -> np.ndarray:
    part = of_items(of_users(today(), users, SINCE), scorer.interactions.items)
    return scorer.for_users(part).scores(np.arange(len(users)))


def changed() -> np.ndarray:
    now, before = today(), known_before(today(), SINCE)
    old = dict(zip(before.users.ids, fingerprints(before).tolist(), strict=True))
    marks = fingerprints(now).tolist()
    return np.array([old.get(user) != mark for user, mark in zip(now.users.ids, marks, strict=True)])


def test_what_was_known_before_is_what_reading_then_would_have_given() -> None:
    known, then = known_before(today(), SINCE), shop(DAYS - SINCE)
    assert known.users == then.users
    assert known.items == then.items
    assert known.cutoff == then.cutoff
    assert (known.strengths(30.0) != then.strengths(30.0)).nnz == 0


def test_only_who_did_something_since_has_another_fingerprint() -> None:
    now = today()
    acted = np.zeros(len(now.users), dtype=bool)
    acted[now.user[now.age_days < SINCE]] = True
    assert acted[[5, 120]].all()
    assert not acted.all()
    np.testing.assert_array_equal(changed(), acted)


def test_a_changed_row_changes_its_user_s_fingerprint_only() -> None:
    now = today()
    other = replace(now, purchase_count=np.r_[2.0, now.purchase_count[1:]].astype(np.float32))
    assert np.flatnonzero(fingerprints(now) != fingerprints(other)).tolist() == [now.user[0]]


def test_scoring_everybody_again_changes_nothing_for_whom_nothing_changed(scorer: HybridScorer) -> None:
    everybody = rescored(scorer, np.arange(121))
    same = np.flatnonzero(~changed())
    kept = scorer.scores(scorer.interactions.users.positions(today().users.external(same)))
    np.testing.assert_allclose(everybody[same], kept, rtol=1e-4, atol=1e-6)


def test_scoring_the_changed_alone_gives_what_scoring_everybody_again_gives(scorer: HybridScorer) -> None:
    everybody, mine = rescored(scorer, np.arange(121)), np.flatnonzero(changed())
    np.testing.assert_allclose(rescored(scorer, mine), everybody[mine], rtol=1e-4, atol=1e-6)


def test_what_a_user_did_on_the_last_day_counts_and_new_users_get_lists(scorer: HybridScorer) -> None:
    newcomer = rescored(scorer, np.array([120]))[0]
    assert np.isfinite(newcomer).any()
    assert newcomer[3] == newcomer[np.isfinite(newcomer)].max()
