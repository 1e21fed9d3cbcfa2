"""The released recommender in two stages, on the interactions mart.

Purchases are the history that sources and pair features are made of. Views and carts come in through two
further sources on interaction strength: ALS, whose item factors the service folds histories in with, and the
user's own recent interest. Where the catalogue has texts, a last one compares them.

`HybridScorer` scores every item, like any recommender: the candidates in their order, everything else not at
all. Of the overall order it keeps the places of items that are new to the user, and fills them in the order
for new items, which trees of their own have learned; so a list without what was bought is that order itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training import collaborative
from training.candidate_table import CandidateTable
from training.candidates import ReleasedScorer
from training.collaborative import CollaborativeScorer
from training.config import AlsConfig
from training.errors import NotEnoughData
from training.factors import ItemFactors
from training.holdouts import Holdout, by_time
from training.identifiers import UNKNOWN, Positions
from training.interactions import Interactions
from training.ranker import RankerConfig
from training.sources.history import History, Single, history_from_interactions
from training.sources.linear import CONTENT, content_scorer
from training.sources.portfolio import PortfolioConfig
from training.top_items import Scorer, Scores
from training.two_stage import FittedSources, Plan, TwoStageConfig, fit, tune

DEPTH = 150
"""Candidates of each user in each order; more than any list that is kept."""
INTEREST_HALF_LIFE_DAYS = 7.0
LEAST_HISTORY_DAYS = 45


@dataclass(frozen=True)
class HybridConfig:
    """How the two stages are tuned.

    `trials` bounds what is tried for each family of sources, so the same data give the same plan on any
    machine. `earlier_folds` more windows, `step_days` apart, train the ranker besides the validation fold.
    The ranker is the trees of both halves of the users, for `rankers` ways to halve them. `blend` and
    `least_gain` are those of `TwoStageConfig`.
    """

    trials: int = 4
    sample_users: int = 1_000
    rank: int = 512
    als_factors: int = 64
    earlier_folds: int = 0
    step_days: int = 30
    rankers: int = 1
    fold_users: int = 8_000
    per_source: int = 40
    kept: int = 100
    ranker: RankerConfig = RankerConfig(rounds=60, max_depth=5, learning_rate=0.15, max_rows=150_000)
    blend: tuple[float, ...] | None = None
    least_gain: float | None = 0.002

    def two_stage(self) -> TwoStageConfig:
        """The bounds as tuning takes them."""
        portfolio = PortfolioConfig(
            seconds=float("inf"),
            trials=self.trials,
            sample_users=self.sample_users,
            rank=self.rank,
            als_factors=self.als_factors,
        )
        return TwoStageConfig(
            portfolio=portfolio,
            ranker=self.ranker,
            per_source=self.per_source,
            kept=self.kept,
            fold_users=self.fold_users,
            blend=self.blend,
            least_gain=self.least_gain,
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, for logging and as JSON."""
        blend = None if self.blend is None else list(self.blend)
        return {**vars(self), "ranker": dict(vars(self.ranker)), "blend": blend}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HybridConfig":
        """The inverse of `to_dict`."""
        blend = values["blend"]
        parsed = {
            "ranker": RankerConfig(**values["ranker"]),
            "blend": None if blend is None else tuple(map(float, blend)),
        }
        return cls(**{**values, **parsed})


@dataclass(frozen=True)
class InterestScorer:
    """The user's own views, carts and purchases of the last days; nothing else is recommendable."""

    strengths: sparse.csr_matrix
    name: str = "interest"

    def scores(self, users: Positions) -> Scores:
        scores = self.strengths[users].toarray()
        scores[scores <= 0] = -np.inf
        return np.asarray(scores, dtype=np.float32)


@dataclass(frozen=True)
class Renamed:
    """A scorer under another name."""

    scorer: Scorer
    name: str

    def scores(self, users: Positions) -> Scores:
        return self.scorer.scores(users)


def further_scorers(
    interactions: Interactions, factors: ItemFactors, history: History, has_content: bool
) -> tuple[Scorer, ...]:
    """Factors on interaction strength, the user's own interest, and content; `history`: their purchases."""
    interest = (
        Renamed(CollaborativeScorer(interactions, factors), "als_interest"),
        InterestScorer(interactions.strengths(INTEREST_HALF_LIFE_DAYS)),
    )
    if not has_content:
        return interest
    texts = interactions.texts or ("",) * len(interactions.items)
    return (*interest, content_scorer(texts, history))


def interactions_before(interactions: Interactions, days: int) -> Interactions:
    """What was known `days` days before the cut-off, with the same positions."""
    chosen = interactions.age_days >= days
    return replace(
        interactions,
        cutoff=interactions.cutoff - timedelta(days=days),
        user=interactions.user[chosen],
        item=interactions.item[chosen],
        age_days=interactions.age_days[chosen] - np.float32(days),
        purchase_count=interactions.purchase_count[chosen],
        strength=interactions.strength[chosen],
    )


def tune_hybrid(
    interactions: Interactions,
    horizon_days: int,
    als: AlsConfig,
    config: HybridConfig,
    seed: int,
    start: Plan | None = None,
) -> Plan | None:
    """A plan that has seen only `interactions`; None where there is too little to learn an order from.

    The validation fold's labels are the last `horizon_days` days before the cut-off. The sources of `start`,
    the champion's plan, are kept where there is one: searching them again every day would find the same.
    """
    folds = hybrid_folds(interactions, horizon_days, config)
    if not folds:
        return None
    further = [fold.scorers(als, seed) for fold in folds]
    seeds = [seed + number for number in range(config.rankers)]
    holdouts = [fold.holdout for fold in folds]
    return tune(holdouts, config.two_stage(), seeds, further=further, start=start)


@dataclass(frozen=True)
class HybridFold:
    """A fold of purchases, with all interactions that were known then."""

    holdout: Holdout
    known: Interactions

    def scorers(self, als: AlsConfig, seed: int) -> tuple[Scorer, ...]:
        """The further sources, fitted on what was known."""
        factors = collaborative.fit(self.known, als, seed).factors
        return further_scorers(self.known, factors, self.holdout.history, self.known.texts is not None)


def hybrid_folds(interactions: Interactions, horizon_days: int, config: HybridConfig) -> list[HybridFold]:
    """The validation fold and those that only train the ranker; empty where the history is too short."""
    folds = []
    history = history_from_interactions(interactions)
    oldest = float(interactions.age_days.max(initial=0.0))
    for number in range(1 + config.earlier_folds):
        days = horizon_days + number * config.step_days
        if oldest - days < LEAST_HISTORY_DAYS:
            break
        try:
            fold = by_time(history, -float(days), float(horizon_days))
        except NotEnoughData:
            break
        folds.append(HybridFold(fold, interactions_before(interactions, days)))
    return folds


@dataclass(frozen=True)
class HybridScorer:
    """Scores of a plan for the users of `interactions`, the best candidate of each at 1.

    The sources are fitted on `interactions` when first needed. With `model` they are that scorer's, fitted on
    the same interactions (`share_sources`); with `known` they are that scorer's too, for other users. `kept`
    is a folder in which their item matrices outlive the process.
    """

    interactions: Interactions
    factors: ItemFactors
    plan: Plan
    seed: int
    name: str = "released"
    model: "HybridScorer | None" = None
    known: "HybridScorer | None" = None
    kept: Path | None = None

    def for_users(self, interactions: Interactions) -> "HybridScorer":
        """The same model, fitted on what it was, for the users of other interactions with the same items."""
        return replace(self, interactions=interactions, model=None, known=self)

    @cached_property
    def fitted(self) -> FittedSources:
        """The plan's sources, with the users of `interactions`."""
        history = history_from_interactions(self.interactions)
        has_content = CONTENT in self.plan.further
        further = further_scorers(self.interactions, self.factors, history, has_content)
        if self.model is not None:
            return replace(self.model.fitted, further=further)
        if self.known is None:
            return fit(self.plan, history, self.seed, further, self.kept)
        before = self.known.interactions.users.positions(self.interactions.users.ids)
        return self.known.fitted.for_users(history, before, further)

    @cached_property
    def _is_active(self) -> npt.NDArray[np.bool_]:
        """Whether each user did anything, once for all blocks."""
        return np.asarray(np.diff(self.interactions.strengths(None).indptr) > 0)

    def scores(self, users: Positions) -> Scores:
        table = self.fitted.sweep(users).table
        scores = np.full((len(users), len(self.interactions.items)), -np.inf, dtype=np.float32)
        for positions, values in self._orders(table):
            rows, places = np.nonzero(positions != UNKNOWN)
            items = positions[rows, places]
            free = np.isneginf(scores[rows, items])
            scores[rows[free], items[free]] = values[rows, places][free]
        return scores

    def uses_collaborative(self, users: Positions) -> npt.NDArray[np.bool_]:
        """Whether what the user has not bought is there because of what they did."""
        return self._is_active[users]

    def _orders(self, table: CandidateTable) -> list[tuple[npt.NDArray[np.int64], Single]]:
        """Positions and scores, best first: the list itself, then what else is new to the user."""
        overall, margins = self.plan.rank(table, "all", DEPTH)
        values = below_one(margins)
        if self.plan.exclude_taken:
            return [(overall, values)]
        fresh, fresh_margins = self.plan.rank(table, "new", DEPTH)
        merged = fill_places(overall, self._is_new(table.users, overall), fresh)
        floor = np.where(np.isfinite(values), values, 1.0).min(axis=1, keepdims=True)
        return [(merged, values), (fresh, (floor * below_one(fresh_margins)).astype(np.float32))]

    def _is_new(self, users: Positions, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        bought = self.interactions.bought[users].toarray() > 0
        rows = np.arange(len(users))[:, None]
        return np.asarray((positions != UNKNOWN) & ~bought[rows, positions])


def share_sources(scorer: ReleasedScorer, model: ReleasedScorer) -> ReleasedScorer:
    """`scorer` without fitting again the sources that `model` has fitted on the same data; itself if none."""
    if not isinstance(scorer, HybridScorer) or not isinstance(model, HybridScorer):
        return scorer
    mine, theirs = (
        (one.plan.sources, one.plan.exclude_taken, one.plan.per_source, one.seed) for one in (scorer, model)
    )
    same = mine == theirs and scorer.interactions is model.interactions
    return replace(scorer, model=model) if same else scorer


def fill_places(
    positions: npt.NDArray[np.int64], places: npt.NDArray[np.bool_], fresh: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """`positions` with the marked places of each row taken by that row of `fresh`, in order.

    `fresh` is as wide as `positions`; a place for which it has nothing left becomes `UNKNOWN`.
    """
    number = np.minimum(np.cumsum(places, axis=1) - 1, fresh.shape[1] - 1)
    wanted = np.take_along_axis(fresh, np.maximum(number, 0), axis=1)
    return np.where(places, wanted, positions)


def below_one(margins: Single) -> Single:
    """exp(margin - the row's largest), which keeps the order; -inf where there is no candidate."""
    best = np.where(np.isfinite(margins), margins, -np.inf).max(axis=1, keepdims=True)
    best = np.where(np.isfinite(best), best, 0.0)
    return np.where(np.isfinite(margins), np.exp(margins - best), -np.inf).astype(np.float32)
