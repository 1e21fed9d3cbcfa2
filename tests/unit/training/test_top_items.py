import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.identifiers import UNKNOWN
from training.top_items import score_blocks, top_items

SCORES = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 12)),
    elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 0.5, 2.0, 3.4e38]),
)


@given(SCORES, st.integers(1, 15))
def test_lists_are_the_best_finite_scores_without_duplicates_or_padding(scores: np.ndarray, k: int) -> None:
    top = top_items(scores, k)
    for row, positions, values in zip(scores, top.positions, top.scores, strict=True):
        known = positions[positions != UNKNOWN]
        assert len(known) == min(k, np.isfinite(row).sum())
        assert len(set(known)) == len(known)
        assert values[: len(known)].tolist() == sorted(row[np.isfinite(row)].tolist(), reverse=True)[:k]
        assert (positions[len(known) :] == UNKNOWN).all()


@given(SCORES, st.integers(1, 15))
def test_a_row_is_ranked_alike_alone_and_in_a_batch(scores: np.ndarray, k: int) -> None:
    batch = top_items(scores, k)
    for index in range(len(scores)):
        alone = top_items(scores[index : index + 1], k)
        assert alone.positions[0].tolist() == batch.positions[index].tolist()


def test_equal_scores_are_ordered_by_position() -> None:
    assert top_items(np.array([[1.0, 2.0, 2.0, 1.0]], dtype=np.float32), 4).positions.tolist() == [
        [1, 2, 0, 3]
    ]


class Constant:
    name = "constant"

    def scores(self, users: np.ndarray) -> np.ndarray:
        return np.zeros((len(users), 10), dtype=np.float32) + users[:, None]


def test_blocks_cover_every_user_once_in_order_and_stay_small() -> None:
    users = np.arange(25)
    blocks = list(score_blocks(Constant(), users, cells=40))
    assert np.concatenate([block for block, _ in blocks]).tolist() == users.tolist()
    assert max(scores.size for _, scores in blocks) <= 40


def test_no_users_give_no_blocks() -> None:
    assert list(score_blocks(Constant(), np.array([], dtype=np.int64))) == []
