"""How a candidate behaves, besides how good it is: what the gate asks of every kind of model.

Each function measures one thing on the very model that would be released, read back from its files; the
judgement is the gate's (`training.gate`). What a kind cannot measure stays None and is not asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.entities import USER_ID
from training.config import GateConfig
from training.dataset import CUTOFF
from training.identifiers import Positions
from training.interactions import Interactions
from training.intervals import Estimate, bootstrap_statistic
from training.top_items import Scorer, score_blocks, top_items
from training.value_metrics import Metric, expected_calibration_error

FloatArray = npt.NDArray[np.float64]
Score = Callable[[pd.DataFrame], FloatArray]

TIMED_ROWS = 1000
REPEATS = 3
TIMED_SECONDS = 0.5
LEAST_NEWCOMERS = 50
NEWCOMER_DAYS = 90.0
TOP_SHARE = 0.1
"""The part of all customers whose list is compared: the best tenth."""
RELATIVE_TOLERANCE = 1e-6
HASH = np.uint64(0x9E3779B97F4A7C15)
"""An odd multiplier that spreads numbers over all bits (Knuth 1973, 6.4): halves without a pattern."""
ORDER_TOLERANCE_DAYS = 1.0
"""Features are instants, the mart has days: an order that runs past midnight counts on the day before."""


class LoggedValue(Protocol):
    """A value or a gain by logged answers; `training.off_policy` estimates it."""

    @property
    def estimate(self) -> float: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...

    @property
    def abstains(self) -> bool: ...

    @property
    def reason(self) -> str: ...


@dataclass(frozen=True)
class Answers:
    """How many answers are finite, and how many differ; `what` names one: 'scores', 'lists'."""

    rows: int
    finite: int
    distinct: int
    what: str = "scores"


@dataclass(frozen=True)
class Replay:
    """Share of customers who are scored differently without the future; `problem` if they cannot be."""

    rows: int
    differing: float
    problem: str | None = None


@dataclass(frozen=True)
class Calibration:
    """`probability_error` for probabilities (ECE); for money predicted over real, in all and by decile."""

    probability_error: float | None = None
    total_ratio: float | None = None
    decile_error: float | None = None


@dataclass(frozen=True)
class Newcomers:
    """The candidate against `against` on customers who came lately; `difference` is candidate minus other.

    `who` says whom that means; `rest` is the same difference on everybody else, None if unknown.
    """

    who: str
    metric: str
    candidate: float
    other: float
    against: str
    difference: Estimate
    rest: float | None = None


@dataclass(frozen=True)
class Overlap:
    """Share of equal entries in top lists; `between` names the two."""

    share: float
    between: str
    same_recipe: bool

    def floor(self, gate: GateConfig) -> float:
        """What is wanted: more of two seeds of one recipe than of candidate and champion."""
        return gate.least_seed_overlap if self.same_recipe else gate.least_overlap


@dataclass(frozen=True)
class Cost:
    """Bytes, or seconds for 1,000 customers; the champion's if there is one."""

    candidate: float
    champion: float | None = None


@dataclass(frozen=True)
class FoldFigure:
    """The primary metric on one rolling fold; `champion` is None where the recipe is the same.

    `over_buy_again` is a recommender's gain over buying again, paired over customers.
    """

    cutoff: datetime
    candidate: float
    champion: float | None
    over_buy_again: Estimate | None = None

    def __str__(self) -> str:
        against = "" if self.champion is None else f" vs {self.champion:.4f}"
        gain = "" if self.over_buy_again is None else f" ({self.over_buy_again} over buying again)"
        return f"{self.cutoff:%Y-%m-%d} {self.candidate:.4f}{against}{gain}"


@dataclass(frozen=True)
class Evidence:
    """Everything that was measured of one candidate; see the functions below for each.

    `readback` and `stale` are shares of customers, `memory` is a share of the catalogue. `off_policy` is
    what the candidate adds to what was served, and the value of that.
    """

    answers: Answers | None = None
    readback: float | None = None
    memory: float | None = None
    stale: float | None = None
    replay: Replay | None = None
    calibration: Calibration | None = None
    newcomers: Newcomers | None = None
    folds: Sequence[FoldFigure] = ()
    overlap: Overlap | None = None
    size: Cost | None = None
    seconds: Cost | None = None
    off_policy: tuple[LoggedValue, LoggedValue] | None = None


# value models: a score for each row of a frame


def answers_of(scores: FloatArray) -> Answers:
    """Counts of a column of scores."""
    finite = scores[np.isfinite(scores)]
    return Answers(len(scores), len(finite), len(np.unique(finite)))


def readback(score: Score, rows: pd.DataFrame, evaluated: FloatArray) -> float:
    """Share of rows that a model read back from its files, asked in another order, scores differently."""
    backwards = rows.iloc[::-1].reset_index(drop=True)
    return _differing(score(backwards)[::-1], evaluated)


def replay(score: Score, rows: pd.DataFrame, past: pd.DataFrame) -> Replay:
    """Score the customers of `past`, whose features come from tables that end at the cut-off, again.

    A model that reads what only the future tells fails here: the column is absent or has another value.
    """
    both = rows.merge(past[[USER_ID]], on=USER_ID, how="inner")
    again = past.set_index(USER_ID).loc[both[USER_ID]].reset_index()
    try:
        return Replay(len(both), _differing(score(again), score(both)))
    except KeyError as error:
        return Replay(len(both), 1.0, f"it reads what nobody knows at the cut-off: {error.args[0]}")


def stale_share(rows: pd.DataFrame, last_orders: pd.DataFrame) -> float:
    """Share of customers whose `recency_days` is older than their last order in the marts.

    `last_orders`: `user_id`, `cutoff`, `last_order_days` (whole days from the end of the last day with an
    order to the cut-off), from `dataset.last_orders`.
    """
    both = rows[[USER_ID, CUTOFF, "recency_days"]].merge(last_orders, on=[USER_ID, CUTOFF], how="left")
    late = both["recency_days"] - both["last_order_days"] > 1.0 + ORDER_TOLERANCE_DAYS
    return float((late | both["recency_days"].isna()).mean())


def probability_calibration(truth: FloatArray, probability: FloatArray) -> Calibration:
    """Expected calibration error over ten bins."""
    known = np.isfinite(probability)
    inside = np.clip(probability[known], 0.0, 1.0)
    return Calibration(probability_error=expected_calibration_error(truth[known], inside))


def money_calibration(truth: FloatArray, predicted: FloatArray, deciles: int = 10) -> Calibration:
    """Predicted over real money, in all, and what deciles of the prediction miss as a share of all money."""
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, deciles)
    missed = sum(abs(float(predicted[part].sum() - truth[part].sum())) for part in parts)
    total = max(float(truth.sum()), 1e-9)
    return Calibration(total_ratio=float(predicted.sum()) / total, decile_error=missed / total)


def newcomers(
    rows: pd.DataFrame,
    truth: FloatArray,
    candidate: FloatArray,
    others: dict[str, FloatArray],
    metric: str,
    function: Metric,
    seed: int,
) -> Newcomers | None:
    """On customers whose first order is at most 90 days old: against the best of `others`.

    None if they are too few to tell, or all of one kind.
    """
    new = rows["tenure_days"].to_numpy(dtype=np.float64) <= NEWCOMER_DAYS
    if new.sum() < LEAST_NEWCOMERS or np.ptp(truth[new]) == 0.0 or not np.isfinite(candidate[new]).all():
        return None
    values = {name: function(truth[new], score[new]) for name, score in others.items()}
    values = {name: value for name, value in values.items() if np.isfinite(value)}
    if not values:
        return None
    best = max(values, key=lambda name: values[name])

    def difference(y: FloatArray, a: FloatArray, b: FloatArray) -> float:
        return float(function(y, a)) - float(function(y, b))

    columns = truth[new], candidate[new], others[best][new]
    paired = bootstrap_statistic(difference, *columns, seed=seed, draws=200)
    who = f"{int(new.sum())} whose first order is at most {NEWCOMER_DAYS:.0f} days old"
    rest = difference(truth[~new], candidate[~new], others[best][~new])
    return Newcomers(who, metric, float(function(*columns[:2])), values[best], best, paired, rest)


def top_overlap(first: FloatArray, second: FloatArray, between: str, same_recipe: bool) -> Overlap:
    """How many of the best tenth by one score are in the best tenth by the other."""
    size = max(1, int(TOP_SHARE * len(first)))
    one, other = (set(np.argsort(-score, kind="stable")[:size].tolist()) for score in (first, second))
    return Overlap(len(one & other) / size, between, same_recipe)


def scoring_cost(score: Callable[[], object], champion: Callable[[], object] | None, customers: int) -> Cost:
    """Seconds for 1,000 customers: the fastest of several, the champion's in turns with the candidate's.

    Calls of milliseconds are repeated for `TIMED_SECONDS`: of a few, a neighbour may slow every one.
    """
    both = [score] if champion is None else [score, champion]
    taken: list[list[float]] = []
    while len(taken) < REPEATS or sum(map(sum, taken)) < TIMED_SECONDS:
        taken.append([_seconds(one) for one in both])
    return Cost(*(min(column) * 1000.0 / customers for column in zip(*taken, strict=True)))


def _seconds(call: Callable[[], object]) -> float:
    started = perf_counter()
    call()
    return perf_counter() - started


def timed_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """A thousand rows, repeated if there are fewer: so that what a call costs by itself counts alike."""
    return rows.iloc[np.arange(TIMED_ROWS) % len(rows)].reset_index(drop=True)


def size_cost(files: Path, champion: Path | None) -> Cost:
    """Bytes below the directories."""
    return Cost(_bytes(files), None if champion is None else _bytes(champion))


# recommenders: a list for each user


def list_answers(scorer: Scorer, users: Positions, k: int = 20) -> Answers:
    """Rows with a NaN or +inf count as not finite; -inf is an item that cannot be recommended."""
    finite, lists = 0, []
    for _, scores in score_blocks(scorer, users):
        finite += int((~(np.isnan(scores) | np.isposinf(scores)).any(axis=1)).sum())
        lists.append(top_items(np.where(np.isnan(scores), np.float32(-np.inf), scores), k).positions)
    distinct = len(np.unique(np.concatenate(lists), axis=0)) if lists else 0
    return Answers(len(users), finite, distinct, "lists")


def list_overlap(
    one: Scorer, other: Scorer, users: Positions, between: str, same_recipe: bool, k: int = 20
) -> Overlap:
    """Mean share of the first k items that two recommenders have in common, over users."""
    shares = [
        len(set(mine) & set(theirs)) / max(1, min(len(mine), len(theirs)))
        for mine, theirs in zip(_lists(one, users, k), _lists(other, users, k), strict=True)
    ]
    return Overlap(float(np.mean(shares)), between, same_recipe)


def list_readback(one: Scorer, other: Scorer, users: Positions, k: int = 20) -> float:
    """Share of users whose first k items differ."""
    pairs = zip(_lists(one, users, k), _lists(other, users, k), strict=True)
    return float(np.mean([mine != theirs for mine, theirs in pairs]))


def memory(
    scorer_of: Callable[[Interactions], Scorer], interactions: Interactions, users: Positions
) -> float:
    """Mean share of the catalogue that scores below what a user bought and the scorer is not told.

    Of each user's pairs half are hidden; the model was fitted on all of them. So this is no test of quality,
    it asks whether the model's vectors belong to its ids: by chance one half.
    """
    items = len(interactions.items)
    pairs = interactions.user.astype(np.uint64) * np.uint64(items) + interactions.item.astype(np.uint64)
    hidden = ((pairs * HASH) >> np.uint64(40)) % np.uint64(2) == 0
    told = replace(
        interactions,
        **{
            name: getattr(interactions, name)[~hidden]
            for name in ("user", "item", "age_days", "purchase_count", "strength")
        },
    )
    shares = []
    for block, scores in score_blocks(scorer_of(told), users):
        bought = interactions.bought[block].toarray() > 0
        asked = bought & ~(told.bought[block].toarray() > 0)
        for row in np.flatnonzero(np.isfinite(scores).any(axis=1)):
            mine, rest = scores[row, asked[row]], np.sort(scores[row, ~bought[row]])
            if len(mine) and len(rest):
                below = np.searchsorted(rest, mine) + np.searchsorted(rest, mine, side="right")
                shares.append(float(below.mean()) / 2.0 / len(rest))
    return float(np.mean(shares)) if shares else 1.0


def _lists(scorer: Scorer, users: Positions, k: int) -> list[list[int]]:
    found: list[list[int]] = []
    for _, scores in score_blocks(scorer, users):
        top = top_items(scores, k)
        lengths = top.lengths()
        found += [row[:length].tolist() for row, length in zip(top.positions, lengths, strict=True)]
    return found


def _differing(first: FloatArray, second: FloatArray) -> float:
    if not len(first):
        return 0.0
    same = np.isclose(first, second, rtol=RELATIVE_TOLERANCE, atol=1e-9, equal_nan=True)
    return float(1.0 - same.mean())


def _bytes(directory: Path) -> float:
    return float(sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()))
