"""Cut-offs and folds: training always ends before evaluation begins."""

from datetime import UTC, date, datetime, timedelta

import pytest

from training.errors import InvalidConfig, NotEnoughData
from training.splits import Fold, cutoffs, folds
from training.value_config import CutoffConfig

START = date(2026, 1, 1)


def test_the_last_cutoff_has_its_label_window_just_complete() -> None:
    found = cutoffs(START, date(2026, 4, 10), horizon_days=10, count=3, step_days=20)
    assert [f"{each:%m-%d}" for each in found] == ["02-20", "03-12", "04-01"]


def test_cutoffs_with_too_little_history_are_left_out() -> None:
    found = cutoffs(START, date(2026, 4, 10), 10, count=9, step_days=20, minimum_history_days=60)
    assert [f"{each:%m-%d}" for each in found] == ["03-12", "04-01"]


@pytest.mark.parametrize("days", [150, 200, 365, 800])
def test_training_labels_end_before_evaluation_begins(days: int) -> None:
    config = CutoffConfig(horizon_days=40, evaluation_step_days=13, training_step_days=9)
    found = folds(START, START + timedelta(days=days - 1), config)
    assert 1 <= len(found) <= config.evaluation_cutoffs
    for fold in found:
        assert len(fold.training) >= 2
        assert max(fold.training) + timedelta(days=40) <= fold.cutoff
        assert min(fold.training) >= datetime(2026, 1, 31, tzinfo=UTC)
        assert all(max(fold.training) < each <= fold.cutoff - timedelta(days=30) for each in fold.partial)
    assert found[-1].cutoff == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days - 40)


def test_a_fold_with_training_labels_after_its_cutoff_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="use 2026-02-01 or earlier"):
        Fold(datetime(2026, 3, 3, tzinfo=UTC), (datetime(2026, 2, 2, tzinfo=UTC),), 30)


def test_a_partial_cutoff_lies_between_training_and_evaluation() -> None:
    day = datetime(2026, 3, 3, tzinfo=UTC)
    with pytest.raises(ValueError, match="partial cut-off 2026-03-03 is not between"):
        Fold(day, (datetime(2026, 1, 2, tzinfo=UTC),), 30, (day,))


def test_a_cutoff_without_complete_labels_names_the_latest_that_has_them() -> None:
    with pytest.raises(NotEnoughData, match="use 2026-10-03 or earlier"):
        folds(START, date(2026, 12, 31), CutoffConfig(), datetime(2026, 11, 1, tzinfo=UTC))


def test_too_short_a_history_names_the_days_needed() -> None:
    with pytest.raises(NotEnoughData, match="found 60, needed 225"):
        folds(START, START + timedelta(days=59), CutoffConfig())


def test_a_wrong_step_names_its_field() -> None:
    with pytest.raises(InvalidConfig, match="training_step_days=0"):
        CutoffConfig(training_step_days=0)


def test_boundaries_are_recorded_as_half_open_windows() -> None:
    fold = Fold(
        datetime(2026, 3, 3, tzinfo=UTC),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        30,
    )
    assert fold.boundaries == {
        "training_cutoff_first": "2026-01-02",
        "training_cutoff_last": "2026-02-01",
        "training_labels_end": "2026-03-03",
        "evaluation_cutoff": "2026-03-03",
        "evaluation_labels_end": "2026-04-02",
    }
