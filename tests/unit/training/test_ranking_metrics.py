import numpy as np
import pytest
from scipy import sparse

from training.ranking_metrics import (
    coverage_at,
    hit_rate_at,
    hits_of,
    ndcg_at,
    recall_at,
    reciprocal_rank,
)

HITS = np.array([[False, True, False, True], [False, False, False, False], [True, True, True, True]])
COUNTS = np.array([4, 2, 4])


def test_recall_divides_by_all_labels_known_or_not() -> None:
    assert recall_at(HITS, COUNTS, 2).tolist() == [0.25, 0.0, 0.5]
    assert recall_at(HITS, COUNTS, 4).tolist() == [0.5, 0.0, 1.0]


def test_ndcg_of_a_perfect_list_is_one_and_of_a_list_without_hits_zero() -> None:
    values = ndcg_at(HITS, COUNTS, 4)
    ideal = 1 + 1 / np.log2(3) + 1 / 2 + 1 / np.log2(5)
    assert values[0] == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / ideal)
    assert values[1:].tolist() == [0.0, 1.0]


def test_the_ideal_of_ndcg_has_no_more_hits_than_labels() -> None:
    assert ndcg_at(np.array([[True, False]]), np.array([1]), 2)[0] == pytest.approx(1.0)


def test_hit_rate_asks_for_one_hit_within_k() -> None:
    assert hit_rate_at(HITS, COUNTS, 1).tolist() == [0.0, 0.0, 1.0]
    assert hit_rate_at(HITS, COUNTS, 2).tolist() == [1.0, 0.0, 1.0]


def test_reciprocal_rank_is_that_of_the_first_hit() -> None:
    assert reciprocal_rank(HITS, COUNTS).tolist() == [0.5, 0.0, 1.0]


def test_a_user_without_labels_has_no_value() -> None:
    none = np.array([0, 2, 4])
    for values in (recall_at(HITS, none, 2), ndcg_at(HITS, none, 2), reciprocal_rank(HITS, none)):
        assert np.isnan(values[0])
        assert not np.isnan(values[1:]).any()


def test_unknown_positions_are_never_hits() -> None:
    labels = sparse.csr_matrix(np.array([[1, 0, 0], [0, 0, 1]]))
    positions = np.array([[1, 0, -1], [2, -1, -1]])
    assert hits_of(positions, labels).tolist() == [[False, True, False], [True, False, False]]


def test_coverage_is_the_share_of_the_catalogue_shown() -> None:
    assert coverage_at(np.array([[0, 1, 2], [0, -1, -1]]), 10, 2) == 0.2


def test_the_order_of_users_changes_no_average() -> None:
    shuffled = [2, 0, 1]
    assert recall_at(HITS[shuffled], COUNTS[shuffled], 3).mean() == pytest.approx(
        recall_at(HITS, COUNTS, 3).mean()
    )
