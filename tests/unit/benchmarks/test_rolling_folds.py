"""Rolling folds of the recommender benchmark: as long as the test, and knowing only what lies before."""

import pytest

from benchmarks.interaction_files import UnusableData
from benchmarks.recommenders import rolling_folds
from training.sources.history import history_of

WHOLE = history_of((1, 100), "days", [0] * 100, range(100), range(100))
"""One user takes item d on day d, for a hundred days."""


def test_every_earlier_fold_has_labels_for_as_many_days_as_the_test() -> None:
    folds = rolling_folds(WHOLE, cutoff=80.0, horizon=20.0, step=10.0, count=3)
    assert [fold.labels.indices.tolist() for fold in folds] == [
        list(range(cutoff, cutoff + 20)) for cutoff in (70, 60, 50)
    ]


def test_an_earlier_fold_knows_only_what_lies_before_it() -> None:
    folds = rolling_folds(WHOLE, cutoff=80.0, horizon=20.0, step=10.0, count=3)
    assert [fold.history.at.max() for fold in folds] == [69, 59, 49]
    assert [fold.history.end for fold in folds] == [70, 60, 50]


def test_a_fold_without_room_to_tune_before_it_is_refused_with_what_would_do() -> None:
    with pytest.raises(UnusableData, match="use --folds 7"):
        rolling_folds(WHOLE, cutoff=80.0, horizon=20.0, step=10.0, count=7)
