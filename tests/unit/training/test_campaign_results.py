"""What a campaign caused: known differences, honest intervals, arms that are not as planned."""

import numpy as np
import pytest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from training.attribution import Arm
from training.campaign_results import campaign_result

SPENT = Arm(400, 400.0, 4000.0, 0.0, 0.0, 0.0)
KEPT = Arm(100, 50.0, 500.0, 0.0, 0.0, 0.0)


def test_the_difference_and_its_interval_are_those_of_two_samples() -> None:
    found = campaign_result({"treated": SPENT, "held_out": KEPT}, {"treated": 80, "held_out": 10}, 0.2)
    assert found is not None
    samples = [
        DescrStatsW(np.repeat([1.0, 0.0], [buyers, users - buyers]))
        for buyers, users in ((80, 400), (10, 100))
    ]
    welch = CompareMeans(*samples)
    assert found["conversion_difference"] == pytest.approx(0.1)
    assert (found["conversion_low"], found["conversion_high"]) == pytest.approx(
        welch.tconfint_diff(usevar="unequal")
    )
    assert found["p_value"] == pytest.approx(welch.ttest_ind(usevar="unequal")[1])
    assert found["conversion_always_low"] < found["conversion_low"]
    assert found["conversion_high"] < found["conversion_always_high"]
    assert found["incremental_revenue"] == pytest.approx((1.0 - 0.5) * 400)
    assert found["revenue_low"] < 200 < found["revenue_high"]
    assert found["is_ratio_as_planned"] is True


def test_few_customers_have_no_always_valid_interval_and_none_held_out_no_result() -> None:
    small = Arm(20, 10.0, 50.0, 0.0, 0.0, 0.0)
    found = campaign_result({"treated": SPENT, "held_out": small}, {"treated": 80, "held_out": 2}, None)
    assert found is not None
    assert found["conversion_always_low"] is found["is_ratio_as_planned"] is None
    assert campaign_result({"treated": SPENT}, {"treated": 80}, 0.2) is None
    one = Arm(1, 1.0, 1.0, 0.0, 0.0, 0.0)
    assert campaign_result({"treated": SPENT, "held_out": one}, {"treated": 80, "held_out": 1}, 0.2) is None


def test_arms_that_are_not_as_planned_are_told() -> None:
    found = campaign_result({"treated": SPENT, "held_out": KEPT}, {"treated": 80, "held_out": 10}, 0.5)
    assert found is not None and found["is_ratio_as_planned"] is False


def test_a_campaign_that_does_nothing_seldom_seems_to() -> None:
    draw = np.random.default_rng(1)
    buyers = np.stack([draw.binomial(900, 0.1, 400), draw.binomial(300, 0.1, 400)], axis=1)
    arms = {"treated": Arm(900, 0.0, 0.0, 0.0, 0.0, 0.0), "held_out": Arm(300, 0.0, 0.0, 0.0, 0.0, 0.0)}
    results = [campaign_result(arms, {"treated": int(a), "held_out": int(b)}, 0.25) for a, b in buyers]
    wrong = np.mean([each["p_value"] < 0.05 for each in results if each is not None])
    assert 0.02 < wrong < 0.085
