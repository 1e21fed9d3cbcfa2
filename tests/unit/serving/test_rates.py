"""Shrunk rates: between the prior and what was seen, and honest about how little that is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from serving.decisions.rates import blended, digamma, nested, normal_cdf, shares, shrunk, trigamma

COUNTS = st.integers(0, 10_000)


@given(st.floats(0.01, 1e6))
def test_digamma_and_trigamma_are_those_of_scipy(value: float) -> None:
    assert digamma(value) == pytest.approx(float(special.digamma(value)), rel=1e-7, abs=1e-7)
    assert trigamma(value) == pytest.approx(float(special.polygamma(1, value)), rel=1e-6)


@given(COUNTS, COUNTS, st.floats(0.001, 0.999), st.floats(1, 1000))
def test_a_rate_lies_between_its_prior_and_what_was_seen(
    responded: int, others: int, prior: float, weight: float
) -> None:
    shown = responded + others
    seen = responded / shown if shown else prior
    mean = shrunk(responded, shown, prior, weight).mean
    assert min(seen, prior) - 1e-4 <= mean <= max(seen, prior) + 1e-4


def test_more_evidence_makes_a_rate_surer() -> None:
    few, many = shrunk(2, 20, 0.1, 20), shrunk(200, 2000, 0.1, 20)
    assert few.log_variance > 10 * many.log_variance


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_a_part_is_not_counted_twice(part_yes: int, part_no: int, rest_yes: int, rest_no: int) -> None:
    part = (part_yes + part_no, part_yes)
    whole = (part[0] + rest_yes + rest_no, part_yes + rest_yes)
    assert nested(part, whole, 0.1, 40, 100).observed == whole[0]
    assert 0 < nested(part, whole, 0.1, 40, 100).mean < 1


def test_a_large_segment_goes_its_own_way_and_a_small_one_follows_the_whole() -> None:
    whole = (100_000, 5_000)
    assert nested((20_000, 4_000), whole, 0.05, 40, 100).mean == pytest.approx(0.2, abs=0.005)
    assert nested((10, 9), whole, 0.05, 40, 100).mean < 0.15


@given(st.lists(st.floats(0, 1000), min_size=24, max_size=24))
def test_a_blended_histogram_is_a_distribution(counts: list[float]) -> None:
    found = blended(counts, [1.0] * 24, 24.0)
    assert sum(found) == pytest.approx(1.0)
    assert min(found) > 0


def test_shares_without_counts_are_the_prior() -> None:
    assert shares({}, {"a": 3.0, "b": 1.0}, 10.0) == {"a": 0.75, "b": 0.25}
    assert normal_cdf(0.0) == 0.5
