"""Which customers get which treatment: the largest expected incremental profit within budget and caps."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NOTHING = -1


def choose_treatments(
    expected_incremental_profit: FloatArray,
    cost: FloatArray,
    budget: float,
    contacts_left: IntArray | None = None,
) -> IntArray:
    """One treatment for each customer, by column, or `NOTHING`.

    `expected_incremental_profit` (customers x treatments) is what treating adds, all costs paid; `cost` (the
    same shape, or one per treatment) is what counts against `budget`. `contacts_left` says how often each
    customer may still be contacted; who may not gets nothing.

    A multiple-choice knapsack by greedy efficiency (Sinha & Zoltners 1979): of each customer's options those
    on the upper hull of profit over cost remain; steps along the hulls are taken, the best profit per cost
    first, while the budget lasts. It misses at most the profit of the first step that did not fit.
    """
    profit = np.asarray(expected_incremental_profit, dtype=np.float64)
    if profit.ndim != 2:
        raise ValueError(f"expected_incremental_profit has {profit.ndim} dimensions; give one row a customer")
    costs = np.broadcast_to(np.asarray(cost, dtype=np.float64), profit.shape)
    if (costs < 0.0).any() or budget < 0.0:
        raise ValueError("cost and budget are 0 or more; put what a treatment earns into the profit")
    allowed = np.ones(len(profit), dtype=bool) if contacts_left is None else np.asarray(contacts_left) > 0
    steps = [
        step
        for customer in np.flatnonzero(allowed & (profit > 0.0).any(axis=1))
        for step in _hull(int(customer), profit[customer], costs[customer])
    ]
    chosen = np.full(len(profit), NOTHING, dtype=np.int64)
    paid = np.zeros(len(profit))
    left = float(budget)
    for _, customer, treatment in sorted(steps, key=lambda step: (-step[0], step[1])):
        # Where an earlier step of theirs did not fit, the whole price is to be paid, not the difference.
        price = float(costs[customer, treatment] - paid[customer])
        if price <= left:
            chosen[customer], paid[customer] = treatment, costs[customer, treatment]
            left -= price
    return chosen


def _hull(customer: int, profit: FloatArray, cost: FloatArray) -> list[tuple[float, int, int]]:
    """(profit per cost, customer, treatment) of each step along the upper hull, from doing nothing on."""
    kept: list[tuple[float, float, int]] = [(0.0, 0.0, NOTHING)]
    for treatment in np.lexsort((-profit, cost)):
        point = (float(cost[treatment]), float(profit[treatment]), int(treatment))
        if point[1] <= kept[-1][1]:
            continue
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) <= _slope(kept[-1], point):
            kept.pop()
        kept.append(point)
    return [
        (_slope(before, after), customer, after[2]) for before, after in zip(kept, kept[1:], strict=False)
    ]


def _slope(before: tuple[float, float, int], after: tuple[float, float, int]) -> float:
    rise, run = after[1] - before[1], after[0] - before[0]
    return float("inf") if run <= 0.0 else rise / run
