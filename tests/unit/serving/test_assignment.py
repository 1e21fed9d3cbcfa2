"""Assignment: uniform, sticky, by weight, exclusive inside a layer, independent between layers."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from serving.decisions.assignment import (
    BUCKETS,
    Condition,
    Experiment,
    Variant,
    free_ranges,
    free_share,
    is_held_out,
    point,
    stands_in,
    variant_of,
    why_not,
)

IDS = [f"user-{number}" for number in range(100_000)]
FEWER = IDS[:20_000]
UNLIKELY = 0.001
"""The ids are fixed, so each test below passes or fails for ever: this says how odd a failure would be."""


def experiment(
    name: str = "e",
    weights: tuple[float, ...] = (1.0, 1.0),
    layer: str = "default",
    ranges: tuple[tuple[int, int], ...] = ((0, BUCKETS),),
    **more: object,
) -> Experiment:
    variants = tuple(Variant(f"v{number}", weight) for number, weight in enumerate(weights))
    return Experiment(name, 1, layer, name, ranges, variants, **more)  # type: ignore[arg-type]


def test_points_are_uniform_over_a_hundred_thousand_ids() -> None:
    points = np.array([point("layer:default", visitor) for visitor in IDS])
    counts, _ = np.histogram(points, bins=100, range=(0, 1))
    assert points.min() >= 0 and points.max() < 1
    assert chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 0.3, 0.2), (8.0, 1.0, 1.0), (1, 1, 1, 1, 1)])
def test_variants_come_in_proportion_to_their_weights(weights: tuple[float, ...]) -> None:
    asked = experiment(weights=weights)
    counts = Counter(variant_of(asked, visitor).name for visitor in FEWER)
    observed = [counts[f"v{number}"] for number in range(len(weights))]
    expected = [weight / sum(weights) * len(FEWER) for weight in weights]
    assert chisquare(observed, expected).pvalue > UNLIKELY


def test_a_variant_of_weight_zero_is_given_to_nobody() -> None:
    asked = experiment(weights=(0.0, 1.0, 0.0))
    assert {variant_of(asked, visitor).name for visitor in FEWER[:2000]} == {"v1"}


@given(st.text(min_size=1, max_size=40))
def test_the_same_visitor_gets_the_same_answer_for_ever(visitor: str) -> None:
    asked = experiment(weights=(1.0, 2.0, 3.0))
    assert variant_of(asked, visitor) == variant_of(experiment(weights=(1.0, 2.0, 3.0)), visitor)
    assert 0 <= point("s", visitor) < 1


def test_the_hash_is_the_documented_one() -> None:
    # Written down so that a change of the hash, which would deal every visitor anew, cannot go unseen.
    assert point("layer:default", "42") == pytest.approx(KNOWN_POINT, abs=1e-15)


def test_experiments_of_one_layer_share_no_visitor() -> None:
    first = experiment("first", ranges=((0, 3000), (7000, 8000)))
    second = experiment("second", ranges=((3000, 7000),))
    inside = [(stands_in(first, visitor), stands_in(second, visitor)) for visitor in FEWER]
    counts = Counter(inside)
    assert counts[True, True] == 0
    expected = [0.4 * len(FEWER), 0.4 * len(FEWER), 0.2 * len(FEWER)]
    assert (
        chisquare([counts[True, False], counts[False, True], counts[False, False]], expected).pvalue
        > UNLIKELY
    )


def test_layers_and_experiments_are_independent_of_each_other() -> None:
    half = ((0, BUCKETS // 2),)
    here, there = experiment("a", layer="one", ranges=half), experiment("b", layer="two", ranges=half)
    places = Counter((stands_in(here, visitor), stands_in(there, visitor)) for visitor in FEWER)
    variants = Counter((variant_of(here, v).name, variant_of(there, v).name) for v in FEWER)
    inside = Counter((stands_in(here, v), variant_of(here, v).name) for v in FEWER)
    for counts in (places, variants, inside):
        rows = sorted({row for row, _ in counts})
        columns = sorted({column for _, column in counts})
        table = [[counts[row, column] for column in columns] for row in rows]
        assert chi2_contingency(table).pvalue > UNLIKELY


def test_the_holdout_is_permanent_and_nested() -> None:
    small = {visitor for visitor in FEWER if is_held_out(visitor, 0.05)}
    large = {visitor for visitor in FEWER if is_held_out(visitor, 0.10)}
    assert small < large
    assert len(large) == pytest.approx(0.10 * len(FEWER), rel=0.1)
    assert not any(is_held_out(visitor, 0.0) for visitor in FEWER[:100])


def test_the_reason_for_taking_no_part_is_named() -> None:
    nobody, everybody = (lambda *_: False), (lambda *_: True)
    held = next(visitor for visitor in FEWER if is_held_out(visitor, 0.1))
    free = next(visitor for visitor in FEWER if not is_held_out(visitor, 0.5))
    assert why_not(experiment(), held, {}, everybody, 0.1) == "holdout"
    assert why_not(experiment(holdout_share=0.1), held, {}, everybody) == "holdout"
    assert why_not(experiment(ranges=()), free, {}, everybody) == "outside_the_share"
    assert why_not(experiment(segment="high"), free, {}, nobody) == "outside_the_segment"
    mobile = experiment(conditions=(Condition("device_type", ("mobile", "tablet")),))
    assert why_not(mobile, free, {}, everybody) == "conditions_do_not_hold"
    assert why_not(mobile, free, {"device_type": "desktop"}, everybody) == "conditions_do_not_hold"
    assert why_not(mobile, free, {"device_type": "mobile"}, everybody) is None


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 30)), max_size=4), st.floats(0.0001, 1))
def test_a_new_experiment_takes_free_buckets_only(lengths: list[tuple[int, int]], share: float) -> None:
    taken: list[tuple[int, int]] = []
    at = 0
    for gap, length in lengths:
        taken.append((at + gap * 10, at + gap * 10 + length * 50))
        at = taken[-1][1]
    got = free_ranges(taken, share)
    if got is None:
        assert round(share * BUCKETS) > round(free_share(taken) * BUCKETS)
        return
    assert sum(high - low for low, high in got) == round(share * BUCKETS)
    owners = Counter(bucket for low, high in [*taken, *got] for bucket in range(low, high))
    assert max(owners.values()) == 1 and max(owners) < BUCKETS


def test_an_experiment_runs_from_its_start_until_its_end() -> None:
    def at(day: int) -> datetime:
        return datetime(2026, 1, day, tzinfo=UTC)

    asked = experiment(start=at(2), end=at(4))
    assert [asked.is_running(at(day)) for day in (1, 2, 3, 4)] == [False, True, True, False]
    assert experiment().is_running(at(1))


KNOWN_POINT = 0.8566299950656368


def test_a_bandit_deals_by_its_shares_and_moves_only_who_must() -> None:
    before = experiment(weights=(1.0, 1.0, 1.0), mode="bandit")
    after = experiment(weights=(0.2, 0.2, 0.6), mode="bandit")
    dealt = [(variant_of(before, visitor).name, variant_of(after, visitor).name) for visitor in FEWER]
    counts = Counter(later for _, later in dealt)
    assert chisquare([counts[f"v{n}"] for n in range(3)], [4000, 4000, 12_000]).pvalue > UNLIKELY
    moved = {pair for pair in dealt if pair[0] != pair[1]}
    assert moved == {("v0", "v2"), ("v1", "v2")}
    assert after.share_of("v2") == pytest.approx(0.6)
