"""Recommendation in two stages: sources propose, a blend or a ranker orders, a validation fold decides.

    plan = tune(folds, config, seeds)                    # folds: holdouts carved from the training part
    fitted = fit(plan, history, seed)                    # the sources, on everything known
    swept = fitted.sweep(users)                          # candidates with features, and each source's list
    items, scores = plan.rank(swept.table, "all", depth)

What is decided on the first fold, and on it alone: whether items that the user took may be recommended, the
sources' parameters, the weights of the blend, and which of single source, blend and ranker is used. The
ranker is judged cross-fitted, each half of the users by the trees of the other half, so the three are
compared on users that none of the trees has seen; the trees of all halves together then are the ranker.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.candidate_table import CandidateTable, Sweep, SweepConfig, sweep
from training.cores import run_side_by_side
from training.errors import NotEnoughData
from training.holdouts import Holdout
from training.identifiers import Positions
from training.item_matrices import ItemMatrices
from training.pair_features import PairFeatures
from training.ranker import Ranker, RankerConfig, fit_ranker
from training.ranking_metrics import hits_of, ndcg_at, recall_at
from training.sources.habits import BuyAgainConfig, PopularityConfig
from training.sources.history import Flags, History, Single
from training.sources.linear import GraphFilterConfig
from training.sources.portfolio import (
    Portfolio,
    PortfolioConfig,
    SourceConfig,
    SourceScorer,
    choose_portfolio,
)
from training.top_items import Scorer, recommend

logger = logging.getLogger(__name__)

Scope = Literal["all", "new"]
Seen = Literal["auto", "keep", "exclude"]
Method = Literal["single", "blend", "ranker"]
K = 20
GROUPS = {
    "collaborative": ("als", "spectral", "user_neighbours"),
    "content": ("graph_filter", "neighbours", "transitions", "ease", "content"),
    "habit": ("buy_again", "interest", "popularity", "trending"),
}
"""Kinds of sources, by how their names begin: latent taste, items alike, what is taken anyway."""


@dataclass(frozen=True)
class TwoStageConfig:
    """Everything that a run may set.

    Each source proposes `per_source` items a user, of which the blend passes `kept` to the ranker. Users are
    drawn: at most `fold_users` of the validation fold, `more_users` of each fold that only trains the ranker,
    and `blend_users` for the search of weights. With `blend` nothing is searched: it holds the weights of
    the best source of each of `GROUPS`. With `least_gain` only sources are kept that make a blend better by
    more than this share: what every later fit and every list costs is the number of sources.
    """

    seen: Seen = "auto"
    portfolio: PortfolioConfig = PortfolioConfig()
    ranker: RankerConfig = RankerConfig()
    per_source: int = 60
    kept: int = 150
    fold_users: int = 12_000
    more_users: int = 6_000
    blend_users: int = 4_000
    blend: tuple[float, ...] | None = None
    least_gain: float | None = None


@dataclass(frozen=True)
class Order:
    """How candidates are ordered in one scope, with what each way reached on the validation fold.

    The ranker orders the `kept` candidates that the blend puts first.
    """

    method: Method
    single: str
    weights: Mapping[str, float]
    kept: int
    ranker: Ranker | None
    validation: Mapping[str, float]

    def rank(
        self, table: CandidateTable, depth: int, method: Method | None = None
    ) -> tuple[npt.NDArray[np.int64], Single]:
        """The best items of each user, by the chosen method or another: positions (-1 padded), scores."""
        wanted = method or self.method
        if wanted != "ranker":
            weights = self.weights if wanted == "blend" else {self.single: 1.0}
            return table.ranked(weighted_sum(table, weights), depth)
        if self.ranker is None:
            raise ValueError("this order has no ranker; choose 'single' or 'blend'")
        thinned = thin(table, self.weights, self.kept)
        return thinned.ranked(self.ranker.score(thinned), depth)


@dataclass(frozen=True)
class Plan:
    """What tuning decided; pure data and trees, usable on any later history of the same positions.

    `further`: names of the scorers that were given beside the sources.
    """

    sources: tuple[SourceConfig, ...]
    exclude_taken: bool
    repeat_share: float
    per_source: int
    orders: Mapping[Scope, Order]
    further: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def rank(
        self, table: CandidateTable, scope: Scope, depth: int, method: Method | None = None
    ) -> tuple[npt.NDArray[np.int64], Single]:
        """The best items of each user of `table`: positions (-1 where there is none) and scores."""
        part = table.select(~table.taken) if scope == "new" and not self.exclude_taken else table
        return self.orders[scope].rank(part, depth, method)


@dataclass(frozen=True)
class FittedSources:
    """The sources of a plan, fitted, and `further` scorers; `seconds` tells what each took."""

    scorers: tuple[SourceScorer, ...]
    further: tuple[Scorer, ...]
    features: PairFeatures
    config: SweepConfig
    seconds: Mapping[str, float]

    def sweep(self, users: Positions) -> Sweep:
        """Candidates of `users`, in blocks."""
        return sweep((*self.scorers, *self.further), self.features, users, self.config)

    def for_users(self, history: History, before: Positions, further: Sequence[Scorer]) -> "FittedSources":
        """What was fitted, for users with other histories of the same items; see `SourceScorer`."""
        scorers = tuple(scorer.for_users(history, before) for scorer in self.scorers)
        return replace(
            self, scorers=scorers, further=tuple(further), features=self.features.for_users(history)
        )


def fit(
    plan: Plan, history: History, seed: int, further: Sequence[Scorer] = (), kept: Path | None = None
) -> FittedSources:
    """Fit every source of the plan on `history`; `further` are those that `tune` was given, fitted on it.

    `kept`: a folder in which item matrices outlive the process (`training.item_matrices`).
    """
    matrices = None if kept is None else ItemMatrices(kept, history, seed)
    scorers: list[SourceScorer] = []
    seconds = {}
    for source in plan.sources:
        started = time.perf_counter()
        scorers.append(source.fit(history, seed) if matrices is None else matrices.fit(source))
        seconds[source.name] = time.perf_counter() - started
    if matrices is not None:
        matrices.forget_others()
    config = SweepConfig(plan.per_source, exclude_taken=plan.exclude_taken)
    return FittedSources(tuple(scorers), tuple(further), PairFeatures(history), config, seconds)


def tune(
    folds: Sequence[Holdout],
    config: TwoStageConfig,
    seeds: Sequence[int],
    further: Sequence[Sequence[Scorer]] = (),
    start: Plan | None = None,
) -> Plan:
    """Decide everything on `folds`; the first is the validation fold, the others only train the ranker.

    `further` holds scorers for each fold that no portfolio knows, fitted on the fold's history. With `start`
    its sources and its exclusion are kept, so that only blend and ranker are learned anew.
    """
    main, seed = folds[0], seeds[0]
    started = time.perf_counter()
    exclude, portfolio = portfolio_of(main, config, seed, start)
    if config.least_gain is not None and start is None:
        others = further[0] if further else ()
        portfolio = needed_sources(portfolio, others, main, exclude, config, config.least_gain, seed)
    seconds = {"tune sources": time.perf_counter() - started}
    started = time.perf_counter()
    scorers = fold_scorers(folds, portfolio, seed)
    if further:
        scorers = ((*own, *others) for own, others in zip(scorers, further, strict=True))
    parts = candidates_of_folds(folds, scorers, exclude, config, seed)
    seconds["candidates of the folds"] = time.perf_counter() - started
    started = time.perf_counter()
    orders = {scope: judge(parts, scope, config, seeds).order(config.kept) for scope in scopes_of(exclude)}
    seconds["blend and ranker"] = time.perf_counter() - started
    names = tuple(one.name for one in further[0]) if further else ()
    return Plan(portfolio.sources, exclude, main.repeat_share(), config.per_source, orders, names, seconds)


def scopes_of(exclude_taken: bool) -> tuple[Scope, ...]:
    """Where nothing that was taken is offered, everything is new."""
    return ("all",) if exclude_taken else ("all", "new")


def portfolio_of(
    main: Holdout, config: TwoStageConfig, seed: int, start: Plan | None
) -> tuple[bool, Portfolio]:
    """Whether taken items are left out, and the sources: those of `start`, else what suits `main`."""
    if start is not None:
        fitted = tuple(source.fit(main.history, seed) for source in start.sources)
        return start.exclude_taken, Portfolio(start.sources, fitted)
    exclude = decide_exclusion(main, config.seen, seed)
    return exclude, choose_portfolio(main, exclude, config.portfolio, seed)


def needed_sources(
    portfolio: Portfolio,
    further: Sequence[Scorer],
    main: Holdout,
    exclude_taken: bool,
    config: TwoStageConfig,
    least_gain: float,
    seed: int,
) -> Portfolio:
    """Those that a blend of any scope cannot do without, beside `further`, and the best one for everybody."""
    fold = main.sample(config.portfolio.sample_users, seed)
    swept = SweepConfig(config.per_source, exclude_taken=exclude_taken)
    table = sweep((*portfolio.scorers, *further), PairFeatures(main.history), fold.users, swept).table
    needed = set()
    for scope in scopes_of(exclude_taken):
        part, of = _scoped(table, fold, scope)
        relevant = part.relevance(of.labels)
        blend, _ = tune_blend(part, of, relevant, config.blend_users, seed, least_gain)
        needed |= set(blend)
    popular = [one.name for one in portfolio.sources if isinstance(one, PopularityConfig)]
    needed.add(max(popular, key=lambda name: _quality(part, of, weighted_sum(part, {name: 1.0}))))
    return portfolio.only(needed)


def fold_scorers(folds: Sequence[Holdout], portfolio: Portfolio, seed: int) -> Iterator[tuple[Scorer, ...]]:
    """The sources fitted on each fold's history, one fold at a time; the portfolio has the first fold's."""
    yield portfolio.scorers
    for fold in folds[1:]:
        yield tuple(source.fit(fold.history, seed) for source in portfolio.sources)


def candidates_of_folds(
    folds: Sequence[Holdout],
    scorers: Iterable[Sequence[Scorer]],
    exclude_taken: bool,
    config: TwoStageConfig,
    seed: int,
) -> list["Part"]:
    """Candidates of each fold's drawn users, with the fold of these users."""
    swept = SweepConfig(config.per_source, exclude_taken=exclude_taken)
    parts = []
    for number, (fold, own) in enumerate(zip(folds, scorers, strict=True)):
        chosen = fold.sample(config.more_users if number else config.fold_users, seed)
        parts.append((sweep(own, PairFeatures(fold.history), chosen.users, swept).table, chosen))
    return parts


def decide_exclusion(fold: Holdout, seen: Seen, seed: int) -> bool:
    """Whether what the user took before is left out: what serves the validation users better."""
    if seen != "auto":
        return seen == "exclude"
    if fold.repeat_share() < 0.005:
        return True
    sample = fold.sample(2_000, seed)
    counts = sample.label_count

    def quality(source: SourceConfig, exclude: bool) -> float:
        excluded = fold.history.taken if exclude else None
        top = recommend(source.fit(fold.history, seed), sample.users, K, excluded)
        return float(np.nanmean(recall_at(hits_of(top.positions, sample.labels), counts, K)))

    neighbours = GraphFilterConfig("neighbours", 0.5, 0.0, 0.5)
    keep = max(quality(BuyAgainConfig(), False), quality(neighbours, False))
    return quality(neighbours, True) > keep


Part = tuple[CandidateTable, Holdout]


def weighted_sum(table: CandidateTable, weights: Mapping[str, float]) -> Single:
    """The sources' scores of each candidate, added with weights."""
    values = np.array([weights.get(name, 0.0) for name in table.names[: table.source_count]], np.float32)
    return np.asarray(table.features[:, : table.source_count] @ values, dtype=np.float32)


def thin(table: CandidateTable, weights: Mapping[str, float], kept: int) -> CandidateTable:
    """The `kept` best candidates of each user by the blend, with its score as one more feature."""
    blend = weighted_sum(table, weights)
    order = np.lexsort((table.item, -blend, table.row))
    place = np.arange(len(order)) - table.starts[table.row[order]]
    chosen = np.zeros(len(table), dtype=bool)
    chosen[order[place < kept]] = True
    part = table.select(chosen)
    features = np.column_stack([part.features, blend[chosen]])
    return replace(part, features=features, names=(*part.names, "blend"))


@dataclass(frozen=True)
class Judged:
    """What the ways to order one scope reach on the first fold, and the ranker, where there is one."""

    single: str
    blend: Mapping[str, float]
    ranker: Ranker | None
    figures: Mapping[str, float]

    @property
    def method(self) -> Method:
        """The best of them, the simpler one of equals."""
        blend = self.figures["blend"]
        if self.figures.get("ranker", -np.inf) > blend:
            return "ranker"
        return "single" if self.figures[f"single {self.single}"] >= blend else "blend"

    @property
    def quality(self) -> float:
        """Recall@20 + NDCG@20 of that."""
        return max(self.figures.values())

    def order(self, kept: int) -> Order:
        """The best way, with the others beside it."""
        return Order(self.method, self.single, self.blend, kept, self.ranker, self.figures)


def judge(parts: Sequence[Part], scope: Scope, config: TwoStageConfig, seeds: Sequence[int]) -> Judged:
    """Tune the blend, and measure it, the best source and the cross-fitted ranker on the first fold."""
    scoped = [_scoped(table, fold, scope) for table, fold in parts]
    table, fold = scoped[0]
    if config.blend is None:
        blend, single = tune_blend(table, fold, table.relevance(fold.labels), config.blend_users, seeds[0])
    else:
        blend, single = group_blend(table, fold, config.blend)
    figures = {
        f"single {single}": _quality(table, fold, weighted_sum(table, {single: 1.0})),
        "blend": _quality(table, fold, weighted_sum(table, blend)),
    }
    ranker = None
    try:
        thinned = [(thin(one, blend, config.kept), of) for one, of in scoped]
        ranker, figures["ranker"] = _cross_fitted(thinned, config.ranker, seeds)
    except NotEnoughData as reason:
        logger.warning("no ranker: %s", reason)
    return Judged(single, blend, ranker, figures)


def group_blend(
    table: CandidateTable, fold: Holdout, weights: Sequence[float]
) -> tuple[dict[str, float], str]:
    """The best source of each of `GROUPS` with the group's weight, and the best source of all."""
    names = table.names[: table.source_count]
    alone = {name: _quality(table, fold, weighted_sum(table, {name: 1.0})) for name in names}
    blend = {}
    for weight, starts in zip(weights, GROUPS.values(), strict=True):
        group = [name for name in names if name.startswith(starts)]
        if group and weight > 0:
            blend[max(group, key=lambda name: alone[name])] = float(weight)
    return blend, max(names, key=lambda name: alone[name])


def tune_blend(
    table: CandidateTable, fold: Holdout, relevant: Flags, users: int, seed: int, least_gain: float = 0.0
) -> tuple[dict[str, float], str]:
    """Weights of the sources' scores, and the best single source, on at most `users` of the fold.

    Starts from the best source at 1 and moves one weight at a time, in three rounds; a weight of 0 is always
    tried, so what does not help stays out. A source comes in if it helps by more than the share `least_gain`.
    """
    chosen = np.zeros(len(table.users), dtype=bool)
    rng = np.random.default_rng(seed)
    chosen[rng.permutation(len(table.users))[:users]] = True
    rows = chosen[table.row]
    counts = fold.label_count[chosen]
    part = table.for_users(chosen)
    hits, width = relevant[rows], int(np.diff(part.starts).max(initial=1))
    column = np.arange(len(part)) - part.starts[part.row]
    shape = (len(part.users), width)
    padded_hits = np.zeros(shape, dtype=bool)
    padded_hits[part.row, column] = hits
    padded = np.zeros((table.source_count, *shape), dtype=np.float32)
    padded[:, part.row, column] = part.features[:, : table.source_count].T
    missing = np.full(shape, np.float32(-np.inf))
    missing[part.row, column] = 0.0

    def quality(scores: Single) -> float:
        k = min(K, width)
        best = np.argpartition(-(scores + missing), k - 1, axis=1)[:, :k] if k < width else None
        if best is None:
            best = np.broadcast_to(np.arange(width), shape)
        values = np.take_along_axis(scores + missing, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        ranked = np.take_along_axis(np.take_along_axis(padded_hits, best, axis=1), order, axis=1)
        return float(np.nanmean(recall_at(ranked, counts, K) + ndcg_at(ranked, counts, K)))

    alone = np.array([quality(one) for one in padded])
    weights = np.zeros(table.source_count, dtype=np.float32)
    weights[alone.argmax()] = 1.0
    best, total = float(alone.max()), padded[alone.argmax()].copy()
    for _ in range(3):
        before = best
        for number in np.argsort(-alone):
            bar = best if weights[number] else best * (1.0 + least_gain)
            for weight in (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
                moved = total + np.float32(weight - weights[number]) * padded[number]
                found = quality(moved)
                if found > max(best, bar):
                    best, total, weights[number] = found, moved, weight
        if best <= before:
            break
    names = table.names[: table.source_count]
    blend = {name: float(weight) for name, weight in zip(names, weights, strict=True) if weight > 0}
    return blend, names[int(alone.argmax())]


def _scoped(table: CandidateTable, fold: Holdout, scope: Scope) -> Part:
    if scope == "all":
        return table, fold
    labels = fold.new_labels()
    return table.select(~table.taken), Holdout(fold.history, fold.users, labels, fold.unknown_labels)


def _quality(table: CandidateTable, fold: Holdout, scores: Single) -> float:
    positions, _ = table.ranked(scores, K)
    hits = hits_of(positions, fold.labels)
    counts = fold.label_count
    return float(np.nanmean(recall_at(hits, counts, K) + ndcg_at(hits, counts, K)))


def _cross_fitted(parts: Sequence[Part], config: RankerConfig, seeds: Sequence[int]) -> tuple[Ranker, float]:
    """Trees of both halves of the users for each seed, and the quality on the first fold.

    For that each user is scored by the trees of the halves that they were not in, one for each seed.
    """
    table, fold = parts[0]
    users = fold.history.shape[0]
    sides = []
    for seed in seeds:
        half = np.random.default_rng(seed).random(users) < 0.5
        sides += [(half, seed), (~half, seed)]

    def learn(side: tuple[Flags, int]) -> Ranker:
        chosen, seed = side
        mine = [
            (one.for_users(chosen[one.users]), two.of(np.flatnonzero(chosen[two.users])))
            for one, two in parts
        ]
        return fit_ranker(*_stack(mine), config, seed)

    rankers = run_side_by_side(learn, sides)
    scores = np.zeros(len(table), dtype=np.float32)
    for (chosen, _), ranker in zip(sides, rankers, strict=True):
        others = ~chosen[table.users]
        scores[others[table.row]] += ranker.score(table.for_users(others))
    boosters = tuple(booster for ranker in rankers for booster in ranker.boosters)
    return Ranker(rankers[0].names, boosters), _quality(table, fold, scores)


def _stack(parts: Sequence[Part]) -> tuple[CandidateTable, Flags]:
    """The tables one below the other, a user of two folds being two groups, with what is relevant."""
    tables = [table for table, _ in parts]
    relevant = np.concatenate([table.relevance(fold.labels) for table, fold in parts])
    if len(tables) == 1:
        return tables[0], relevant
    offsets = np.cumsum([0, *(len(table.users) for table in tables[:-1])])
    stacked = CandidateTable(
        np.concatenate([table.users for table in tables]),
        np.concatenate([table.row + offset for table, offset in zip(tables, offsets, strict=True)]).astype(
            np.int32
        ),
        np.concatenate([table.item for table in tables]),
        np.concatenate([table.taken for table in tables]),
        np.concatenate([table.features for table in tables]),
        tables[0].names,
        tables[0].source_count,
    )
    return stacked, relevant
