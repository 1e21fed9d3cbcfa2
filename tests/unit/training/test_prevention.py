"""The retention list puts first whom it pays to keep."""

import pandas as pd
import pytest

from training.errors import InvalidConfig
from training.prevention import audience, expected_saving, retention_list
from training.value_config import RetentionConfig

CONFIG = RetentionConfig(save_rate=0.2, cost=2.0, margin_share=0.5)


def test_the_saving_is_what_the_action_keeps_less_its_cost() -> None:
    found = expected_saving([0.5], [50.0], [0.5], CONFIG)
    assert found == pytest.approx([0.5 * 0.2 * 100.0 * 0.5 - 2.0])


def test_a_measured_save_rate_takes_the_place_of_the_assumed_one() -> None:
    found = expected_saving([0.5, 0.5], [50.0, 50.0], [0.5, 0.5], CONFIG, save_rate=[0.0, 0.4])
    assert found == pytest.approx([-2.0, 8.0])


def test_who_leaves_for_certain_but_spends_little_is_not_first() -> None:
    customers = pd.DataFrame(
        {
            "user_id": ["poor leaver", "rich waverer", "loyal", "nobody"],
            "audience": ["at_risk", "at_risk", "loyal", ""],
            "churn_probability": [0.95, 0.6, 0.1, 0.4],
            "clv_90d": [1.0, 400.0, 900.0, 20.0],
        }
    )
    saving = expected_saving(
        customers["churn_probability"], customers["clv_90d"], 1.0 - customers["churn_probability"], CONFIG
    )
    found = retention_list(customers.assign(expected_saving=saving))
    assert found[["rank", "user_id", "audience"]].to_numpy().tolist() == [
        [1, "rich waverer", "at_risk"],
        [2, "loyal", "loyal"],
    ]
    assert (found["expected_saving"] > 0.0).all()


def test_the_lost_are_won_back_the_wavering_kept_and_the_loyal_thanked() -> None:
    found = audience(["churned", "at_risk", "high", "low"], ["VIP", "New", "Premium", "Standard"])
    assert found.tolist() == ["win_back", "at_risk", "loyal", ""]


def test_a_save_rate_above_one_names_its_field() -> None:
    with pytest.raises(InvalidConfig, match=r"save_rate=1\.5"):
        RetentionConfig(save_rate=1.5)
