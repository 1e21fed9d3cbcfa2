"""Fit and measure all recommenders of one run on a global time split, and keep what a release needs.

Protocol: everything before the cut-off is training; the labels are the distinct products that users known by
then buy on the days from the cut-off up to `horizon_days` later. Products that training never saw count as
misses. "all" ranks every product, "new" only those that the user has not bought, with labels likewise.

The blend is tuned on a validation fold, one horizon earlier; the test fold is scored once. The model that is
released is the same recipe fitted on everything known (`fit_recommender`), so the champion of an earlier run
is compared by its recipe, fitted on this fold's training part: its own arrays may have seen the labels.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training import collaborative
from training.candidates import BlendChoice, ReleasedScorer, Sources, blend
from training.collaborative import CollaborativeScorer
from training.config import AlsConfig, BlendConfig, PopularityConfig
from training.errors import BrokenModel, BrokenRelease, NotEnoughData
from training.evaluation import Claim, ModelReport, Role, ScoreRow
from training.factors import ItemFactors, read_factors, write_factors
from training.hybrid import HybridConfig, HybridScorer, share_sources, tune_hybrid
from training.identifiers import UNKNOWN, Positions
from training.interactions import Interactions, read_bought, read_interactions
from training.intervals import Estimate, bootstrap_means
from training.plan_files import read_plan, write_plan
from training.popularity import BuyAgainScorer, CategoryScorer, PopularityScorer
from training.ranking_metrics import (
    coverage_at,
    hit_rate_at,
    hits_of,
    ndcg_at,
    recall_at,
    reciprocal_rank,
)
from training.top_items import Scorer, exclude, score_blocks, top_items
from training.two_stage import Plan

KIND = "collaborative"
PRIMARY = "all_recall_at_20"
DEPTHS = (5, 10, 20, 50, 100)
METRICS = ("recall_at_20", "ndcg_at_20", "hit_rate_at_10", "mrr")
TUNED = ("recall_at_20", "ndcg_at_20", "hit_rate_at_10")
TUNING_CELLS = 10_000_000
ACTIVITY_EDGES = (1, 2, 5, 10, 20)
FORMAT_VERSION = 1
FACTORS = "item_factors"
DESCRIPTION = "recommender.json"


@dataclass(frozen=True)
class Recipe:
    """All that is needed to fit a recommender again on other data."""

    als: AlsConfig
    choice: BlendChoice
    seed: int
    plan: Plan | None = None

    def scorer(
        self, interactions: Interactions, factors: ItemFactors, kept: Path | None = None
    ) -> ReleasedScorer:
        """The released scores for the users of `interactions`: in two stages, or the blend without a plan."""
        if self.plan is None:
            return blend(interactions, factors, self.choice)
        return HybridScorer(interactions, factors, self.plan, self.seed, kept=kept)


@dataclass(frozen=True)
class Recommender:
    """A fitted recommender: item factors, and the recipe that made them."""

    factors: ItemFactors
    recipe: Recipe

    def scorer(self, interactions: Interactions, kept: Path | None = None) -> ReleasedScorer:
        """The released scores for the users of `interactions`; `kept` as `HybridScorer` takes it."""
        return self.recipe.scorer(interactions, self.factors, kept)


@dataclass(frozen=True)
class Fold:
    """One global time split.

    `users` are the positions of the users that bought something on the label days; `labels` (one row each)
    holds the products that training knows, `unknown_labels` counts the others.
    """

    cutoff: date
    label_until: date
    train: Interactions
    users: Positions
    labels: sparse.csr_matrix
    unknown_labels: npt.NDArray[np.int64]
    known_users: int


@dataclass(frozen=True)
class Measured:
    """One recommender on one fold, one value per user of the fold."""

    per_user: dict[str, npt.NDArray[np.float64]]
    coverage: dict[str, float]
    recall_by_depth: dict[int, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class TrainingResult:
    """What a run hands on: the report for the gate, the tuned recipe, and the figures' data.

    `recall_by_depth` is model -> k -> estimate; `recall_by_activity` is model -> bucket of distinct products
    bought before -> estimate; both on "all". `validation` holds the blend options with their score.
    """

    report: ModelReport
    recipe: Recipe
    recall_by_depth: dict[str, dict[int, Estimate]]
    recall_by_activity: dict[str, dict[str, Estimate]]
    validation: list[dict[str, Any]] = field(default_factory=list)


def train_recommenders(
    mart_glob: str,
    categories: Mapping[str, str | None],
    *,
    cutoff: date,
    horizon_days: int,
    als: AlsConfig,
    blend_config: BlendConfig,
    popularity: PopularityConfig,
    seed: int,
    hybrid: HybridConfig | None = None,
    champion: Recipe | None = None,
    max_users: int = 20_000,
) -> TrainingResult:
    """Tune one horizon before `cutoff`, then measure every recommender at `cutoff`.

    With `hybrid` the released one is that in two stages, beside the blend; without, or where the history is
    too short for it, the blend.
    Each fold is measured on at most `max_users` of its users, drawn with `seed`. Raises `NotEnoughData`
    naming what is missing when a fold has no history or no labels.
    """
    before = cutoff - timedelta(days=horizon_days)
    validation_fold = make_fold(mart_glob, before, horizon_days, max_users, seed)
    tuning = collaborative.fit(validation_fold.train, als, seed)
    choice, options = tune_blend(validation_fold, tuning.factors, blend_config)
    fold = make_fold(mart_glob, cutoff, horizon_days, max_users, seed)
    start = None if champion is None else champion.plan
    plan = None if hybrid is None else tune_hybrid(fold.train, horizon_days, als, hybrid, seed, start)
    recipe = Recipe(als, choice, seed, plan)
    fitted = collaborative.fit(fold.train, als, seed)
    released = recipe.scorer(fold.train, fitted.factors)
    scorers: list[tuple[str, Role, Scorer]] = [
        ("released", "candidate", released),
        ("blend", "candidate", blend(fold.train, fitted.factors, choice)),
        ("als", "candidate", CollaborativeScorer(fold.train, fitted.factors, trend=False)),
        ("als_trend", "candidate", CollaborativeScorer(fold.train, fitted.factors)),
        ("buy_again", "baseline", BuyAgainScorer(fold.train)),
        ("popularity", "baseline", PopularityScorer(fold.train)),
        ("popularity_recent", "baseline", PopularityScorer(fold.train, popularity.recent_days)),
        ("popularity_by_category", "baseline", CategoryScorer(fold.train, categories)),
    ]
    if champion is not None:
        same = champion.als == als and champion.seed == seed
        arrays = fitted if same else collaborative.fit(fold.train, champion.als, champion.seed)
        theirs = share_sources(champion.scorer(fold.train, arrays.factors), released)
        scorers.append(("champion", "champion", theirs))
    measured = {name: measure(fold, scorer) for name, _, scorer in scorers}
    rows = _score_rows([(name, role) for name, role, _ in scorers], measured, seed)
    report = ModelReport(
        KIND,
        datetime.combine(fold.cutoff, time.min, UTC),
        rows,
        PRIMARY,
        notes=_notes(fold, validation_fold, choice),
        claims=[
            Claim("released", "all_recall_at_20", "buy_again"),
            Claim("released", "all_ndcg_at_20", "buy_again"),
            Claim("als", "new_recall_at_20", "popularity", strict=True),
            Claim("als", "new_recall_at_20", "popularity_recent", strict=True),
        ],
    )
    return TrainingResult(
        report,
        recipe,
        {name: _by_depth(one, seed) for name, one in measured.items()},
        {name: _by_activity(fold, one, seed) for name, one in measured.items()},
        options,
    )


def fit_recommender(mart_glob: str, as_of: date, recipe: Recipe) -> tuple[Interactions, Recommender]:
    """Fit a recipe on everything before `as_of`; also returns the interactions, which candidates need."""
    interactions = read_interactions(mart_glob, as_of)
    fitted = collaborative.fit(interactions, recipe.als, recipe.seed)
    return interactions, Recommender(fitted.factors, recipe)


def make_fold(mart_glob: str, cutoff: date, horizon_days: int, max_users: int, seed: int) -> Fold:
    """Training before `cutoff`, labels on the `horizon_days` days from it."""
    train = read_interactions(mart_glob, cutoff)
    until = cutoff + timedelta(days=horizon_days)
    user_ids, item_ids = read_bought(mart_glob, cutoff, until)
    rows, columns = train.users.positions(user_ids), train.items.positions(item_ids)
    rows, columns = rows[rows != UNKNOWN], columns[rows != UNKNOWN]
    users = np.unique(rows)
    known_users = len(users)
    if not known_users:
        remedy = "choose an earlier cut-off, a longer horizon, or land more days"
        raise NotEnoughData(f"known users who buy from {cutoff} to before {until}", 0, 1, remedy)
    if known_users > max_users:
        users = np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))
        kept = np.isin(rows, users)
        rows, columns = rows[kept], columns[kept]
    index = np.searchsorted(users, rows)
    known = columns != UNKNOWN
    labels = sparse.csr_matrix(
        (np.ones(int(known.sum()), dtype=np.float32), (index[known], columns[known])),
        shape=(len(users), len(train.items)),
    )
    unknown = np.bincount(index[~known], minlength=len(users)).astype(np.int64)
    return Fold(cutoff, until, train, users, labels, unknown, known_users)


def tune_blend(
    fold: Fold, factors: ItemFactors, config: BlendConfig
) -> tuple[BlendChoice, list[dict[str, Any]]]:
    """The best merge on `fold`, and all options scored.

    Best is the largest sum of Recall@20, NDCG@20 and HitRate@10, each relative to buying again alone, among
    the options that are below it on none; the first of equals. Weight and half-life are chosen first, the
    popularity weight then. At most `TUNING_CELLS` scores are held at a time.
    """
    size = min(len(fold.users), max(200, TUNING_CELLS // len(fold.train.items)))
    users, labels = fold.users[:size], fold.labels[:size]
    counts = _label_counts(labels, fold.unknown_labels[:size])
    options: list[dict[str, Any]] = []

    def score(choice: BlendChoice, sources: Sources) -> None:
        hits = hits_of(top_items(sources.merge(choice), 20).positions, labels)
        figures = {name: float(np.nanmean(values)) for name, values in _metrics(hits, counts).items()}
        options.append({**choice.to_dict(), **{name: figures[name] for name in TUNED}})

    held = {}
    for half_life in config.half_lives_days:
        plain = BlendChoice(0.0, half_life, 0.0, config.recent_days, config.saturation_days)
        held[half_life] = blend(fold.train, factors, plain).sources(users)
        for weight in config.weights:
            score(replace(plain, weight=weight), held[half_life])
    alone = next(one for one in options if one["weight"] == 0.0 and one["half_life_days"] is None)
    found = _best_option(options, alone)
    for popularity_weight in config.popularity_weights:
        if popularity_weight and found.weight:
            score(replace(found, popularity_weight=popularity_weight), held[found.half_life_days])
    return _best_option(options, alone), options


def measure(fold: Fold, scorer: Scorer) -> Measured:
    """All metrics of one recommender on both protocols; buying again has no answer to "new"."""
    bought = fold.train.bought
    everything, new = [], []
    for users, scores in score_blocks(scorer, fold.users):
        everything.append(top_items(scores, DEPTHS[-1]).positions)
        exclude(scores, bought, users)
        new.append(top_items(scores, DEPTHS[-1]).positions)
    positions = np.concatenate(everything)
    counts = _label_counts(fold.labels, fold.unknown_labels)
    hits = hits_of(positions, fold.labels)
    per_user = {f"all_{name}": values for name, values in _metrics(hits, counts).items()}
    coverage = {"all_coverage_at_20": coverage_at(positions, len(fold.train.items), 20)}
    by_depth = {depth: recall_at(hits, counts, depth) for depth in DEPTHS}
    if not isinstance(scorer, BuyAgainScorer):
        positions = np.concatenate(new)
        labels = (fold.labels - fold.labels.multiply(bought[fold.users])).tocsr()
        labels.eliminate_zeros()
        counts = _label_counts(labels, fold.unknown_labels)
        values = _metrics(hits_of(positions, labels), counts)
        per_user |= {f"new_{name}": values for name, values in values.items()}
        coverage["new_coverage_at_20"] = coverage_at(positions, len(fold.train.items), 20)
    return Measured(per_user, coverage, by_depth)


def save_recommender(recommender: Recommender, directory: Path) -> None:
    """Write the model's files: arrays and JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    write_factors(recommender.factors, directory, FACTORS)
    recipe = recommender.recipe
    description = {
        "format_version": FORMAT_VERSION,
        "als": recipe.als.to_dict(),
        "blend": recipe.choice.to_dict(),
        "seed": recipe.seed,
    }
    (directory / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
    if recipe.plan is not None:
        write_plan(recipe.plan, directory)


def load_recommender(directory: Path) -> Recommender:
    """The inverse of `save_recommender`; raises `BrokenModel` naming the file."""
    path = directory / DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format_version"] != FORMAT_VERSION:
            raise BrokenModel(path, f"has format_version {values['format_version']!r}, not {FORMAT_VERSION}")
        recipe = Recipe(
            AlsConfig(**values["als"]),
            BlendChoice(**values["blend"]),
            int(values["seed"]),
            read_plan(directory),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenModel(path, f"cannot be read ({error})") from error
    try:
        return Recommender(read_factors(directory, FACTORS), recipe)
    except BrokenRelease as error:
        raise BrokenModel(error.file, error.problem) from error


def _best_option(options: Sequence[Mapping[str, Any]], alone: Mapping[str, Any]) -> BlendChoice:
    allowed = [one for one in options if all(one[name] >= alone[name] for name in TUNED)]
    best = max(allowed, key=lambda one: sum(one[name] / max(alone[name], 1e-9) for name in TUNED))
    return BlendChoice(**{name: best[name] for name in alone if name not in TUNED})


def _metrics(
    hits: npt.NDArray[np.bool_], counts: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[np.float64]]:
    values = (
        recall_at(hits, counts, 20),
        ndcg_at(hits, counts, 20),
        hit_rate_at(hits, counts, 10),
        reciprocal_rank(hits, counts),
    )
    return dict(zip(METRICS, values, strict=True))


def _label_counts(labels: sparse.csr_matrix, unknown_labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.asarray(np.diff(labels.indptr) + unknown_labels, dtype=np.int64)


def _score_rows(
    names: Sequence[tuple[str, Role]], measured: Mapping[str, Measured], seed: int
) -> list[ScoreRow]:
    candidate = measured[names[0][0]]
    rows = []
    for name, role in names:
        one = measured[name]
        columns = list(one.per_user)
        values = np.column_stack([one.per_user[column] for column in columns])
        metrics = dict(zip(columns, bootstrap_means(values, seed=seed), strict=True))
        metrics |= {column: Estimate.exact(share) for column, share in one.coverage.items()}
        differences = {}
        if name != names[0][0]:
            gains = np.column_stack([candidate.per_user[column] for column in columns]) - values
            differences = dict(zip(columns, bootstrap_means(gains, seed=seed), strict=True))
        rows.append(ScoreRow(name, role, metrics, differences))
    return rows


def _by_depth(one: Measured, seed: int) -> dict[int, Estimate]:
    values = np.column_stack([one.recall_by_depth[depth] for depth in DEPTHS])
    return dict(zip(DEPTHS, bootstrap_means(values, seed=seed, draws=200), strict=True))


def _by_activity(fold: Fold, one: Measured, seed: int) -> dict[str, Estimate]:
    """Recall@20 by the number of distinct products that the user had bought before the cut-off."""
    bought = np.diff(fold.train.bought.indptr)[fold.users]
    bucket = np.digitize(bought, ACTIVITY_EDGES[1:])
    names = [
        f"{low}" if high == low + 1 else f"{low}–{high - 1}"
        for low, high in zip(ACTIVITY_EDGES, ACTIVITY_EDGES[1:], strict=False)
    ] + [f"{ACTIVITY_EDGES[-1]}+"]
    recall = one.per_user["all_recall_at_20"]
    return {
        name: bootstrap_means(recall[bucket == index], seed=seed, draws=200)[0]
        for index, name in enumerate(names)
        if (bucket == index).any()
    }


def _notes(fold: Fold, validation: Fold, choice: BlendChoice) -> list[str]:
    return [
        f"Trained on days before {fold.cutoff}; labels: distinct products bought on days from {fold.cutoff} "
        f"to before {fold.label_until} by the {fold.known_users} known customers who bought any.",
        f"Measured on {len(fold.users)} of them; intervals by bootstrap over users.",
        f"Blend tuned on the fold before (cut-off {validation.cutoff}): {choice}.",
        f"mrr looks at the first {DEPTHS[-1]} items; buy_again has no answer to 'new'.",
    ]
