"""What each re-ranking knob costs in relevance, and what it buys: one curve for each, on real orders.

    python -m benchmarks.reranking --home DIR [--cutoff 2010-09-01] [--json FILE] [--figure FILE]

Takes the published tables of a home. Recommends 20 products to each customer known at the cut-off, from what
was known then (a blend of own history and ALS, 100 candidates), re-ranks them as the service does, and holds
the lists against what they bought in the `--days` after. Strength 0 of every knob is the same list. For each
knob and strength:

- NDCG@20 and its difference from strength 0, with 95 % intervals over customers;
- **diversity**: 1 - the mean cosine of the item factors of two items of a list;
- **novelty**: mean self-information, `-log2(share of customers who bought the item)`, in bits;
- **calibration**: KL divergence of the customer's mix of categories from the list's, less is better; where
  the catalogue has no categories, 20 clusters of the titles stand in;
- **margin**: mean margin share of a list, where costs are known.

The measure that a knob is for is marked; the others show what it does besides.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer

from feature_repo.layout import Home
from serving.decisions.calibration import choose_calibrated, divergence
from serving.decisions.candidates import NOBODY, PERSONAL_FLOOR, Pool
from serving.decisions.catalogue import CatalogueIndex, index_catalogue
from serving.decisions.diversity import by_relevance, choose
from serving.decisions.rules import Actions, HeldRule, compile_rules
from training.artifacts import ITEM_SCHEMA, ItemTable, Relations
from training.candidates import BlendChoice
from training.config import AlsConfig, PopularityConfig
from training.factors import ItemFactors
from training.identifiers import UNKNOWN
from training.interactions import Interactions, read_bought
from training.intervals import bootstrap_mean, paired_difference
from training.popularity import rank_popularity
from training.recommenders import Recipe, fit_recommender
from training.relations import ITEM_COLUMNS, RelationsConfig, similar_items
from training.top_items import recommend

LENGTH, CANDIDATES, FAMILIES = 20, 100, 20
STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
MEASURES = ("diversity", "novelty", "calibration", "margin")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """What is known at the cut-off, and each customer's candidates, labels and mix of categories."""

    index: CatalogueIndex
    factors: ItemFactors
    information: Floats
    margins: Floats
    pools: Sequence[Pool]
    labels: Sequence[frozenset[int]]
    label_counts: Sequence[int]
    mixes: Sequence[Mapping[int, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    options = _parser().parse_args(arguments)
    world = read_world(Home(options.home), options.cutoff, options.days, options.customers, options.seed)
    print(f"{len(world.pools)} customers, lists of {LENGTH} from {CANDIDATES} candidates\n")
    curves = {}
    for knob, make in KNOBS.items():
        if knob == "margin" and not np.isfinite(world.margins).any():
            print("margin: no cost is known in this catalogue\n")
            continue
        curves[knob] = curve(world, knob, make, options.seed)
        print_curve(knob, curves[knob])
    if options.json:
        options.json.write_text(json.dumps(curves, indent=2), encoding="utf-8")
    if options.figure:
        draw(curves, options.figure)
    return 0


# the knobs, as the service turns them


Rerank = Callable[[int], list[int]]
"""Customer -> the list."""


def _diverse(world: World, strength: float) -> Rerank:
    return lambda customer: choose(by_relevance(world.pools[customer]), LENGTH, world.index, strength)[0]


def _boosted(action: str, world: World, strength: float) -> Rerank:
    rule = HeldRule("knob", Actions.model_validate({action: strength}))
    boosts = compile_rules([rule], world.index).boosts or [1.0] * len(world.index.item_ids)

    def rerank(customer: int) -> list[int]:
        pool = world.pools[customer]
        boosted = {item: (score * boosts[item], kind, tied) for item, (score, kind, tied) in pool.items()}
        return choose(by_relevance(boosted), LENGTH, world.index, 0.0)[0]

    return rerank


def _calibrated(world: World, strength: float) -> Rerank:
    return lambda customer: choose_calibrated(
        world.pools[customer], LENGTH, world.index, 0.0, world.mixes[customer], strength
    )[0]


KNOBS: Mapping[str, Callable[[World, float], Rerank]] = {
    "diversity": _diverse,
    "novelty": partial(_boosted, "prefer_novelty"),
    "calibration": _calibrated,
    "margin": partial(_boosted, "prefer_high_margin"),
}


# the figures


def curve(world: World, knob: str, make: Callable[[World, float], Rerank], seed: int) -> list[dict[str, Any]]:
    """One row per strength."""
    rows = []
    first: dict[str, Floats] = {}
    for strength in STRENGTHS:
        rerank = make(world, strength)
        lists = [rerank(customer) for customer in range(len(world.pools))]
        values = measure(world, lists)
        first = first or values
        row: dict[str, Any] = {"strength": strength}
        for name, each in values.items():
            if np.isfinite(each).any():
                row[name] = bootstrap_mean(each, seed=seed).to_dict()
        row["ndcg_change"] = paired_difference(values["ndcg"], first["ndcg"], seed=seed).to_dict()
        row["bought"] = paired_difference(values[knob], first[knob], seed=seed).to_dict()
        row["coverage"] = len({item for each in lists for item in each}) / len(world.index.item_ids)
        rows.append(row)
    return rows


def measure(world: World, lists: Sequence[Sequence[int]]) -> dict[str, Floats]:
    """NDCG@20 and what knobs buy, one value per customer."""
    found: dict[str, list[float]] = {name: [] for name in ("ndcg", *MEASURES)}
    discount = 1.0 / np.log2(np.arange(2, LENGTH + 2))
    for customer, items in enumerate(lists):
        hits = np.array([item in world.labels[customer] for item in items])
        ideal = discount[: min(world.label_counts[customer], LENGTH)].sum()
        found["ndcg"].append(float(discount[: len(items)][hits].sum() / ideal))
        found["diversity"].append(_spread(world, items))
        found["novelty"].append(float(world.information[list(items)].mean()))
        counts: dict[int, int] = {}
        for item in items:
            counts[world.index.category_of[item]] = counts.get(world.index.category_of[item], 0) + 1
        found["calibration"].append(divergence(world.mixes[customer], counts))
        margins = world.margins[list(items)]
        found["margin"].append(float(np.nanmean(margins)) if np.isfinite(margins).any() else np.nan)
    return {name: np.array(values) for name, values in found.items()}


def _spread(world: World, items: Sequence[int]) -> float:
    """1 - the mean cosine of two items' factors; NaN for a list with fewer than two that have some."""
    names = [world.index.item_ids[item] for item in items]
    rows = [world.factors.position[name] for name in names if name in world.factors.position]
    vectors = world.factors.vectors[rows]
    norms = np.linalg.norm(vectors, axis=1)
    vectors = vectors[norms > 0] / norms[norms > 0, None]
    count = len(vectors)
    if count < 2:
        return float("nan")
    return float(1.0 - ((vectors @ vectors.T).sum() - count) / (count * (count - 1)))


# the world at the cut-off


def read_world(home: Home, cutoff: date, days: int, most: int, seed: int) -> World:
    """Everything before the cut-off, and what was bought in the days after it."""
    glob = home.mart_glob("interactions_daily")
    recipe = Recipe(AlsConfig(), BlendChoice(weight=0.5), seed)
    interactions, recommender = fit_recommender(glob, cutoff, recipe)
    items = _with_families(
        pq.read_table(home.mart("items"), columns=sorted({*ITEM_SCHEMA.names, *ITEM_COLUMNS}))
    )
    index = _index(items, recommender.factors, interactions)
    bought: dict[str, set[str]] = {}
    for user, item in zip(*read_bought(glob, cutoff, cutoff + timedelta(days=days)), strict=True):
        bought.setdefault(user, set()).add(item)
    users = [user for user in interactions.users.ids if user in bought]
    if len(users) > most:
        users = sorted(np.random.default_rng(seed).choice(users, most, replace=False).tolist())
    rows = interactions.users.positions(users)
    top = recommend(recommender.scorer(interactions), rows, CANDIDATES)
    place = np.array([index.position[item] for item in interactions.items.ids])
    pools = [
        _pool(place[each[each != UNKNOWN]], scores)
        for each, scores in zip(top.positions, top.scores, strict=True)
    ]
    history = [place[interactions.bought[row].indices] for row in rows]
    buyers = np.zeros(len(index.item_ids))
    buyers[place] = interactions.buyers()
    total = max(1, (np.diff(interactions.bought.indptr) > 0).sum())
    known = index.position
    return World(
        index=index,
        factors=recommender.factors,
        information=-np.log2(np.maximum(buyers, 1.0) / total),
        margins=_margins(items),
        pools=pools,
        labels=[frozenset(known[item] for item in bought[user] if item in known) for user in users],
        label_counts=[len(bought[user]) for user in users],
        mixes=[_mix(index, each) for each in history],
    )


def _pool(positions: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> Pool:
    best = float(scores[0]) if len(positions) and scores[0] > 0 else 1.0
    share = 1.0 - PERSONAL_FLOOR
    return {
        int(position): (PERSONAL_FLOOR + share * max(0.0, float(score)) / best, "released", NOBODY)
        for position, score in zip(positions, scores[: len(positions)], strict=True)
    }


def _mix(index: CatalogueIndex, items: npt.NDArray[np.int64]) -> dict[int, float]:
    numbers = [index.category_of[item] for item in items.tolist() if index.category_of[item] >= 0]
    return {number: numbers.count(number) / len(numbers) for number in set(numbers)}


def _with_families(items: pa.Table) -> pa.Table:
    """The catalogue; clusters of the titles are its categories where it has none."""
    if items["category"].null_count < items.num_rows:
        return items
    words = TfidfVectorizer(max_features=2000).fit_transform(
        [title or "" for title in items["title"].to_pylist()]
    )
    labels = KMeans(FAMILIES, n_init=3, random_state=0).fit_predict(words)
    place = items.column_names.index("category")
    return items.set_column(place, "category", pa.array([f"titles {label}" for label in labels]))


def _index(items: pa.Table, factors: ItemFactors, interactions: Interactions) -> CatalogueIndex:
    table = ItemTable.from_table(items)
    similar = similar_items(items, factors, table.position, RelationsConfig())
    names = ("similar", "similar_scores", "similar_by")
    relations = replace(Relations.empty(len(table)), **dict(zip(names, similar, strict=True)))
    categories = dict(zip(table.item_ids, table.category, strict=True))
    return index_catalogue(table, rank_popularity(interactions, categories, PopularityConfig()), relations)


def _margins(items: pa.Table) -> Floats:
    price, cost = (items[name].cast(pa.float64()).to_numpy() for name in ("price", "cost"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(price > 0, (price - cost) / price, np.nan), dtype=np.float64)


# output


def print_curve(knob: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """One table: the price first, then what it buys."""
    shown = [name for name in MEASURES if name in rows[0]]
    heads = "".join(f"{name + ('*' if name == knob else ''):>14}" for name in shown)
    print(f"{knob:<12}{'NDCG@20':>26}{'change':>28}{heads}{'coverage':>10}")
    for row in rows:
        measures = "".join(f"{row[name]['value']:>14.3f}" for name in shown)
        price = f"{_text(row['ndcg']):>26}{_text(row['ndcg_change'], '+'):>28}"
        print(f"{row['strength']:<12.1f}{price}{measures}{row['coverage']:>10.3f}")
    print()


def draw(curves: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """The curves as a figure: relevance against what is bought, one panel a knob."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(curves), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (knob, rows) in zip(np.ravel(figure.subplots(1, len(curves))), curves.items(), strict=True):
        x = [row[knob]["value"] for row in rows]
        y = [row["ndcg"]["value"] for row in rows]
        half = [[row["ndcg"]["value"] - row["ndcg"]["low"] for row in rows]]
        half.append([row["ndcg"]["high"] - row["ndcg"]["value"] for row in rows])
        axes.errorbar(x, y, yerr=half, marker="o", capsize=2)
        for row, at, height in zip(rows, x, y, strict=True):
            axes.annotate(f"{row['strength']:g}", (at, height), textcoords="offset points", xytext=(4, 4))
        axes.set_xlabel("KL from the customer's mix" if knob == "calibration" else knob)
        axes.set_ylabel("NDCG@20")
        axes.set_title(f"{knob}, by strength")
    figure.savefig(path)


def _text(estimate: Mapping[str, float], sign: str = "") -> str:
    value, low, high = (format(estimate[name], f"{sign}.4f") for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reranking", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--home", type=Path, required=True, help="a home with published tables")
    parser.add_argument("--cutoff", type=date.fromisoformat, default="2010-09-01")
    parser.add_argument("--days", type=int, default=91, help="days of labels (default: %(default)s)")
    parser.add_argument("--customers", type=int, default=2000, help="at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--figure", type=Path, help="also draw the curves, as .png or .svg")
    return parser


if __name__ == "__main__":
    sys.exit(main())
