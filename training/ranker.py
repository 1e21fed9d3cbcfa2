"""The second stage: XGBoost `rank:ndcg` on candidates, trained on what users took after the sources' time.

Groups are users; those without a hit among their candidates teach nothing and are left out. Of the other
candidates `negatives` are drawn for each user.
"""

from dataclasses import dataclass

import numpy as np
import xgboost

from training.candidate_table import CandidateTable
from training.cores import run_side_by_side, usable_cores
from training.errors import NotEnoughData
from training.sources.history import Flags, Single

PREDICT_ROWS = 100_000
LEAST_GROUPS = 30
THREADED_ROWS = 1_000_000
"""Below this many rows a round lasts milliseconds, and on busy cores threads mostly wait for each other."""


@dataclass(frozen=True)
class RankerConfig:
    """Trees and sampling; about `max_rows` rows, of whole users, are learned from: the bound on the time."""

    rounds: int = 150
    max_depth: int = 6
    learning_rate: float = 0.1
    min_child_weight: float = 10.0
    subsample: float = 0.8
    colsample: float = 0.4
    reg_lambda: float = 5.0
    negatives: int = 50
    pairs: int = 40
    max_rows: int = 400_000


@dataclass(frozen=True)
class Ranker:
    """Boosters over the same features; their margins are averaged."""

    names: tuple[str, ...]
    boosters: tuple[xgboost.Booster, ...]

    def __post_init__(self) -> None:
        # Blocks run side by side, so a booster needs no threads of its own.
        for booster in self.boosters:
            booster.set_param({"nthread": 1})

    def score(self, table: CandidateTable) -> Single:
        """One score for each row, in blocks; may be called from several threads at once."""
        if table.names != self.names:
            raise ValueError("the table has other features than the ranker was fitted on")
        total = np.zeros(len(table), dtype=np.float32)

        def add(start: int) -> None:
            rows = slice(start, start + PREDICT_ROWS)
            for booster in self.boosters:
                total[rows] += booster.inplace_predict(table.features[rows], predict_type="margin")

        run_side_by_side(add, range(0, len(table), PREDICT_ROWS))
        return total / np.float32(len(self.boosters))

    def gain(self) -> dict[str, float]:
        """Share of the total gain that splits on each feature brought, largest first."""
        gains = dict.fromkeys(self.names, 0.0)
        for booster in self.boosters:
            for key, value in booster.get_score(importance_type="total_gain").items():
                gains[self.names[int(key[1:])]] += float(value)  # type: ignore[arg-type]
        total = sum(gains.values()) or 1.0
        return {name: gains[name] / total for name in sorted(gains, key=lambda name: -gains[name])}


def fit_ranker(table: CandidateTable, relevant: Flags, config: RankerConfig, seed: int) -> Ranker:
    """Fit one booster; raises `NotEnoughData` if too few users have a hit."""
    rows = training_rows(table, relevant, config, seed)
    groups = table.row[rows]
    users = len(np.unique(groups))
    if users < LEAST_GROUPS:
        remedy = "give a longer horizon or more users; the blend needs no ranker"
        raise NotEnoughData("users with a hit among candidates", users, LEAST_GROUPS, remedy)
    data = xgboost.QuantileDMatrix(
        table.features[rows],
        label=relevant[rows].astype(np.float32),
        qid=groups,
        max_bin=128,
        nthread=_threads(len(rows)),
    )
    parameters = {
        "objective": "rank:ndcg",
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": config.pairs,
        "ndcg_exp_gain": False,
        "tree_method": "hist",
        "max_bin": 128,
        "max_depth": config.max_depth,
        "eta": config.learning_rate,
        "min_child_weight": config.min_child_weight,
        "subsample": config.subsample,
        "colsample_bytree": config.colsample,
        "reg_lambda": config.reg_lambda,
        "nthread": _threads(len(rows)),
        "seed": seed,
        "verbosity": 0,
    }
    return Ranker(table.names, (xgboost.train(parameters, data, num_boost_round=config.rounds),))


def _threads(rows: int) -> int:
    return usable_cores() if rows >= THREADED_ROWS else 1


def training_rows(
    table: CandidateTable, relevant: Flags, config: RankerConfig, seed: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows of users with a hit: all hits, and `negatives` others of each user drawn at random; ascending."""
    rng = np.random.default_rng(seed)
    hit = np.unique(table.row[relevant])
    rows_of_user = config.negatives + np.count_nonzero(relevant) / max(1, len(hit))
    users = int(config.max_rows / rows_of_user)
    if len(hit) > users:
        hit = np.sort(rng.choice(hit, users, replace=False))
    of_hit = np.zeros(len(table.users), dtype=bool)
    of_hit[hit] = True
    others = np.flatnonzero(of_hit[table.row] & ~relevant)
    others = others[np.lexsort((rng.random(len(others)), table.row[others]))]
    owner = table.row[others]
    first = np.searchsorted(owner, owner)
    others = others[np.arange(len(others)) - first < config.negatives]
    return np.sort(np.concatenate([np.flatnonzero(of_hit[table.row] & relevant), others])).astype(np.int64)
