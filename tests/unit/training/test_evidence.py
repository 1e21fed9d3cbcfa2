"""What is measured of a candidate, on numbers that can be counted by hand."""

import json
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.unit.training.shop import checkerboard
from training import collaborative, evidence
from training.candidates import BlendChoice
from training.collaborative import CollaborativeScorer
from training.config import AlsConfig
from training.evidence import Answers
from training.popularity import PopularityScorer
from training.rolling import config_from
from training.value_config import ChurnConfig, ClvConfig, PurchaseConfig, TreesConfig
from training.value_metrics import spearman

DAY = pd.Timestamp("2026-03-01", tz="UTC")


def rows(**columns: list[float]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    return pd.DataFrame({"user_id": [f"u{n}" for n in range(count)], "cutoff": DAY, **columns})


def test_answers_count_what_is_finite_and_what_differs() -> None:
    assert evidence.answers_of(np.array([0.1, 0.1, 0.2, np.nan, np.inf])) == Answers(5, 3, 2)


def test_a_score_that_depends_on_the_row_order_is_not_the_same_from_files() -> None:
    frame = rows(spend=[1.0, 2.0, 3.0, 4.0])
    assert evidence.readback(lambda f: f["spend"].to_numpy(), frame, np.array([1.0, 2.0, 3.0, 4.0])) == 0.0
    assert evidence.readback(lambda f: np.arange(4.0), frame, np.arange(4.0)) == 1.0


def test_the_past_alone_must_give_the_same_score() -> None:
    frame, past = rows(spend=[1.0, 2.0, 3.0]), rows(spend=[1.0, 2.0, 9.0]).iloc[1:]
    again = evidence.replay(lambda f: f["spend"].to_numpy(), frame, past)
    assert (again.rows, again.differing, again.problem) == (2, 0.5, None)
    assert "label" in str(evidence.replay(lambda f: f["label"].to_numpy(), frame, past).problem)


def test_features_that_miss_the_last_order_are_stale_and_an_order_past_midnight_is_not() -> None:
    frame = rows(recency_days=[5.4, 5.9, 40.0, 3.0])
    orders = frame[["user_id", "cutoff"]].assign(last_order_days=[5.0, 4.0, 2.0, np.nan])
    assert evidence.stale_share(frame, orders) == 0.25


def test_money_is_calibrated_in_all_and_by_decile() -> None:
    truth = np.arange(1.0, 101.0)
    found = evidence.money_calibration(truth, truth * 1.5)
    assert (found.total_ratio, found.decile_error) == pytest.approx((1.5, 0.5))
    turned = evidence.money_calibration(truth, truth[::-1].copy())
    assert turned.total_ratio == pytest.approx(1.0)
    assert turned.decile_error is not None and turned.decile_error > 0.9


def test_newcomers_are_judged_apart_and_too_few_are_not() -> None:
    truth = np.arange(200.0)
    frame = rows(tenure_days=[30.0] * 100 + [300.0] * 100)
    mine = np.concatenate([-truth[:100], truth[100:]])
    found = evidence.newcomers(frame, truth, mine, {"champion": truth}, "spearman", spearman, 1)
    assert found is not None
    assert (found.candidate, found.other, found.rest) == pytest.approx((-1.0, 1.0, 0.0))
    assert found.difference.high < 0.0
    few = frame.assign(tenure_days=300.0)
    assert evidence.newcomers(few, truth, mine, {"champion": truth}, "spearman", spearman, 1) is None


def test_vectors_that_know_their_ids_put_hidden_purchases_first() -> None:
    shop = checkerboard(40)
    users = np.arange(40, dtype=np.int64)
    factors = collaborative.fit(shop, AlsConfig(factors=2, regularization=0.1), 1).factors
    assert evidence.memory(lambda told: CollaborativeScorer(told, factors, trend=False), shop, users) > 0.9


def test_lists_overlap_by_the_items_that_they_share() -> None:
    shop = checkerboard()
    users = np.arange(5, dtype=np.int64)
    same = evidence.list_overlap(PopularityScorer(shop), PopularityScorer(shop), users, "x", True)
    assert same.share == 1.0
    assert evidence.list_answers(PopularityScorer(shop), users).distinct == 1
    assert evidence.top_overlap(np.arange(100.0), -np.arange(100.0), "x", True).share == 0.0


def test_a_neighbour_on_the_machine_for_a_while_does_not_make_a_quick_model_slow() -> None:
    calls = 0

    def score() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.03 if calls <= 5 else 0.001)

    assert evidence.scoring_cost(score, None, 1000).candidate < 0.02


def test_a_slow_model_is_timed_a_few_times_in_turns_with_the_champion() -> None:
    turns: list[str] = []

    def taking(seconds: float, name: str) -> Callable[[], None]:
        return lambda: (turns.append(name), time.sleep(seconds))[1]

    cost = evidence.scoring_cost(taking(0.2, "candidate"), taking(0.01, "champion"), 1000)
    assert turns == ["candidate", "champion"] * 3
    assert cost.champion is not None and 0.2 <= cost.candidate < 20 * cost.champion + 0.2


@pytest.mark.parametrize(
    "config", [ChurnConfig(purchase=PurchaseConfig(trees=TreesConfig(rounds=7))), ClvConfig(coverage=0.9)]
)
def test_a_logged_configuration_is_built_again_or_told_to_be_of_other_code(
    config: ChurnConfig | ClvConfig,
) -> None:
    logged = json.loads(json.dumps(config.to_dict()))
    assert config_from(type(config), logged) == config
    assert config_from(type(config), {**logged, "unheard_of": 1}) is None
    assert config_from(BlendChoice, {"weight": 0.5}) is None
