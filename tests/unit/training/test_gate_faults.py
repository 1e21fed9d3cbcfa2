"""Ten faults planted in models that are really trained, on customers and a shop whose truth is known."""

import numpy as np
import pytest

from benchmarks.gate import FAULTS, GOOD, Customers, Fault, is_right
from tests.unit.training.customers import cutoff, frame
from tests.unit.training.shop import interactions
from training.config import GateConfig
from training.interactions import Interactions
from training.splits import Fold
from training.value_config import ChurnConfig, PurchaseConfig, TreesConfig

CONFIG = ChurnConfig(
    purchase=PurchaseConfig(trees=TreesConfig(rounds=20, ensemble=2, learning_rate=0.2, max_depth=3))
)
# Trees of so few customers are small and quick: the floors below which nobody asks are lower, too.
GATE = GateConfig(size_floor_megabytes=0.7, seconds_floor=0.001)


@pytest.fixture(scope="module")
def customers() -> Customers:
    """Four cut-offs to learn from and one to be judged at; a sixth of the customers came lately."""
    data = frame([0.0, 0.2, -0.2, 0.1, 0.0], customers=1500, seed=4)
    lately = np.arange(len(data)) % 6 == 0
    data.loc[lately, "tenure_days"] = data.loc[lately, "recency_days"] + 20.0
    fold = Fold(cutoff(4), tuple(cutoff(number) for number in range(3)), 60)
    last = data[data["cutoff"] == cutoff(4)].reset_index(drop=True)
    orders = last[["user_id", "cutoff"]].assign(last_order_days=np.floor(last["recency_days"]))
    past = last.drop(columns=["orders_next", "spend_next"])
    return Customers(data, fold, past, orders, CONFIG, GATE)


@pytest.fixture(scope="module")
def shop() -> Interactions:
    """Four tastes of fifteen items; a customer of one taste buys ten of them."""
    draw = np.random.default_rng(2)
    return interactions(
        [
            (f"u{user:03}", f"i{user % 4 + 4 * item:02}", 1 + user % 7)
            for user in range(200)
            for item in draw.choice(15, 10, replace=False)
        ]
    )


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_refused_with_its_reason(
    fault: Fault, customers: Customers, shop: Interactions
) -> None:
    decision = fault.plant(customers, shop)
    assert not decision.promoted
    assert is_right(fault, decision), decision.reasons


@pytest.mark.parametrize("fault", GOOD, ids=lambda fault: fault.name)
def test_a_good_model_passes(fault: Fault, customers: Customers, shop: Interactions) -> None:
    decision = fault.plant(customers, shop)
    assert decision.promoted, decision.reasons


def test_ten_faults_are_planted() -> None:
    assert len({fault.name for fault in FAULTS}) == len({fault.reason for fault in FAULTS}) == 10
