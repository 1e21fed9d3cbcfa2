"""Time-ordered cut-offs and folds. There is no random split here, nor anywhere else.

A cut-off T is an instant at 00:00 UTC: features know what happened strictly before T, labels cover
[T, T + horizon). A fold is an evaluation cut-off with the training cut-offs whose label windows have ended
by then, so nothing of what it is tested on was seen.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from training.errors import NotEnoughData
from training.value_config import CutoffConfig


@dataclass(frozen=True)
class Fold:
    """One evaluation cut-off and its training cut-offs, ascending.

    `partial` are cut-offs between the last of these and the evaluation: at the evaluation their label windows
    are still open, and what has happened in them until then is known.
    """

    cutoff: datetime
    training: tuple[datetime, ...]
    horizon_days: int
    partial: tuple[datetime, ...] = ()

    def __post_init__(self) -> None:
        latest = self.cutoff - timedelta(days=self.horizon_days)
        late = [each for each in self.training if each > latest]
        if late:
            raise ValueError(
                f"training cut-off {late[0]:%Y-%m-%d} has labels that end after the evaluation cut-off"
                f" {self.cutoff:%Y-%m-%d}; use {latest:%Y-%m-%d} or earlier"
            )
        outside = [each for each in self.partial if not latest < each < self.cutoff]
        if outside:
            raise ValueError(
                f"partial cut-off {outside[0]:%Y-%m-%d} is not between {latest:%Y-%m-%d} and the evaluation"
                f" cut-off {self.cutoff:%Y-%m-%d}"
            )

    @property
    def boundaries(self) -> dict[str, str]:
        """The dates to record with a run: windows are half open, [start, end)."""
        horizon = timedelta(days=self.horizon_days)
        return {
            "training_cutoff_first": f"{self.training[0]:%Y-%m-%d}",
            "training_cutoff_last": f"{self.training[-1]:%Y-%m-%d}",
            "training_labels_end": f"{self.training[-1] + horizon:%Y-%m-%d}",
            "evaluation_cutoff": f"{self.cutoff:%Y-%m-%d}",
            "evaluation_labels_end": f"{self.cutoff + horizon:%Y-%m-%d}",
        }


def midnight(day: date) -> datetime:
    """00:00 UTC of a day."""
    return datetime.combine(day, time(), UTC)


def cutoffs(
    data_start: date,
    data_until: date,
    horizon_days: int,
    count: int,
    step_days: int,
    minimum_history_days: int = 1,
) -> list[datetime]:
    """Up to `count` cut-offs, ascending and `step_days` apart, the last with its label window just complete.

    `data_start` and `data_until` are the first and the last day with data (inclusive). Cut-offs with fewer
    than `minimum_history_days` before them are left out, so the list may be shorter, or empty.
    """
    last = midnight(data_until) + timedelta(days=1 - horizon_days)
    return _backwards(last, midnight(data_start), count, step_days, minimum_history_days)


def folds(
    data_start: date, data_until: date, config: CutoffConfig, last_cutoff: datetime | None = None
) -> list[Fold]:
    """The evaluation folds, ascending; the last one's label window is the latest that is complete.

    `last_cutoff` puts the last evaluation cut-off elsewhere. Folds for which fewer than two training cut-offs
    fit are left out (one to fit, a later one to calibrate). Raises `NotEnoughData` if none is left, or if
    labels of `last_cutoff` are not complete.
    """
    start = midnight(data_start)
    horizon = timedelta(days=config.horizon_days)
    latest = midnight(data_until) + timedelta(days=1) - horizon
    if last_cutoff is not None and last_cutoff > latest:
        found = (midnight(data_until) + timedelta(days=1) - last_cutoff).days
        raise NotEnoughData(
            f"days of labels after cut-off {last_cutoff:%Y-%m-%d}",
            max(found, 0),
            config.horizon_days,
            f"use {latest:%Y-%m-%d} or earlier",
        )
    evaluation = _backwards(
        last_cutoff or latest,
        start,
        config.evaluation_cutoffs,
        config.evaluation_step_days,
        config.minimum_history_days,
    )
    found_folds = [
        Fold(
            each,
            training_cutoffs(start, each, config),
            config.horizon_days,
            partial_cutoffs(start, each, config),
        )
        for each in evaluation
    ]
    usable = [fold for fold in found_folds if len(fold.training) >= 2]
    if not usable:
        needed = config.minimum_history_days + 2 * config.horizon_days + config.training_step_days
        raise NotEnoughData(
            "days of data for the value models",
            (midnight(data_until) - start).days + 1,
            needed,
            "land more days or shorten horizon_days",
        )
    return usable


def training_cutoffs(data_start: datetime, cutoff: datetime, config: CutoffConfig) -> tuple[datetime, ...]:
    """Training cut-offs whose labels have ended by `cutoff`, ascending."""
    return tuple(
        _backwards(
            cutoff - timedelta(days=config.horizon_days),
            data_start,
            config.training_cutoffs,
            config.training_step_days,
            config.minimum_history_days,
        )
    )


def partial_cutoffs(data_start: datetime, cutoff: datetime, config: CutoffConfig) -> tuple[datetime, ...]:
    """Cut-offs after those of training with `shortest_label_days` of labels by `cutoff`, ascending."""
    first = cutoff - timedelta(days=config.horizon_days)
    steps = (config.horizon_days - config.shortest_label_days) // config.training_step_days
    later = [first + timedelta(days=config.training_step_days * number) for number in range(1, steps + 1)]
    earliest = data_start + timedelta(days=config.minimum_history_days)
    return tuple(each for each in later if earliest <= each < cutoff)


def _backwards(
    last: datetime, start: datetime, count: int, step_days: int, minimum_history_days: int
) -> list[datetime]:
    earliest = start + timedelta(days=minimum_history_days)
    found = [last - timedelta(days=step_days * back) for back in range(count)]
    return sorted(each for each in found if each >= earliest)
