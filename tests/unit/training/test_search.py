"""The search on a shop of two tastes: what is tried first, what bounds it, what it hands on."""

import json
from dataclasses import replace

import optuna
import pytest

from tests.unit.training.test_hybrid import ALS, CONFIG, DAYS, shop
from tests.unit.training.test_updates import order
from training.errors import NotEnoughData
from training.hybrid import HybridConfig, interactions_before
from training.search import FIRST_WEIGHTS, OBJECTIVE, Budget, Trial, draw, search
from training.sources.habits import BuyAgainConfig, PopularityConfig
from training.sources.linear import GraphFilterConfig
from training.two_stage import Plan

SOURCES = (GraphFilterConfig(), BuyAgainConfig(), PopularityConfig())
START = Plan(SOURCES, False, 0.5, 20, {"all": order(SOURCES), "new": order(SOURCES)})
SMALL = replace(CONFIG, earlier_folds=0)
SEEN: list[Trial] = []


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return search(shop(), 20, ALS, SMALL, 1, Budget(trials=3), START, SEEN.append)


def test_the_documented_weights_come_first_and_the_present_configuration_next(trials: list[Trial]) -> None:
    by_number = {trial.number: trial for trial in trials}
    assert by_number[0].hybrid == replace(SMALL, blend=FIRST_WEIGHTS)
    assert by_number[1].hybrid == SMALL
    assert by_number[1].als == ALS


def test_the_best_comes_first_and_is_not_worse_than_the_present(trials: list[Trial]) -> None:
    qualities = [trial.metrics[OBJECTIVE] for trial in trials]
    assert qualities == sorted(qualities, reverse=True)
    assert set(trials[0].metrics) >= {"all/single", "all/blend", "all/ranker", "new/blend", OBJECTIVE}


def test_every_trial_is_told_as_it_ends(trials: list[Trial]) -> None:
    assert [trial.number for trial in SEEN] == [0, 1, 2]
    assert trials[0] in SEEN


def test_time_ends_the_search_after_the_trial_that_is_under_way() -> None:
    assert len(search(shop(), 20, ALS, SMALL, 1, Budget(trials=50, seconds=0.0), START)) < 50


def test_a_drawn_configuration_survives_its_json() -> None:
    found = [draw(optuna.create_study().ask(), ALS, SMALL)[1] for _ in range(8)]
    assert [HybridConfig.from_dict(json.loads(json.dumps(one.to_dict()))) for one in found] == found


def test_too_short_a_history_says_how_many_days_are_needed() -> None:
    with pytest.raises(NotEnoughData, match="needed 65"):
        search(interactions_before(shop(), DAYS - 40), 20, ALS, SMALL, 1, Budget(), START)
