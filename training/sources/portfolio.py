"""Which sources suit a history, with their parameters chosen on a validation fold within a budget.

Each family starts from values that do well in the papers named in its module and is moved one parameter at
a time; a move stays if a sample of validation users is served better. Sources that are for items new to the
user are judged on new items, those of habit on all.
"""

import logging
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from training.cores import run_side_by_side
from training.holdouts import Holdout
from training.identifiers import Positions
from training.ranking_metrics import hits_of, ndcg_at, recall_at
from training.sources.habits import BuyAgainConfig, PopularityConfig, TrendingConfig
from training.sources.history import History
from training.sources.latent import AlsSourceConfig, SpectralConfig
from training.sources.linear import (
    EaseConfig,
    GraphFilterConfig,
    ProfileConfig,
    TransitionsConfig,
)
from training.sources.people import UserNeighboursConfig
from training.top_items import Scorer, recommend

logger = logging.getLogger(__name__)


class SourceScorer(Scorer, Protocol):
    """A fitted source."""

    def for_users(self, history: History, before: Positions) -> "SourceScorer":
        """What was learned, for the users of another `history` of the same items.

        Nothing is fitted: only what belongs to a user comes from `history`. `before` is the place of each
        user in the history of the fit, or UNKNOWN.
        """


class SourceConfig(Protocol):
    """What every source's config offers."""

    @property
    def name(self) -> str:
        """Unique within a portfolio."""

    def fit(self, history: History, seed: int) -> SourceScorer:
        """The source's scorer for the users of `history`; the same input and seed give the same scores."""


Config = TypeVar("Config", bound=Any)
RECENT = ProfileConfig(step_decay=0.8)
ALS_CELLS = 5e7
"""Interactions times factors beyond which ALS is fitted once, with what does well elsewhere."""


@dataclass(frozen=True)
class PortfolioConfig:
    """Bounds of the search: seconds for all families together, sampled cells, and sizes of single models.

    `trials` bounds the values that are tried for one family; unlike seconds, it gives the same everywhere.
    One family takes at most a quarter of the seconds. What they bound is the trying: each family's first fit
    is made in any case. Families are tried side by side, each on one core.
    """

    seconds: float = 150.0
    trials: int = 1_000
    sample_cells: float = 4e7
    sample_users: int = 3_000
    ease_items: int = 7_000
    rank: int = 1_536
    als_factors: int = 128
    neighbour_users: int = 60_000


@dataclass(frozen=True)
class Portfolio:
    """Configs, with the scorers that were fitted on the validation fold's history."""

    sources: tuple[SourceConfig, ...]
    scorers: tuple[SourceScorer, ...]

    def only(self, names: Container[str]) -> "Portfolio":
        """The named ones of them."""
        kept = [pair for pair in zip(self.sources, self.scorers, strict=True) if pair[0].name in names]
        return Portfolio(tuple(one for one, _ in kept), tuple(scorer for _, scorer in kept))


@dataclass
class _Judge:
    """Quality of a scorer on sampled users: Recall@20 + NDCG@20."""

    fold: Holdout
    exclude_taken: bool
    until: float
    trials: int
    tried: int = 0

    def quality(self, scorer: Scorer, new_only: bool = True) -> float:
        new = new_only and not self.exclude_taken
        labels = self.fold.new_labels() if new else self.fold.labels
        counts = np.diff(labels.indptr) + self.fold.unknown_labels
        excluded = self.fold.history.taken if new or self.exclude_taken else None
        self.tried += 1
        top = recommend(scorer, self.fold.users, 20, excluded)
        hits = hits_of(top.positions, labels)
        found = np.nanmean(recall_at(hits, counts, 20) + ndcg_at(hits, counts, 20))
        return float(found) if np.isfinite(found) else 0.0

    def is_over(self) -> bool:
        return self.tried >= self.trials or time.perf_counter() > self.until


Found = list[tuple[SourceConfig, SourceScorer]]
Family = Callable[[History, _Judge, PortfolioConfig, int], Found]


def choose_portfolio(
    fold: Holdout,
    exclude_taken: bool,
    config: PortfolioConfig,
    seed: int,
) -> Portfolio:
    """Sources for `fold.history` and what comes after it; also returns them fitted there."""
    history = fold.history
    users = int(min(config.sample_users, max(300, config.sample_cells // history.shape[1])))
    sample = fold.sample(users, seed)
    end = time.perf_counter() + config.seconds

    def found_by(family: Family) -> Found:
        started = time.perf_counter()
        judge = _Judge(sample, exclude_taken, min(end, started + config.seconds / 4), config.trials)
        found = family(history, judge, config, seed)
        logger.info("%s in %.1f s", family.__name__, time.perf_counter() - started)
        return found

    families = (_everybody, _graph, _spectral, _neighbours, _transitions, _habits, _people, _als, _ease)
    with threadpool_limits(limits=1, user_api="blas"):
        found = [one for part in run_side_by_side(found_by, families) for one in part]
    return Portfolio(tuple(one for one, _ in found), tuple(scorer for _, scorer in found))


def _everybody(history: History, judge: _Judge, config: PortfolioConfig, seed: int) -> Found:
    configs: list[SourceConfig] = [PopularityConfig()]
    if history.has_order:
        window = 30.0 if history.clock == "days" else 2.0
        configs.append(PopularityConfig(window))
    if history.clock == "days":
        configs.append(TrendingConfig())
    return _fitted(configs, history, seed)


def _graph(history: History, judge: _Judge, config: PortfolioConfig, seed: int) -> Found:
    ladders = {
        "c": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        "a": (0.4, 0.6, 0.8, 1.0, 1.2),
        "b": (0.1, 0.3, 0.5, 0.7, 0.9),
    }
    plain = _search(GraphFilterConfig(), ladders, history, judge, seed)
    if not history.has_order:
        return [plain]
    recent = replace(plain[0], name="graph_filter_recent", profile=RECENT)
    return [plain, _search(recent, {"profile": _profiles(history)}, history, judge, seed)]


def _neighbours(history: History, judge: _Judge, config: PortfolioConfig, seed: int) -> Found:
    plain = GraphFilterConfig("neighbours", 0.5, 0.0, 0.5)
    if history.has_order:
        plain = replace(plain, profile=RECENT)
    return _fitted([plain], history, seed)


def _spectral(history: History, judge: _Judge, config: PortfolioConfig, seed: int) -> Found:
    """Exponents at a low rank, then one spectrum of the largest rank and the best truncation of it."""
    largest = min(config.rank, min(history.shape) - 1, max(16, min(history.shape) // 3))
    small = SpectralConfig(rank=min(256, largest))
    ladders = {
        "item_power": (0.15, 0.25, 0.35, 0.45, 0.55),
        "restore": (0.0, 0.15, 0.3),
        "user_power": (0.25, 0.4, 0.5),
    }
    start, _ = _search(small, ladders, history, judge, seed)
    full = start.truncated(largest)
    spectrum = full.spectrum(history, seed)
    ranks = [rank for rank in (64, 128, 256, 512, 1024) if rank < largest] + [largest]
    scored = {rank: judge.quality(full.truncated(rank).scorer(history, spectrum)) for rank in ranks}
    best = max(scored, key=lambda rank: scored[rank])
    logger.info("spectral ranks %s", scored)
    chosen: list[SpectralConfig] = [full.truncated(best)]
    low = [rank for rank in ranks if rank <= best // 4]
    if low:
        chosen.append(replace(full, rank=max(low, key=lambda rank: scored[rank]), name="spectral_low"))
    return [(one, one.scorer(history, spectrum)) for one in chosen]


def _transitions(history: History, judge: _Judge, config: PortfolioConfig, seed: int) -> Found:
    if not history.has_order:
        return []
    ladders = {
        "step_decay": (0.3, 0.45, 0.6, 0.75, 0.9),
        "c": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        "a": (0.1, 0.3, 0.5, 0.7, 0.9),
        "backward": (0.1, 0.3, 0.6),
        "together": (0.0, 0.5, 2.0),
    }
    return [_search(TransitionsConfig(), ladders, history, judge, seed)]


def _habits(history: History, judge: _Judge, config: PortfolioConfig, seed: int) -> Found:
    if judge.exclude_taken:
        return []
    plain = BuyAgainConfig()
    found: Found = [(plain, plain.fit(history, seed))]
    if not history.has_order:
        return found
    days = history.clock == "days"
    ladders = {
        "popularity": (1e-3, 0.05, 0.2, 0.5, 1.0, 2.0),
        "half_life": (None, 240.0, 120.0, 60.0, 30.0, 14.0) if days else (None, 16.0, 8.0, 4.0, 2.0),
        "recent": (None, 60.0, 30.0, 14.0) if days else (None, 4.0, 2.0),
    }
    weighted = BuyAgainConfig("buy_again_recent")
    found.append(_search(weighted, ladders, history, judge, seed, new_only=False))
    if history.repeats:
        due = BuyAgainConfig("buy_again_due", due=True)
        found.append((due, due.fit(history, seed)))
    return found


def _people(history: History, judge: _Judge, config: PortfolioConfig, seed: int) -> Found:
    if history.shape[0] > config.neighbour_users or not history.has_order:
        return []
    ladders = {
        "neighbours": (50, 100, 200, 400, 800),
        "step_decay": (0.5, 0.7, 0.9, 1.0),
        "item_power": (0.0, 0.25, 0.5),
    }
    return [_search(UserNeighboursConfig(), ladders, history, judge, seed)]


def _als(history: History, judge: _Judge, config: PortfolioConfig, seed: int) -> Found:
    factors = int(min(config.als_factors, min(history.shape) // 2))
    if factors < 2:
        return []
    start = AlsSourceConfig(factors=factors)
    if len(history) * factors > ALS_CELLS:
        return _fitted([start], history, seed)
    ladders: dict[str, Sequence[Any]] = {}
    if history.has_order:
        ladders["fold_in_step_decay"] = (None, 0.9, 0.8, 0.65)
    ladders |= {"regularization": (5.0, 20.0, 80.0, 200.0), "alpha": (1.0, 3.0, 10.0, 30.0)}
    if history.clock == "days":
        ladders["half_life"] = (None, 120.0, 60.0)
    return [_search(start, ladders, history, judge, seed)]


def _ease(history: History, judge: _Judge, config: PortfolioConfig, seed: int) -> Found:
    if history.shape[1] > config.ease_items:
        return []
    start = EaseConfig(profile=RECENT if history.has_order else ProfileConfig())
    return [_search(start, {"regularization": (50.0, 200.0, 800.0, 2000.0)}, history, judge, seed)]


def _profiles(history: History) -> tuple[ProfileConfig, ...]:
    """From long memories to short ones, by baskets or by days."""
    if history.clock == "days":
        lives = (180.0, 90.0, 45.0)
        slow = tuple(ProfileConfig(half_life=life) for life in lives)
        return (*slow, ProfileConfig(step_decay=0.9), RECENT, ProfileConfig(step_decay=0.6))
    return (
        ProfileConfig(step_decay=0.95),
        ProfileConfig(step_decay=0.9),
        RECENT,
        ProfileConfig(step_decay=0.65),
        ProfileConfig(step_decay=0.5),
    )


def _fitted(configs: Sequence[SourceConfig], history: History, seed: int) -> Found:
    return [(config, config.fit(history, seed)) for config in configs]


def _search(
    start: Config,
    ladders: Mapping[str, Sequence[Any]],
    history: History,
    judge: _Judge,
    seed: int,
    new_only: bool = True,
) -> tuple[Config, SourceScorer]:
    """One parameter after the other, step by step along its ladder while it helps.

    A ladder holds values in order, the start's among them.
    """
    best, scorer = start, start.fit(history, seed)
    if not ladders or judge.is_over():
        return best, scorer
    quality = judge.quality(scorer, new_only)
    for field, ladder in ladders.items():
        origin = ladder.index(getattr(best, field))
        for direction in (1, -1):
            place, improved = origin + direction, False
            while 0 <= place < len(ladder) and not judge.is_over():
                moved = replace(best, **{field: ladder[place]})
                other = moved.fit(history, seed)
                found = judge.quality(other, new_only)
                if found <= quality:
                    break
                best, scorer, quality, improved = moved, other, found, True
                place += direction
            if improved:
                break
    logger.info("%s: %.4f with %s", start.name, quality, best)
    return best, scorer
