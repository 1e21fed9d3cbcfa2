"""Choosing treatments: never beyond budget and caps, and as good as trying everything, but for one step."""

from itertools import product

import numpy as np
import pytest

from training.treatments import NOTHING, choose_treatments


def best_by_trying_all(profit: np.ndarray, cost: np.ndarray, budget: float) -> float:  # type: ignore[type-arg]
    customers, treatments = profit.shape
    totals = []
    for choice in product(range(-1, treatments), repeat=customers):
        taken = [(row, column) for row, column in enumerate(choice) if column >= 0]
        if sum(cost[each] for each in taken) <= budget:
            totals.append(sum(profit[each] for each in taken))
    return float(max(totals))


def earned(chosen: np.ndarray, table: np.ndarray) -> float:  # type: ignore[type-arg]
    return float(sum(table[row, column] for row, column in enumerate(chosen) if column != NOTHING))


@pytest.mark.parametrize("seed", range(25))
def test_the_choice_misses_at_most_one_treatment_of_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    profit, cost = rng.normal(1.0, 2.0, (5, 3)), rng.uniform(0.2, 2.0, (5, 3))
    budget = float(rng.uniform(1.0, 6.0))
    chosen = choose_treatments(profit, cost, budget)
    assert earned(chosen, cost) <= budget + 1e-9
    best = best_by_trying_all(profit, cost, budget)
    assert earned(chosen, profit) <= best + 1e-9
    assert earned(chosen, profit) >= best - profit.max()


@pytest.mark.parametrize("seed", range(10))
def test_with_budget_enough_everybody_gets_what_suits_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    profit = rng.normal(0.0, 1.0, (50, 4))
    chosen = choose_treatments(profit, rng.uniform(0.1, 1.0, (50, 4)), budget=1000.0)
    assert earned(chosen, profit) == pytest.approx(np.maximum(profit.max(axis=1), 0.0).sum())


def test_equal_costs_go_to_the_largest_profits() -> None:
    chosen = choose_treatments(np.array([[1.0], [3.0], [2.0]]), np.array([1.0]), budget=2.0)
    assert chosen.tolist() == [NOTHING, 0, 0]


def test_a_treatment_that_loses_money_is_given_to_nobody() -> None:
    assert (
        choose_treatments(np.array([[-1.0], [0.0]]), np.array([0.0]), budget=10.0).tolist() == [NOTHING] * 2
    )


def test_who_was_contacted_enough_is_left_alone() -> None:
    chosen = choose_treatments(np.ones((3, 1)), np.array([1.0]), 10.0, contacts_left=np.array([1, 0, 2]))
    assert chosen.tolist() == [0, NOTHING, 0]


def test_the_same_question_has_the_same_answer() -> None:
    profit = np.ones((10, 2))
    first, second = (choose_treatments(profit, np.array([1.0, 1.0]), 4.0) for _ in range(2))
    assert first.tolist() == second.tolist()
    assert (first != NOTHING).sum() == 4


def test_a_negative_cost_is_refused() -> None:
    with pytest.raises(ValueError, match="into the profit"):
        choose_treatments(np.ones((1, 1)), np.array([-1.0]), 1.0)
