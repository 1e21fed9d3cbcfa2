"""What mined bundles are worth on real orders: false discoveries, and whether they hold after a cut-off.

    python -m benchmarks.bundles --data ../shared/data/online_retail_year1 [--cutoff 2010-09-01] [--json FILE]

Lands the data in a temporary home (or takes the landed days of `--home`) and prints

- bundles of the whole year by kind, with the seconds of reading and mining;
- **false discoveries**: pairs found in baskets that were dealt anew (same sizes, same sales of each month),
  beside those found in the real ones; the same with plain independence as the idea of chance;
- **after the cut-off**: pairs mined before it, how often they meet after it over what chance makes of the
  later baskets, beside as popular pairs that were not found. Pooled lift is all meetings over
  all expected ones, mean lift the mean over pairs; intervals by drawing the later buyers anew.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from scipy.stats import poisson

from feature_repo.layout import Home
from training.baskets import Baskets, Ints, read_baskets
from training.bundles import ITEM_COLUMNS, BundleConfig, baskets_to_mine, mine_bundles, well_founded
from training.copurchase import expected_meetings, frequent_items, mine_pairs, q_values, shuffled

DRAWS = 400


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 with --strict if dealt baskets give more than q, or lift does not hold."""
    options = _parser().parse_args(arguments)
    config = BundleConfig()
    with _home(options) as home:
        files = sorted(home.events.glob("event_date=*/*.parquet"))
        last = date.fromisoformat(files[-1].parent.name.removeprefix("event_date="))
        as_of = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
        items = read_items(home)
        started = time.perf_counter()
        orders = read_baskets(files, as_of, config.window_days)
        read_seconds = time.perf_counter() - started
        started = time.perf_counter()
        table = mine_bundles(orders, items, as_of, config)
        mine_seconds = time.perf_counter() - started
    print(f"{len(orders.basket)} lines, {orders.basket_count} orders, {orders.item_count} items")
    print(f"read in {read_seconds:.1f} s, mined in {mine_seconds:.1f} s\n")
    counts = print_kinds(table.to_pylist())
    baskets, basket_kind = baskets_to_mine(orders, config)
    discoveries = false_discoveries(baskets, config, options.shuffles)
    print(f"\nbaskets: {basket_kind}; pairs at q {config.q}\n")
    print(f"{'idea of chance':<40}{'found':>8}{'dealt anew, mean':>18}{'share':>8}")
    for name, row in discoveries.items():
        print(f"{name:<40}{row['found']:>8}{row['dealt']:>18.1f}{row['share']:>8.4f}")
    later = out_of_time(orders, options.cutoff, config, options.seed)
    print_later(options.cutoff, later)
    if options.json:
        content = {
            "seconds": {"read": read_seconds, "mine": mine_seconds},
            "kinds": counts,
            "false_discoveries": discoveries,
            "after": later,
        }
        options.json.write_text(json.dumps(content, indent=2), encoding="utf-8")
    dealt = discoveries["sizes and months kept"]["share"]
    holds = later["mined"]["pooled"][1] > 1 and later["ratio"][1] > 1
    return 1 if options.strict and (dealt > config.q or not holds) else 0


def print_kinds(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """A line for each kind; returns how many there are of each."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(row["bundle_type"], []).append(row)
    print(f"{'kind':<16}{'bundles':>8}{'of three':>10}{'lift, median':>14}{'with discount':>15}")
    for kind, mine in sorted(kinds.items()):
        three = sum(len(row["items"]) == 3 for row in mine)
        lift = float(np.median([row["lift"] for row in mine]))
        discounted = sum(row["discount"] > 0 for row in mine)
        print(f"{kind:<16}{len(mine):>8}{three:>10}{lift:>14.1f}{discounted:>15}")
    return {kind: len(mine) for kind, mine in sorted(kinds.items())}


def print_later(cutoff: date, later: dict[str, Any]) -> None:
    """Mined pairs and as popular ones after the cut-off."""
    print(f"\nmined before {cutoff}, measured in {later['baskets']} baskets after it\n")
    print(f"{'pairs':<26}{'number':>8}{'pooled lift':>22}{'mean lift':>24}{'above chance':>14}{'q<=0.05':>9}")
    for name in ("mined", "as popular, not mined"):
        row = later[name]
        lifts = f"{_interval(row['pooled']):>22}{_interval(row['mean']):>24}"
        print(f"{name:<26}{row['pairs']:>8}{lifts}{row['above']:>14.3f}{row['again']:>9.3f}")
    print(f"{'ratio of pooled lifts':<34}{_interval(later['ratio']):>22}")


def false_discoveries(baskets: Baskets, config: BundleConfig, shuffles: int) -> dict[str, dict[str, float]]:
    """Pairs found in real and in dealt baskets, by our chance and by plain independence."""
    dealt = [shuffled(baskets, seed) for seed in range(shuffles)]
    floors = config.min_item_baskets, config.min_set_baskets, config.q
    found = {
        "sizes and months kept": [len(mine_pairs(each, *floors)) for each in (baskets, *dealt)],
        "independence of two items": [independent_pairs(each, *floors) for each in (baskets, *dealt)],
    }
    return {
        name: {
            "found": counts[0],
            "dealt": float(np.mean(counts[1:])),
            "share": float(np.mean(counts[1:]) / max(1, counts[0])),
        }
        for name, counts in found.items()
    }


def independent_pairs(baskets: Baskets, min_item: int, min_count: int, q: float) -> int:
    """How many pairs are found if chance is `n_i n_j / baskets`."""
    items = frequent_items(baskets, min_item)
    matrix = baskets.matrix[:, items]
    met = sparse.triu(matrix.T @ matrix, k=1).tocoo()
    sold = baskets.item_baskets[items]
    expected = sold[met.row] * sold[met.col] / baskets.basket_count
    enough = met.data >= min_count
    p_values = poisson.sf(np.rint(met.data[enough]) - 1, expected[enough])
    return int((q_values(p_values, len(items) * (len(items) - 1) // 2) <= q).sum())


def out_of_time(orders: Baskets, cutoff: date, config: BundleConfig, seed: int) -> dict[str, Any]:
    """Pairs mined before a day, and as popular pairs that were not, in the baskets from that day on."""
    day = (cutoff - orders.first_date).days
    before, _ = baskets_to_mine(orders.select(orders.day < day), config)
    after, _ = baskets_to_mine(orders.select(orders.day >= day), config)
    floors = config.min_item_baskets, config.min_set_baskets, config.q
    mined = well_founded(before, mine_pairs(before, *floors), config).items
    others = matched_pairs(before, mined, seed)
    measured = {
        name: Measured(after, pairs) for name, pairs in (("mined", mined), ("as popular, not mined", others))
    }
    rng = np.random.default_rng(seed)
    buyers = int(after.buyer.max()) + 1
    draws = [np.bincount(rng.integers(0, buyers, buyers), minlength=buyers) for _ in range(DRAWS)]
    found: dict[str, Any] = {name: each.summary(draws) for name, each in measured.items()}
    pooled = [np.array([each.pooled(weights) for weights in draws]) for each in measured.values()]
    found["ratio"] = [
        found["mined"]["pooled"][0] / found["as popular, not mined"]["pooled"][0],
        *np.percentile(pooled[0] / pooled[1], [2.5, 97.5]).tolist(),
    ]
    return found | {"baskets": after.basket_count}


class Measured:
    """Pairs in later baskets: observed meetings by buyer, and expected ones."""

    def __init__(self, baskets: Baskets, pairs: Ints) -> None:
        self.expected = expected_meetings(baskets, pairs[:, 0], pairs[:, 1])
        # A pair of which an item is no longer sold tells nothing.
        known = np.flatnonzero(self.expected > 1e-9)
        self.expected, held = self.expected[known], baskets.holding(pairs[known])
        buyer = baskets.of_basket["buyer"]
        rows = np.repeat(np.arange(len(held)), [len(each) for each in held])
        columns = buyer[np.concatenate(held)] if len(held) else np.zeros(0, dtype=np.int64)
        shape = (len(held), int(baskets.buyer.max()) + 1)
        self.met = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)

    def pooled(self, weights: Ints) -> float:
        """Meetings over expected ones, with the buyers counted as often as they were drawn."""
        return float((self.met @ weights).sum() / self.expected.sum())

    def summary(self, draws: Sequence[Ints]) -> dict[str, Any]:
        """Lifts with intervals; shares of pairs above chance, and of pairs found again by themselves."""
        count = np.asarray(self.met.sum(axis=1)).ravel()
        lifts = np.array([self.met @ weights / self.expected for weights in draws])
        pooled = [self.pooled(weights) for weights in draws]
        p_values = poisson.sf(count - 1, self.expected)
        return {
            "pairs": len(count),
            "pooled": [count.sum() / self.expected.sum(), *np.percentile(pooled, [2.5, 97.5]).tolist()],
            "mean": [
                float((count / self.expected).mean()),
                *np.percentile(lifts.mean(axis=1), [2.5, 97.5]).tolist(),
            ],
            "above": float((count > self.expected).mean()),
            "again": float((q_values(p_values, len(p_values)) <= 0.05).mean()),
        }


def matched_pairs(baskets: Baskets, pairs: Ints, seed: int) -> Ints:
    """For each pair one of items that sold as often (the nearest ranks), and that is not among the pairs."""
    rng = np.random.default_rng(seed)
    order = np.argsort(-baskets.item_baskets, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    taken = {tuple(pair) for pair in pairs.tolist()}
    found: list[tuple[int, int]] = []
    for pair in pairs.tolist():
        for reach in (5, 10, 20, 40, 80):
            moved = [
                int(order[np.clip(rank[item] + rng.integers(-reach, reach + 1), 0, len(order) - 1)])
                for item in pair
            ]
            other = (min(moved), max(moved))
            if moved[0] != moved[1] and other not in taken:
                taken.add(other)
                found.append(other)
                break
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def read_items(home: Home) -> pa.Table:
    """The published catalogue, else the landed one, whose category is the whole path."""
    if home.mart("items").is_dir():
        return pq.read_table(home.mart("items"), columns=list(ITEM_COLUMNS))
    items = pq.read_table(home.items_file)
    for name in ("category", "leaf_category"):
        items = items.append_column(name, items["category_path"].cast(pa.string()))
    return items.select(list(ITEM_COLUMNS))


def _interval(values: Sequence[float]) -> str:
    return f"{values[0]:.2f} [{values[1]:.2f}, {values[2]:.2f}]"


@contextmanager
def _home(options: argparse.Namespace) -> Iterator[Home]:
    if options.home is not None:
        yield Home(options.home)
        return
    from orchestration.landing import land_days
    from orchestration.sources.base import open_source

    with tempfile.TemporaryDirectory(prefix="attune-bundles-") as directory:
        home = Home(Path(directory))
        land_days(home, open_source("online_retail", options.data))
        yield home


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bundles", description=__doc__.split("\n")[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--data", type=Path, default=Path("../shared/data/online_retail_year1"))
    where.add_argument("--home", type=Path, help="take the landed days of this home instead")
    parser.add_argument(
        "--cutoff", type=date.fromisoformat, default="2010-09-01", help="a day (default: %(default)s)"
    )
    parser.add_argument("--shuffles", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a check fails")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
