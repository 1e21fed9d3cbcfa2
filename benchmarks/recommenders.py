"""Recommenders on any data set: every source, the blend and the ranker beside popularity and neighbours.

    python -m benchmarks.recommenders --data DIR --protocol global-time --cutoff 2010-09-01
    python -m benchmarks.recommenders --data DIR --protocol leave-last-out
    python -m benchmarks.recommenders --data DIR --protocol given-split

DIR holds Parquet with `user_id, item_id` and optionally `event_at`, `position`, `quantity`. Items of one user
with the same `event_at` or `position` are one basket. A given split is a file named with 'test' and others;
`--columns user_id=customer_id,...` names columns that are called otherwise.

- global-time: labels are what known users take in `--horizon-days` from `--cutoff` (default: to the end).
  `--folds N` measures N - 1 earlier cut-offs besides, `--fold-step-days` apart: each with labels for as many
  days as the test, tuned and fitted only on what lies before it. Compare within a fold: seasons differ.
- leave-last-out: labels are each user's last basket.
- given-split: labels are the test file's.

Everything is tuned on a fold carved from the training part in the manner of the test, which is scored once.
Whether items that a user took before may be recommended is decided there too (`--seen`). Where they may, a
second table ranks only items that are new to the user, with labels likewise. Labels that training never saw
are misses. Intervals are 95 %, by bootstrap over users.
"""

import argparse
import json
import logging
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from benchmarks.interaction_files import (
    Dataset,
    Rows,
    Split,
    UnusableData,
    as_day,
    find_files,
    history_of_rows,
    index_rows,
    read_rows,
)
from training.errors import NotEnoughData
from training.holdouts import Holdout, by_time, last_basket, last_share, random_pairs
from training.identifiers import UNKNOWN, Positions
from training.intervals import Estimate, bootstrap_means, paired_difference
from training.ranking_metrics import coverage_at, hit_rate_at, hits_of, ndcg_at, recall_at, reciprocal_rank
from training.sources.history import History
from training.two_stage import FittedSources, Plan, Scope, TwoStageConfig, fit, tune

METRICS = (
    "recall_at_10",
    "recall_at_20",
    "ndcg_at_10",
    "ndcg_at_20",
    "hit_rate_at_10",
    "hit_rate_at_20",
    "mrr",
)
GAINS = ("recall_at_20", "ndcg_at_20", "hit_rate_at_10")
NOVELTY = "novelty_at_20"
COVERAGE = "coverage_at_20"
TEST_BLOCK = 4_000


@dataclass(frozen=True)
class Row:
    """One recommender in one scope: estimates by metric, and one value per user of each metric."""

    scope: Scope
    name: str
    metrics: Mapping[str, Estimate]
    per_user: Mapping[str, npt.NDArray[np.float64]]
    fit_seconds: float | None


@dataclass(frozen=True)
class Result:
    """One split, tuned, fitted and measured."""

    plan: Plan
    rows: Sequence[Row]
    positions: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    seconds: Mapping[str, float]

    def row(self, scope: Scope, name: str) -> Row:
        """One row of the tables."""
        return next(row for row in self.rows if (row.scope, row.name) == (scope, name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, writes, and returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    started = time.perf_counter()
    try:
        split, folds = load(options)
        results = [run(split.test, folds, options)]
        print_result(split, folds, results[0], options)
        for number, test in enumerate(split.earlier, start=1):
            print(f"\nRolling fold {number}: cut-off {_date(test.history.end)}, {len(test.users)} users")
            inner = _by_time_folds(test.history, split.horizon, options.ranker_folds)
            results.append(run(test, inner, options))
            print_gain(results[-1])
        if split.earlier:
            print(f"\n{gains_of_folds([split.test, *split.earlier], results)}")
    except (UnusableData, NotEnoughData) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = time.perf_counter() - started
    print(f"\nWhole run {seconds:.0f} s, peak memory {peak:.2f} GiB")
    if options.json:
        content = {
            "data": str(options.data or options.train),
            "protocol": options.protocol,
            "seconds": seconds,
            "peak_gib": peak,
            "folds": [describe(result) for result in results],
        }
        options.json.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
    if options.out:
        write_lists(options.out, split, results[0], options.depth)
    return 0


def load(options: argparse.Namespace) -> tuple[Split, list[Holdout]]:
    """The test split, and the folds of its training part: the first to tune on, all for the ranker."""
    columns = dict(pair.split("=", 1) for pair in options.columns.split(",")) if options.columns else {}
    read = {"columns": columns, "item_pattern": options.item_pattern, "by_day": options.by_day}
    if options.folds > 1 and options.protocol != "global-time":
        raise UnusableData(f"--folds rolls over time; --protocol {options.protocol} has one test, so use 1")
    if options.protocol == "given-split":
        train_files = options.train or find_files(options.data, given_split=True)
        test_files = options.test or find_files(options.data, test=True, given_split=True)
        train, test = read_rows(train_files, **read), read_rows(test_files, **read)
        _report_dropped(train, test)
        dataset, (known, later) = index_rows([train, test])
        history = history_of_rows(train, known, dataset)
        split = given_split(dataset, history, later)
        return split, carve_like(
            split, (train, known[0]), (test, later[0]), options.ranker_folds, options.seed
        )
    rows = read_rows(find_files(options.data), **read)
    _report_dropped(rows)
    if rows.clock == "none":
        raise UnusableData(
            f"{options.data} has neither event_at nor position, so it has no order; use --protocol"
            " given-split, or say where the order is: --columns event_at=COLUMN"
        )
    dataset, (positions,) = index_rows([rows])
    whole = history_of_rows(rows, positions, dataset)
    nobody = np.empty(0, dtype=np.int64)
    if options.protocol == "leave-last-out":
        test_fold = last_basket(whole)
        return Split(dataset, test_fold, nobody), _nested(test_fold.history, options.ranker_folds)
    if rows.clock != "days":
        raise UnusableData(f"{options.data} has no event_at; use --protocol leave-last-out")
    span = float(whole.at.max() - whole.at.min())
    cutoff = (
        as_day(options.cutoff)
        if options.cutoff
        else float(whole.at.max()) - (options.horizon_days or 0.2 * span)
    )
    horizon = options.horizon_days or float(np.floor(whole.at.max()) + 1 - cutoff)
    test_fold = by_time(whole, cutoff, horizon)
    earlier = rolling_folds(whole, cutoff, horizon, options.fold_step_days, options.folds - 1)
    split = Split(dataset, test_fold, nobody, tuple(earlier), horizon)
    return split, _by_time_folds(test_fold.history, horizon, options.ranker_folds)


def given_split(
    dataset: Dataset, history: History, later: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
) -> Split:
    """Labels from the test rows of users that training knows."""
    labels = sparse.csr_matrix((np.ones(len(later[0]), np.float32), later), shape=history.shape)
    labels.sum_duplicates()
    labels.data = np.ones_like(labels.data)
    tested = np.flatnonzero(np.diff(labels.indptr))
    known = history.baskets_of_user[tested] > 0
    users = tested[known].astype(np.int64)
    if not len(users):
        raise UnusableData("no user of the test file is in the training file; check the two files' user_id")
    test = Holdout(history, users, labels[users], np.zeros(len(users), dtype=np.int64))
    return Split(dataset, test, tested[~known].astype(np.int64))


def carve_like(
    split: Split, train: tuple[Rows, Positions], test: tuple[Rows, Positions], count: int, seed: int
) -> list[Holdout]:
    """Folds of the training part that look as the given test does: later in time, last baskets, or random.

    `train` and `test` are rows with the positions of their users. Without an order in both, the size of the
    test tells whether it is a last basket.
    """
    history, labels = split.test.history, split.test.labels
    share = labels.nnz / max(1, labels.nnz + int(history.taken[split.test.users].nnz))
    if not history.has_order:
        return [random_pairs(history, share, seed)]
    (known, users), (later, testers) = train, test
    if known.at is None or later.at is None or known.clock != later.clock:
        size = len(history) / max(1, int(history.baskets_of_user.sum()))
        baskets = labels.nnz / len(split.test.users) / size
        return _nested(history, count) if baskets < 1.5 else [last_share(history, share)]
    if known.clock == "days" and later.at.min() >= known.at.max():
        return _by_time_folds(history, float(np.floor(later.at.max()) + 1 - later.at.min()), count)
    last_known = np.full(history.shape[0], -np.inf)
    np.maximum.at(last_known, users, known.at)
    if (later.at >= last_known[testers]).mean() < 0.9:
        return [random_pairs(history, share, seed)]
    baskets = len(np.unique(np.column_stack([testers, later.at]), axis=0)) / len(np.unique(testers))
    return _nested(history, count) if baskets < 1.5 else [last_share(history, share)]


def run(test: Holdout, folds: Sequence[Holdout], options: argparse.Namespace) -> Result:
    """Tune on `folds`, fit on everything before the test, score the test once."""
    config = TwoStageConfig(seen=options.seen)
    if options.tune_seconds:
        config = replace(config, portfolio=replace(config.portfolio, seconds=options.tune_seconds))
    seeds = [options.seed + number for number in range(options.seeds)]
    plan = tune(folds, config, seeds)
    started = time.perf_counter()
    fitted = fit(plan, test.history, seeds[0])
    seconds = dict(plan.seconds) | {"fit sources on all": time.perf_counter() - started}
    started = time.perf_counter()
    lists = ranked_lists(plan, fitted, test, options.depth)
    seconds["rank for all test users"] = time.perf_counter() - started
    rows = []
    for (scope, name), (positions, _) in lists.items():
        rows.append(measure(test, scope, name, positions, fitted.seconds.get(name), options.seed))
    positions, scores = lists["all", "final"]
    return Result(plan, rows, positions, scores, seconds)


Lists = dict[tuple[Scope, str], tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]


def ranked_lists(plan: Plan, fitted: FittedSources, test: Holdout, depth: int) -> Lists:
    """Each recommender's list in each scope, in blocks of users."""
    parts: dict[tuple[Scope, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for start in range(0, len(test.users), TEST_BLOCK):
        swept = fitted.sweep(test.users[start : start + TEST_BLOCK])
        for scope in plan.orders:
            for name, found in (swept.lists if scope == "all" else swept.new_lists).items():
                deep = found[:, :depth].astype(np.int64)
                parts.setdefault((scope, name), []).append((deep, np.empty((0, 0), np.float32)))
            order = plan.orders[scope]
            ways = ["blend", *(["ranker"] if order.ranker is not None else [])]
            for way in ways:
                parts.setdefault((scope, way), []).append(plan.rank(swept.table, scope, depth, way))
            parts.setdefault((scope, "final"), []).append(plan.rank(swept.table, scope, depth))
    return {
        key: (
            np.concatenate([positions for positions, _ in found]),
            np.concatenate([scores for _, scores in found]),
        )
        for key, found in parts.items()
    }


def measure(
    test: Holdout, scope: Scope, name: str, positions: npt.NDArray[np.int64], seconds: float | None, seed: int
) -> Row:
    """All metrics of one recommender's lists."""
    labels = test.labels if scope == "all" else test.new_labels()
    counts = np.asarray(np.diff(labels.indptr) + test.unknown_labels, dtype=np.int64)
    hits = hits_of(positions, labels)
    takers = test.history.takers()
    rarity = -np.log2(np.maximum(takers, 1.0) / max(1, int((test.history.baskets_of_user > 0).sum())))
    shown = positions[:, :20]
    novelty = np.where(shown != UNKNOWN, rarity[shown], np.nan)
    per_user = {
        "recall_at_10": recall_at(hits, counts, 10),
        "recall_at_20": recall_at(hits, counts, 20),
        "ndcg_at_10": ndcg_at(hits, counts, 10),
        "ndcg_at_20": ndcg_at(hits, counts, 20),
        "hit_rate_at_10": hit_rate_at(hits, counts, 10),
        "hit_rate_at_20": hit_rate_at(hits, counts, 20),
        "mrr": reciprocal_rank(hits, counts),
        NOVELTY: np.where(
            (shown != UNKNOWN).any(axis=1),
            np.nansum(novelty, axis=1) / np.maximum((shown != UNKNOWN).sum(axis=1), 1),
            np.nan,
        ),
    }
    estimates = bootstrap_means(np.column_stack(list(per_user.values())), seed=seed, draws=400)
    metrics = dict(zip(per_user, estimates, strict=True))
    metrics[COVERAGE] = Estimate.exact(coverage_at(positions, int((takers > 0).sum()), 20))
    return Row(scope, name, metrics, per_user, seconds)


def rolling_folds(whole: History, cutoff: float, horizon: float, step: float, count: int) -> list[Holdout]:
    """The same test at `count` cut-offs before `cutoff`, latest first, each with labels for `horizon` days.

    Raises `UnusableData` where less than one horizon is left before a cut-off: nothing could be tuned there.
    """
    first = float(whole.at.min())
    usable = int((cutoff - first - horizon) // step)
    if usable < count:
        raise UnusableData(
            f"--folds {count + 1} reaches to {_date(cutoff - count * step)}, less than {horizon:g} days after"
            f" the first row ({_date(first)}); use --folds {max(0, usable) + 1} or fewer --fold-step-days"
        )
    return [by_time(whole, cutoff - number * step, horizon) for number in range(1, count + 1)]


def print_result(split: Split, folds: Sequence[Holdout], result: Result, options: argparse.Namespace) -> None:
    """The tables, what was chosen, and the gains."""
    test, plan = split.test, result.plan
    history = test.history
    print(
        f"Training: {len(history)} rows, {int((history.baskets_of_user > 0).sum())} users,"
        f" {int((history.takers() > 0).sum())} items. Test: {len(test.users)} users,"
        f" {int(test.label_count.sum())} labels ({test.repeat_share():.1%} taken before)."
        f" Users without history, not measured: {len(split.strangers)}."
    )
    print(
        f"Validation: {len(folds[0].users)} users, {plan.repeat_share:.1%} of labels taken before,"
        f" so items taken before are {'excluded' if plan.exclude_taken else 'kept'} (--seen {options.seen})."
    )
    for scope, order in plan.orders.items():
        figures = ", ".join(f"{name} {value:.4f}" for name, value in order.validation.items())
        print(f"Final order, {scope}: {order.method} (validation Recall@20 + NDCG@20: {figures})")
        weights = ", ".join(f"{name} {weight:g}" for name, weight in order.weights.items())
        print(f"  blend: {weights}")
        if order.ranker is not None:
            gains = list(order.ranker.gain().items())[:8]
            print(f"  ranker's gain: {', '.join(f'{name} {share:.0%}' for name, share in gains)}")
    for scope in plan.orders:
        title = "all items" if scope == "all" else "new to the user only"
        print(f"\n{title}\n\n{table_of([row for row in result.rows if row.scope == scope])}")
    print()
    print_gain(result)
    print("\nSources: " + "; ".join(str(source) for source in plan.sources))
    print("Seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in result.seconds.items()))


def print_gain(result: Result) -> None:
    """Paired differences of what is final, to the rows that it must beat."""
    for scope, order in result.plan.orders.items():
        against = dict.fromkeys(
            [order.single, "blend", "popularity", "neighbours", *(["buy_again"] if scope == "all" else [])]
        )
        mine = result.row(scope, "final")
        print(f"{scope}: final is {order.method}; {_short(mine)}")
        for name in against:
            if (scope, name) not in {(row.scope, row.name) for row in result.rows}:
                continue
            other = result.row(scope, name)
            gains = [
                f"{metric} {paired_difference(mine.per_user[metric], other.per_user[metric], seed=0)}"
                for metric in GAINS
            ]
            print(f"  minus {name}: {', '.join(gains)}")


def gains_of_folds(tests: Sequence[Holdout], results: Sequence[Result]) -> str:
    """Markdown: for each fold and scope, what is final and its paired gain over the best simple baseline.

    The baseline is buying again where taken items may be recommended, else the better by Recall@20 of
    popularity and neighbours.
    """
    lines = ["| cut-off | scope | recommender | " + " | ".join(map(_title, GAINS)) + " |", "|---" * 6 + "|"]
    for test, result in zip(tests, results, strict=True):
        for scope in result.plan.orders:
            mine = result.row(scope, "final")
            named = {row.name: row for row in result.rows if row.scope == scope}
            simple = [named[name] for name in ("popularity", "neighbours") if name in named]
            base = max(simple, key=lambda row: row.metrics["recall_at_20"].value)
            if scope == "all" and "buy_again" in named:
                base = named["buy_again"]
            gains = [paired_difference(mine.per_user[one], base.per_user[one], seed=0) for one in GAINS]
            start = f"| {_date(test.history.end)} | {scope} |"
            lines.append(f"{start} final | {' | '.join(_cell(mine.metrics[one]) for one in GAINS)} |")
            lines.append(f"{start} minus {base.name} | {' | '.join(map(str, gains))} |")
    return "\n".join(lines)


def table_of(rows: Sequence[Row]) -> str:
    """Markdown: value and half the width of the interval."""
    columns = [*METRICS, COVERAGE, NOVELTY]
    lines = ["| recommender | " + " | ".join(_title(name) for name in columns) + " | fit s |"]
    lines.append("|---|" + "---|" * (len(columns) + 1))
    for row in rows:
        cells = [_cell(row.metrics[name]) for name in columns]
        fit_seconds = "" if row.fit_seconds is None else f"{row.fit_seconds:.1f}"
        lines.append(f"| {row.name} | {' | '.join(cells)} | {fit_seconds} |")
    return "\n".join(lines)


def describe(result: Result) -> dict[str, object]:
    """JSON form of one fold."""
    return {
        "exclude_taken": result.plan.exclude_taken,
        "repeat_share_in_validation": result.plan.repeat_share,
        "orders": {
            scope: {
                "method": order.method,
                "best_single": order.single,
                "blend": dict(order.weights),
                "validation": dict(order.validation),
            }
            for scope, order in result.plan.orders.items()
        },
        "sources": [asdict(source) | {"kind": type(source).__name__} for source in result.plan.sources],
        "seconds": dict(result.seconds),
        "rows": [
            {
                "scope": row.scope,
                "name": row.name,
                "fit_seconds": row.fit_seconds,
                "metrics": {name: estimate.to_dict() for name, estimate in row.metrics.items()},
            }
            for row in result.rows
        ],
    }


def write_lists(path: Path, split: Split, result: Result, depth: int) -> None:
    """Each test user's list by the final recommender; users without history get what is popular."""
    test, dataset = split.test, split.dataset
    rows, ranks = np.nonzero(result.positions != UNKNOWN)
    users = test.users[rows]
    items, scores = result.positions[rows, ranks], result.scores[rows, ranks]
    takers = test.history.takers()
    popular = np.argsort(-takers, kind="stable")[:depth]
    popular = popular[takers[popular] > 0]
    strangers = split.strangers
    frame = pd.DataFrame(
        {
            "user_id": dataset.users[np.r_[users, np.repeat(strangers, len(popular))]],
            "item_id": dataset.items[np.r_[items, np.tile(popular, len(strangers))]],
            "rank": np.r_[ranks + 1, np.tile(np.arange(len(popular)) + 1, len(strangers))].astype(np.int32),
            "score": np.r_[scores, np.tile(takers[popular], len(strangers))].astype(np.float32),
        }
    )
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)


def _by_time_folds(history: History, horizon: float, count: int) -> list[Holdout]:
    """Folds whose labels end by the end of `history`: the latest first, others a third of a horizon apart."""
    span = history.end - float(history.at.min())
    horizon = min(horizon, span / 2)
    folds = [by_time(history, history.end - horizon, horizon)]
    for number in range(1, count):
        cutoff = history.end - horizon - number * horizon / 3
        if cutoff - float(history.at.min()) >= horizon / 2:
            folds.append(by_time(history, cutoff, horizon))
    return folds


def _nested(history: History, count: int) -> list[Holdout]:
    """The last baskets, then the ones before them, and so on while enough users have some."""
    folds = [last_basket(history)]
    while len(folds) < count:
        known = folds[-1].history
        if int((known.baskets_of_user > 2).sum()) < 0.3 * len(folds[0].users):
            break
        folds.append(last_basket(known))
    return folds


def _report_dropped(*parts: Rows) -> None:
    for part in parts:
        for reason, count in part.dropped.items():
            print(f"left out {count} rows: {reason}")


def _date(days: float) -> str:
    return str(np.datetime64(int(days), "D"))


def _title(metric: str) -> str:
    return metric.replace("_at_", "@").replace("hit_rate", "hit")


def _cell(estimate: Estimate) -> str:
    half = (estimate.high - estimate.low) / 2
    return f"{estimate.value:.4f}" + (f" ±{half:.4f}" if half else "")


def _short(row: Row) -> str:
    names = ("recall_at_10", "recall_at_20", "ndcg_at_20", "hit_rate_at_10", "hit_rate_at_20")
    return ", ".join(f"{_title(name)} {row.metrics[name].value:.4f}" for name in names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recommenders",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="a folder with Parquet, or one Parquet file")
    parser.add_argument("--train", type=Path, nargs="+", help="training files of a given split")
    parser.add_argument("--test", type=Path, nargs="+", help="test files of a given split")
    parser.add_argument("--protocol", required=True, choices=("global-time", "leave-last-out", "given-split"))
    parser.add_argument("--cutoff", help="first day of the labels, such as 2010-09-01 (global-time)")
    parser.add_argument("--horizon-days", type=float, help="days of labels (default: to the end)")
    parser.add_argument(
        "--columns", help="our=theirs, comma-separated: user_id=customer_id,event_at=bought_on"
    )
    parser.add_argument("--item-pattern", help="only items that match this regular expression whole")
    parser.add_argument("--by-day", action="store_true", help="a day is a basket, not an instant")
    parser.add_argument(
        "--seen", choices=("auto", "keep", "exclude"), default="auto", help="items that the user took before"
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds that the ranker averages (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--depth", "-k", type=int, default=50, help="length of the lists (default 50)")
    parser.add_argument("--ranker-folds", type=int, default=3, help="folds that train the ranker (default 3)")
    parser.add_argument("--folds", type=int, default=1, help="rolling test folds, the test among them")
    parser.add_argument("--fold-step-days", type=float, default=30.0, help="days between rolling folds")
    parser.add_argument("--tune-seconds", type=float, help="time for the search over sources (default 150)")
    parser.add_argument("--json", type=Path, help="write tables and choices to this file")
    parser.add_argument("--out", type=Path, help="write each user's final list to this Parquet file")
    parser.add_argument("--verbose", action="store_true", help="say what the search does")
    return parser


if __name__ == "__main__":
    sys.exit(main())
