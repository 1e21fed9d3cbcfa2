"""Segments by stated thresholds."""

import numpy as np
import pandas as pd
import pytest

from training.errors import InvalidConfig
from training.segments import (
    LOYALTY_TIERS,
    PRICE_TIERS,
    VALUE_SEGMENTS,
    customer_segments,
    loyalty_tier,
    price_tier,
    value_segment,
)
from training.value_config import SegmentConfig


def test_value_segments_follow_expected_spend() -> None:
    found = value_segment([1000.01, 1000.0, 200.0, 199.99, 0.0], np.zeros(5))
    assert list(found) == ["high", "medium", "medium", "low", "low"]


def test_likely_churn_outweighs_value() -> None:
    assert list(value_segment([5000.0, 5000.0, 5000.0], [0.59, 0.6, 0.85])) == ["high", "at_risk", "churned"]


def test_thresholds_come_from_the_configuration() -> None:
    config = SegmentConfig(value_high=50.0, value_low=10.0, at_risk_from=0.2, churned_from=0.3)
    assert list(value_segment([60.0, 60.0, 20.0], [0.1, 0.25, 0.1], config)) == ["high", "at_risk", "medium"]


def test_loyalty_tiers_count_orders_or_money_and_know_newcomers() -> None:
    found = loyalty_tier([10, 1, 5, 2, 2, 0], [0, 9000, 0, 10, 10, 0], [400, 400, 400, 400, 29, np.nan])
    assert list(found) == ["VIP", "VIP", "Premium", "Standard", "New", "New"]


def test_price_tiers_compare_with_the_shops_median() -> None:
    assert list(price_tier([15.0, 10.0, 7.0, np.nan], 10.0)) == ["Premium", "Regular", "Budget", "Regular"]
    assert list(price_tier([15.0], 0.0)) == ["Regular"]


def test_every_customer_gets_one_known_name_of_each_vocabulary() -> None:
    features = pd.DataFrame(
        {
            "unit_count": [1.0, 10.0, 0.0],
            "spend_total": [9.0, 20.0, 0.0],
            "order_count": [1, 12, 1],
            "tenure_days": [3.0, 300.0, 90.0],
        },
        index=[7, 8, 9],
    )
    found = customer_segments(features, [10.0, 2000.0, 0.0], [0.1, 0.1, 0.9])
    assert found.to_dict("list") == {
        "value_segment": ["low", "high", "churned"],
        "loyalty_tier": ["New", "VIP", "Standard"],
        "price_tier": ["Premium", "Budget", "Regular"],
    }
    assert list(found.index) == [7, 8, 9]
    for name, known in (
        ("value_segment", VALUE_SEGMENTS),
        ("loyalty_tier", LOYALTY_TIERS),
        ("price_tier", PRICE_TIERS),
    ):
        assert set(found[name]) <= set(known)


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"value_low=2000\.0"):
        SegmentConfig(value_low=2000.0)
    with pytest.raises(InvalidConfig, match="at_risk_from"):
        SegmentConfig(at_risk_from=0.9)
