"""Off-policy estimators: known values by hand, intervals that hold the truth, and silence on thin samples."""

import numpy as np
import pytest

from training.errors import InvalidConfig, NotEnoughData
from training.off_policy import (
    LoggedRewards,
    OffPolicyConfig,
    Target,
    effective_sample,
    evaluate_policy,
    policy_difference,
)

LOG = LoggedRewards(
    user=np.array([0, 1, 2, 3]),
    reward=np.array([1.0, 0.0, 1.0, 0.0]),
    propensity=np.array([0.5, 0.5, 0.25, 0.25]),
)
ALWAYS_SECOND = np.array([0.0, 1.0, 1.0, 0.0])


def bandit(seed: int, users: int) -> tuple[LoggedRewards, Target, float]:
    """Two acts, the second tried one time in ten; it earns 0.4 and is what the target always does."""
    rng = np.random.default_rng(seed)
    is_second = rng.random(users) < 0.1
    reward = (rng.random(users) < np.where(is_second, 0.4, 0.2)).astype(float)
    log = LoggedRewards(np.arange(users), reward, np.where(is_second, 0.1, 0.9))
    return log, Target(is_second.astype(float), np.full(users, 0.3), np.full(users, 0.3)), 0.4


def test_inverse_propensity_scores_are_the_mean_of_weighted_rewards() -> None:
    result = evaluate_policy(LOG, Target(ALWAYS_SECOND), "ips")
    assert result.estimate == pytest.approx((2 * 0 + 4 * 1) / 4)


def test_self_normalised_scores_divide_by_the_sum_of_weights() -> None:
    result = evaluate_policy(LOG, Target(ALWAYS_SECOND), "snips")
    assert result.estimate == pytest.approx(4 / 6)


def test_doubly_robust_adds_the_weighted_surprise_to_the_models_value() -> None:
    target = Target(ALWAYS_SECOND, np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.25, 0.25, 0.25, 0.25]))
    result = evaluate_policy(LOG, target, "dr")
    assert result.estimate == pytest.approx(0.25 + (2 * -0.5 + 4 * 0.5) / 4)


def test_a_perfect_reward_model_leaves_no_variance_but_one_unseen_reward() -> None:
    log = LoggedRewards(np.arange(1000), np.tile([1.0, 0.0], 500), np.full(1000, 0.5))
    target = Target(np.tile([1.0, 0.0], 500), log.reward, np.ones(1000))
    result = evaluate_policy(log, target, "dr")
    assert result.estimate == 1.0
    assert result.high - 1.0 == pytest.approx((1.96 + 1) * 2 / 1000, rel=0.05)


def test_the_effective_sample_is_that_of_kish() -> None:
    assert effective_sample(np.ones(7)) == pytest.approx(7.0)
    assert effective_sample(np.array([3.0, 1.0])) == pytest.approx(16 / 10)
    assert effective_sample(np.zeros(3)) == 0.0


def test_many_rows_of_one_user_are_one_user() -> None:
    log = LoggedRewards(np.zeros(500, dtype=np.int64), np.ones(500), np.ones(500))
    result = evaluate_policy(log, Target(np.ones(500)), "ips")
    assert result.effective_sample == pytest.approx(1.0)
    assert result.abstains
    assert result.high == np.inf


def test_a_thin_sample_abstains_and_says_so() -> None:
    log, target, _ = bandit(1, users=300)
    result = evaluate_policy(log, target, "snips")
    assert result.effective_sample < 100
    assert result.abstains
    assert f"effective sample is {result.effective_sample:.0f} users, below 100" in result.reason
    assert "abstains" in str(result)


def test_a_rich_sample_does_not_abstain() -> None:
    log, target, _ = bandit(1, users=3000)
    result = evaluate_policy(log, target, "snips")
    assert result.effective_sample >= 100
    assert not result.abstains


@pytest.mark.parametrize("method", ["ips", "snips", "dr"])
def test_intervals_hold_the_truth_at_least_as_often_as_they_say(method: str) -> None:
    found = [
        (evaluate_policy(log, target, method), truth)  # type: ignore[arg-type]
        for log, target, truth in (bandit(seed, users=2000) for seed in range(400))
    ]
    assert np.mean([result.low <= truth <= result.high for result, truth in found]) >= 0.95
    assert np.mean([result.high - result.low for result, _ in found]) < 0.25


def test_few_heavy_users_do_not_hide_behind_a_large_effective_sample() -> None:
    users = 20_000
    heavy = np.arange(users) < 20
    log = LoggedRewards(np.arange(users), (np.arange(users) % 5 == 0) * 1.0, np.where(heavy, 0.02, 0.95))
    result = evaluate_policy(log, Target(np.ones(users)), "ips")
    assert result.effective_sample > 1000
    assert result.carrying_sample < 100
    assert result.abstains
    assert "carry the variance" in result.reason


def test_a_policy_that_acts_where_nothing_was_tried_abstains() -> None:
    shown = np.arange(2000) % 2 == 0
    log = LoggedRewards(np.arange(2000), np.ones(2000), np.ones(2000))
    result = evaluate_policy(log, Target(shown.astype(float)), "snips")
    assert result.support == pytest.approx(0.5)
    assert result.abstains
    assert "50% of what the policy would show" in result.reason


def test_without_any_reward_nothing_is_decided() -> None:
    log = LoggedRewards(np.arange(500), np.zeros(500), np.full(500, 0.5))
    result = evaluate_policy(log, Target(np.full(500, 0.5)), "ips")
    assert result.abstains
    assert "no reward" in result.reason


def test_clipping_is_stated() -> None:
    log, target, _ = bandit(2, users=2000)
    result = evaluate_policy(log, target, "ips", OffPolicyConfig(clip=5.0))
    assert result.method == "ips, weights clipped at 5"
    assert result.clipped == pytest.approx((log.propensity == 0.1).mean())
    assert result.estimate < evaluate_policy(log, target, "ips").estimate


def test_the_difference_of_a_policy_to_itself_is_nothing_and_abstains() -> None:
    log, target, _ = bandit(3, users=3000)
    result = policy_difference(log, target, target, "snips")
    assert result.estimate == 0.0
    assert result.effective_sample == 0.0
    assert result.abstains


def test_the_difference_to_what_was_served_is_the_gain() -> None:
    log, target, truth = bandit(4, users=20_000)
    served = Target(log.propensity, target.expected_shown, target.expected_target)
    result = policy_difference(log, target, served, "dr")
    assert result.low <= truth - (0.9 * 0.2 + 0.1 * 0.4) <= result.high
    assert result.low > 0.0
    assert not result.abstains


def test_the_order_of_rows_changes_nothing() -> None:
    log, target, _ = bandit(5, users=1000)
    order = np.random.default_rng(0).permutation(1000)
    mixed = LoggedRewards(log.user[order], log.reward[order], log.propensity[order])
    result = evaluate_policy(log, target, "ips")
    other = evaluate_policy(mixed, Target(target.probability[order]), "ips")
    assert (other.low, other.high) == pytest.approx((result.low, result.high))


def test_a_propensity_of_zero_is_refused_by_its_value() -> None:
    with pytest.raises(ValueError, match=r"propensity=.*0\.0.*drop the row"):
        LoggedRewards(np.array([0]), np.array([1.0]), np.array([0.0]))


def test_an_empty_log_names_the_remedy() -> None:
    empty = LoggedRewards(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
    with pytest.raises(NotEnoughData, match="epsilon above 0"):
        evaluate_policy(empty, Target(np.zeros(0)), "ips")


def test_doubly_robust_without_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="use 'snips'"):
        evaluate_policy(LOG, Target(ALWAYS_SECOND), "dr")


def test_a_clip_below_one_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="clip=0.5"):
        OffPolicyConfig(clip=0.5)
