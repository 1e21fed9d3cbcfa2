"""The planner: statsmodels' sample sizes, and the share of simulated tests that find the effect."""

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower

from training.errors import InvalidPlan
from training.experiments.power import Question, detectable_lift, of_share, plan


def test_a_mean_needs_as_many_users_as_statsmodels_says() -> None:
    found = plan(Question(mean=20.0, deviation=30.0, lift=0.1))
    theirs = NormalIndPower().solve_power(effect_size=2 / 30, alpha=0.05, power=0.8)
    assert found.users_per_variant == np.ceil(theirs)


def test_a_share_of_five_percent_and_a_lift_of_ten_needs_thirty_one_thousand() -> None:
    """(1.960 + 0.842)^2 * (0.05 * 0.95 + 0.055 * 0.945) / 0.005^2."""
    before, after = of_share(0.05, 0.1)
    found = plan(Question(mean=0.05, deviation=before, treated_deviation=after, lift=0.1))
    assert found.users_per_variant == 31_231
    assert found.absolute_effect == pytest.approx(0.005)


def test_more_variants_and_looks_at_any_time_need_more_users() -> None:
    two = plan(Question(mean=1.0, deviation=2.0, lift=0.1))
    three = plan(Question(mean=1.0, deviation=2.0, lift=0.1, variants=3))
    assert two.users_per_variant < three.users_per_variant < two.users_per_variant_always_valid


def test_the_days_hold_every_variant_and_the_last_visitors_window() -> None:
    found = plan(Question(mean=1.0, deviation=1.0, lift=0.5, visitors_per_day=10.0, window_days=7))
    assert found.users_per_variant == 63
    assert found.days == 13 + 7


def test_the_detectable_lift_is_the_inverse_of_the_plan() -> None:
    question = Question(mean=3.0, deviation=9.0, lift=0.08)
    assert detectable_lift(question, plan(question).users_per_variant) == pytest.approx(0.08, rel=1e-3)


@pytest.mark.parametrize(
    ("field", "value"),
    [("mean", 0.0), ("lift", 0.0), ("power", 1.0), ("alpha", 0.7), ("deviation", float("nan"))],
)
def test_a_question_without_an_answer_names_the_field(field: str, value: float) -> None:
    with pytest.raises(InvalidPlan, match=f"{field}="):
        Question(**{"mean": 1.0, "deviation": 1.0, "lift": 0.1, field: value})


def test_a_share_that_would_pass_one_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="lift="):
        of_share(0.6, 0.9)


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("lift", {"deviation": 1e12}),
        ("lift", {"lift": 1e-300}),
        ("visitors_per_day", {"visitors_per_day": 1.0, "lift": 0.001}),
    ],
)
def test_a_plan_that_no_shop_can_carry_out_is_refused(field: str, asked: dict[str, float]) -> None:
    with pytest.raises(InvalidPlan, match=f"{field}="):
        plan(Question(**{"mean": 1.0, "deviation": 1.0, "lift": 0.1, **asked}))
