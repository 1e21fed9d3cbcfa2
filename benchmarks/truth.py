"""The scoreboard: every estimator in simulated worlds, and its error against the truth.

    python -m benchmarks.truth [--only tastes churn ...] [--users 1200] [--days 480] [--seed 1] [--json FILE]

A shop is simulated, landed and transformed as any other, and the models are fitted on what the shop could
know; then each prediction is held against what the simulator knows: the tastes, who is still a customer, what
each will spend. Estimators that need a random draw (uplift, off-policy) bring worlds of their own. The same
seed prints the same table. A further estimator is one entry of `ESTIMATORS`.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata, spearmanr

from benchmarks.attribution import ALL, INCREMENTAL, judge
from benchmarks.off_policy import judge_world, summary
from feature_repo.layout import Home
from feature_repo.store import apply_definitions, open_store
from orchestration.landed import landed_days
from orchestration.landing import land_days
from orchestration.marts import publish_marts, run_dbt
from orchestration.simulation.catalogue import draw_catalogue
from orchestration.simulation.population import draw_population
from orchestration.simulator import simulate
from orchestration.sources.base import open_source
from training.baskets import read_baskets
from training.bgnbd import fit_bgnbd
from training.churn import fit_churn, score_churn
from training.clv import fit_clv, score_clv
from training.config import AlsConfig, BlendConfig, PopularityConfig
from training.dataset import customer_frame, data_range, scoring_frame
from training.popularity import PopularityScorer
from training.price_response import PRIOR_MEAN, SOURCES, price_response
from training.recommenders import fit_recommender, train_recommenders
from training.splits import folds
from training.top_items import Scorer, score_blocks
from training.uplift import Experiment, average_effect, cross_fitted_uplift, qini
from training.value_config import CutoffConfig
from training.value_evaluation import bgnbd_inputs, cutoffs_of
from training.value_metrics import roc_auc

FloatArray = npt.NDArray[np.float64]

HORIZON_DAYS = 90
SHOWN = 20
OFF_POLICY_WORLDS = 30
EXPERIMENT_CUSTOMERS = 20_000
CAMPAIGN_DAYS = 180
SAME = "same for all"


@dataclass(frozen=True)
class Row:
    """One figure against the truth, and the same figure of the simplest rival where there is one."""

    estimator: str
    figure: str
    value: float
    ideal: float
    baseline: float | None = None
    baseline_name: str = ""


@dataclass(frozen=True)
class World:
    """A simulated shop; built when an estimator first asks for it."""

    folder: Path
    users: int
    days: int
    seed: int

    @cached_property
    def home(self) -> Home:
        """The shop landed, transformed, published, with its features registered."""
        simulate(self.folder / "world", self.users, self.days, self.seed)
        home = Home(self.folder / "home")
        land_days(home, open_source("simulator", self.folder / "world"))
        run_dbt(home, full_refresh=True)
        publish_marts(home, sorted(landed_days(home)), full=True)
        apply_definitions(open_store(home))
        return home

    @cached_property
    def until(self) -> datetime:
        """The end of the last day, as of which everything is estimated."""
        return data_range(self.home.current_marts)[1] + timedelta(days=1)

    @property
    def cutoff(self) -> date:
        """Of the fold on which recommenders are tuned."""
        return (self.until - timedelta(days=self.days // 5)).date()

    def truth(self, name: str) -> pd.DataFrame:
        """`users` or `items` as the simulator knows them."""
        assert self.home
        return pd.read_parquet(self.folder / "world" / "truth" / f"{name}.parquet").set_index(
            f"{name[:-1]}_id"
        )

    @cached_property
    def customers(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(rows of all complete cut-offs with labels, every customer as of the end)."""
        first, last = data_range(self.home.current_marts)
        found = folds(first.date(), last.date(), CutoffConfig(horizon_days=HORIZON_DAYS))
        store, marts = open_store(self.home), self.home.current_marts
        labelled = customer_frame(store, marts, cutoffs_of(found), HORIZON_DAYS)
        return labelled, scoring_frame(store, marts, self.until)


@dataclass(frozen=True)
class Estimator:
    """One entry of the scoreboard."""

    name: str
    run: Callable[[World], list[Row]]


def tastes(world: World) -> list[Row]:
    """Recommendations against true affinity, the cosine of a customer's and an item's hidden vectors."""
    glob = world.home.mart_glob("interactions_daily")
    recipe = train_recommenders(
        glob,
        {},
        cutoff=world.cutoff,
        horizon_days=(world.until.date() - world.cutoff).days,
        als=AlsConfig(),
        blend_config=BlendConfig(),
        popularity=PopularityConfig(),
        seed=world.seed,
    ).recipe
    interactions, recommender = fit_recommender(glob, world.until.date(), recipe)
    known = [item for item in interactions.items.ids if item is not None]
    users, items = world.truth("users"), world.truth("items")
    people = [
        user for user in interactions.users.ids if user in users.index and users["is_alive_at_end"][user]
    ]
    positions = interactions.users.positions(people)
    affinity = np.stack(users.loc[people, "taste"].tolist()) @ np.stack(items.loc[known, "taste"].tolist()).T
    mine = _against_affinity(recommender.scorer(interactions), positions, affinity)
    theirs = _against_affinity(PopularityScorer(interactions), positions, affinity)
    names = (f"mean affinity percentile of the first {SHOWN}", "rank correlation over all items")
    return [
        Row("tastes", name, value, 1.0, other, "popularity")
        for name, value, other in zip(names, mine, theirs, strict=True)
    ]


def churn(world: World) -> list[Row]:
    """Who has silently left, against the day on which the simulator let each customer go."""
    labelled, now = world.customers
    is_gone = ~world.truth("users").loc[now["user_id"], "is_alive_at_end"].to_numpy(dtype=bool)
    gone = is_gone.astype(np.float64)
    churn_probability = score_churn(fit_churn(labelled, seed=world.seed), now)["churn_probability"].to_numpy()
    recency = now["recency_days"].to_numpy(dtype=np.float64)
    x, t_x, age = bgnbd_inputs(now)
    p_gone = 1.0 - fit_bgnbd(x, t_x, age).p_alive(x, t_x, age)
    rival = roc_auc(gone, recency)
    return [
        Row("churn", "AUC for having left", roc_auc(gone, churn_probability), 1.0, rival, "recency"),
        Row("alive (BG/NBD)", "AUC for having left", roc_auc(gone, p_gone), 1.0, rival, "recency"),
        Row("alive (BG/NBD)", "share that has left, error", float(p_gone.mean() - gone.mean()), 0.0),
    ]


def lifetime_value(world: World) -> list[Row]:
    """Predicted spend against what the simulator expects each customer to spend.

    The simulator's level is itself an approximation, good to about a tenth of what is then spent.
    """
    labelled, now = world.customers
    predicted = score_clv(fit_clv(labelled, seed=world.seed), now)["clv"].to_numpy(dtype=np.float64)
    users = world.truth("users").loc[now["user_id"]]
    truth = users[f"expected_spend_{HORIZON_DAYS}d"].to_numpy(dtype=np.float64)
    past = now["spend_last_90d"].to_numpy(dtype=np.float64)
    figures = (
        ("Spearman", 1.0, _spearman),
        ("total over truth", 1.0, _ratio),
        ("error over mean", 0.0, _error),
    )
    return [
        Row(
            "clv",
            f"spend in {HORIZON_DAYS} days, {name}",
            figure(predicted, truth),
            ideal,
            figure(past, truth),
            "past spend",
        )
        for name, ideal, figure in figures
    ]


def price(world: World) -> list[Row]:
    """Elasticities from the shop's own price changes against the exponent of the true demand curves.

    The truth is how a look turns into a cart; that reduced items are also noticed more is not in it, so that
    what is observed is steeper.
    """
    baskets = read_baskets(sorted(world.home.events.glob("*/*.parquet")), world.until, world.days)
    response = price_response(baskets)
    measured = response.source == SOURCES.index("measured")
    items = [item for item, kept in zip(baskets.item_ids, measured, strict=True) if kept]
    truth = -world.truth("items").loc[items, "elasticity"].to_numpy(dtype=np.float64)
    found = response.elasticity[measured]
    prior = np.full(len(truth), PRIOR_MEAN)
    name = f"elasticity of {len(items)} items"
    return [
        Row("price", f"{name}, Spearman", _spearman(found, truth), 1.0, 0.0, SAME),
        Row("price", f"{name}, error", _rmse(found, truth), 0.0, _rmse(prior, truth), "published median"),
        Row("price", f"{name}, mean over truth", _ratio(found, truth), 1.0, _ratio(prior, truth), "ditto"),
    ]


def uplift(world: World) -> list[Row]:
    """An offer drawn at random for the simulator's customers; what it adds for each is known.

    The offer makes a customer buy more often the lower their price taste, and not at all above the middle.
    The shop sees how often they came and the price ranks that they looked at.
    """
    rng = np.random.default_rng([world.seed, 3])
    catalogue = draw_catalogue(rng, 300, 30)
    people = draw_population(rng, EXPERIMENT_CUSTOMERS, 30, catalogue)
    base = 1.0 - np.exp(-0.25 * np.minimum(people.visit_rate, 5.0) * people.checkout_rate)
    effect = (1.0 - base) * 0.4 * np.maximum(0.0, 1.0 - 2.0 * people.price_taste)
    treated = rng.random(people.count) < 0.5
    features = pd.DataFrame(
        {
            "visits": rng.poisson(8.0 * people.visit_rate).astype(float),
            "mean_price_rank": people.price_taste + 0.12 * rng.normal(size=people.count),
            "is_subscribed": people.is_subscribed.astype(float),
            "age": people.age.astype(float),
        }
    )
    outcome = (rng.random(people.count) < base + effect * treated).astype(np.float64)
    experiment = Experiment(features, treated, outcome, np.full(people.count, 0.5))
    score = cross_fitted_uplift(experiment, seed=world.seed)
    average = average_effect(experiment)
    error = _rmse(score, effect) / float(np.std(effect))
    best, found = (qini(experiment, each, seed=world.seed, draws=1).value for each in (effect, score))
    return [
        Row("uplift", "effect of each customer, Spearman", _spearman(score, effect), 1.0, 0.0, SAME),
        Row("uplift", "error over the effects' spread", error, 0.0, 1.0, SAME),
        Row("uplift", "Qini over that of the true effects", found / best, 1.0, 0.0, SAME),
        Row("uplift", "average effect, error", average.value - float(effect.mean()), 0.0),
    ]


def off_policy(world: World) -> list[Row]:
    """Estimated against true value of a list policy; see `benchmarks.off_policy` for the worlds."""
    judged = [each for number in range(OFF_POLICY_WORLDS) for each in judge_world(world.seed, number)]
    rows = []
    for each in summary(judged):
        name, truth = each["estimator"], float(each["truth"])
        error, share = float(each["rmse"]), float(each["coverage"])
        rows.append(Row("off-policy", f"{name}, error", error, 0.0, truth, "the value itself"))
        rows.append(Row("off-policy", f"{name}, coverage of 95 %", share, 0.95))
    return rows


def attribution(world: World) -> list[Row]:
    """What campaigns earn, in a shop large enough to measure it; the rival is the best of the rules."""
    judged = judge(EXPERIMENT_CUSTOMERS, CAMPAIGN_DAYS, world.seed)
    error = {each.method: abs(each.error) for each in judged if each.channel == ALL}
    own = error.pop(INCREMENTAL)
    best = min(error, key=lambda method: error[method])
    return [Row("attribution", "error of the campaigns' revenue", own, 0.0, error[best], best)]


ESTIMATORS = (
    Estimator("tastes", tastes),
    Estimator("churn", churn),
    Estimator("clv", lifetime_value),
    Estimator("price", price),
    Estimator("uplift", uplift),
    Estimator("off-policy", off_policy),
    Estimator("attribution", attribution),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, prints, and returns the exit status."""
    options = _parser().parse_args(arguments)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="attune-truth-") as folder:
        world = World(Path(folder), options.users, options.days, options.seed)
        for estimator in ESTIMATORS:
            if estimator.name in options.only:
                started = time.perf_counter()
                rows += estimator.run(world)
                print(f"{estimator.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print(f"{options.users} customers, {options.days} days, seed {options.seed}\n")
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2), encoding="utf-8")
    return 0


def table(rows: Sequence[Row]) -> str:
    """One line per figure: the estimator's, the ideal, and the simplest rival's."""
    lines = [f"{'estimator':<15} {'figure':<46} {'value':>8} {'ideal':>7}  simplest rival"]
    for row in rows:
        rival = "" if row.baseline is None else f"{row.baseline:.3f} ({row.baseline_name})"
        lines.append(
            f"{row.estimator:<15} {row.figure:<46} {row.value:8.3f} {row.ideal:7.2f}  {rival}".rstrip()
        )
    return "\n".join(lines)


def _against_affinity(
    scorer: Scorer, users: npt.NDArray[np.int64], affinity: FloatArray
) -> tuple[float, float]:
    """(mean affinity percentile of the first items, mean rank correlation of score and affinity)."""
    percentiles, correlations, done = [], [], 0
    for block, scores in score_blocks(scorer, users):
        true = affinity[done : done + len(block)]
        done += len(block)
        rank = rankdata(true, axis=1) / true.shape[1]
        floor = np.where(np.isfinite(scores), scores, np.nanmin(scores[np.isfinite(scores)]) - 1.0)
        first = np.argsort(-floor, axis=1, kind="stable")[:, :SHOWN]
        percentiles.append(np.take_along_axis(rank, first, axis=1).mean(axis=1))
        place = rankdata(floor, axis=1) / true.shape[1]
        correlations.append(
            [np.corrcoef(ours, theirs)[0, 1] for ours, theirs in zip(place, rank, strict=True)]
        )
    return float(np.concatenate(percentiles).mean()), float(np.concatenate(correlations).mean())


def _spearman(estimate: FloatArray, truth: FloatArray) -> float:
    return float(spearmanr(estimate, truth).statistic)


def _ratio(estimate: FloatArray, truth: FloatArray) -> float:
    return float(estimate.sum() / truth.sum())


def _error(estimate: FloatArray, truth: FloatArray) -> float:
    return float(np.abs(estimate - truth).mean() / truth.mean())


def _rmse(estimate: FloatArray, truth: FloatArray) -> float:
    return float(np.sqrt(np.mean((estimate - truth) ** 2)))


def _parser() -> argparse.ArgumentParser:
    names = [estimator.name for estimator in ESTIMATORS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="estimators (default: all)")
    parser.add_argument(
        "--users", type=int, default=1200, help="customers of the shop (default: %(default)s)"
    )
    parser.add_argument("--days", type=int, default=480, help="days of the shop (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
