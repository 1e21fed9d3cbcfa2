"""Segments by stated thresholds."""

import numpy as np
import pytest

from training.errors import InvalidConfig
from training.segments import value_segment
from training.value_config import SegmentConfig


def test_value_segments_follow_expected_spend() -> None:
    found = value_segment([1000.01, 1000.0, 200.0, 199.99, 0.0], np.zeros(5))
    assert list(found) == ["high", "medium", "medium", "low", "low"]


def test_likely_churn_outweighs_value() -> None:
    assert list(value_segment([5000.0, 5000.0, 5000.0], [0.59, 0.6, 0.85])) == ["high", "at_risk", "churned"]


def test_thresholds_come_from_the_configuration() -> None:
    config = SegmentConfig(value_high=50.0, value_low=10.0, at_risk_from=0.2, churned_from=0.3)
    assert list(value_segment([60.0, 60.0, 20.0], [0.1, 0.25, 0.1], config)) == ["high", "at_risk", "medium"]


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"value_low=2000\.0"):
        SegmentConfig(value_low=2000.0)
    with pytest.raises(InvalidConfig, match="at_risk_from"):
        SegmentConfig(at_risk_from=0.9)
