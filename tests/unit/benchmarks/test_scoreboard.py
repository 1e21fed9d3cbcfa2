"""The scoreboard prints the same each time, and its off-policy worlds know their own truth."""

import numpy as np

from benchmarks.off_policy import PLACES, Judged, draw_log, draw_shop, judge_world, summary
from benchmarks.truth import ESTIMATORS, Row, table


def test_a_world_is_judged_the_same_each_time() -> None:
    first, second = ([each.result for each in judge_world(seed=3, world=0)] for _ in range(2))
    assert first == second


def test_a_thin_world_abstains_in_every_estimator() -> None:
    thin = [each.result for each in judge_world(seed=3, world=0)]
    assert all(result.effective_sample < 100 and result.abstains for result in thin)


def test_what_is_served_earns_what_the_shop_says() -> None:
    rng = np.random.default_rng(5)
    shop = draw_shop(rng)
    users = rng.choice(len(shop.pool), 3000, replace=False)
    rows = draw_log(rng, shop, users, 0.0, "5")
    ranked = np.zeros((1, PLACES, shop.pool.shape[1]))
    ranked[0, np.arange(PLACES), np.arange(PLACES)] = 1.0
    truth = shop.value(np.broadcast_to(ranked, (len(shop.pool), *ranked.shape[1:])))
    assert abs(rows["clicked"].mean() - truth) < 0.1 * truth


def test_the_summary_counts_answers_and_coverage() -> None:
    judged = [Judged(0, each.estimator, each.result.estimate, each.result) for each in judge_world(3, 4)]
    [ips, *_] = summary(judged)
    assert ips["answers"] == 1
    assert ips["coverage"] == 1.0
    assert ips["bias"] == 0.0


def test_every_estimator_has_a_name_of_its_own() -> None:
    names = [estimator.name for estimator in ESTIMATORS]
    assert len(set(names)) == len(names)


def test_the_table_shows_value_ideal_and_rival() -> None:
    text = table([Row("clv", "Spearman", 0.8, 1.0, 0.7, "past spend"), Row("uplift", "error", 0.1, 0.0)])
    assert text.splitlines()[1].split() == ["clv", "Spearman", "0.800", "1.00", "0.700", "(past", "spend)"]
    assert text.splitlines()[2].endswith("0.00")
