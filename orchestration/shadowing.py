"""The challenger beside the champion on customers as they come, without a visitor seeing anything of it.

After each scoring some of the customers who lately did something are ranked by the challenger too, where the
gate refused one. What they buy on the days after is held against both lists: a challenger that surely finds
more of it than the champion is worth a second look (`attune promote`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.erasure import NOBODY, Erased
from feature_repo.layout import Home
from orchestration.data import Data
from orchestration.interleaving import active_customers, are_drafted, rivals
from orchestration.parquet_files import write_atomically
from orchestration.resources import Models
from orchestration.training_runs import stored_recommender
from training.identifiers import UNKNOWN
from training.interactions import Interactions, read_bought
from training.intervals import Estimate, bootstrap_mean
from training.top_items import recommend

TABLE = "shadow_lists"
CUSTOMERS = 1_000
LENGTH = 20
LABEL_DAYS = 14
KEPT_LISTS = 30
LEAST_BUYERS = 30
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("champion_version", pa.string()),
        ("challenger_version", pa.string()),
        ("champion_items", pa.list_(pa.string())),
        ("challenger_items", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class Shadow:
    """Recall@20 of what was bought in the two weeks after each list, means over `buyers` (customers).

    `gain` is the challenger's over the champion's with its interval; None below `LEAST_BUYERS`.
    """

    champion_version: str
    challenger_version: str
    days: int
    buyers: int
    champion_recall: float
    challenger_recall: float
    gain: Estimate | None

    @property
    def is_better(self) -> bool:
        """Whether the challenger surely finds more."""
        return self.gain is not None and self.gain.low > 0

    def __str__(self) -> str:
        pair = f"challenger {self.challenger_version} beside champion {self.champion_version}"
        if self.gain is None:
            return f"{pair}: {self.buyers} customers bought since, {LEAST_BUYERS} are needed"
        return (
            f"{pair}: Recall@{LENGTH} {self.challenger_recall:.4f} against {self.champion_recall:.4f} of "
            f"what {self.buyers} customers bought after lists of {self.days} days; gain {self.gain}"
        )


def shadow(data: Data, models: Models, seed: int, erased: Erased = NOBODY) -> Shadow | None:
    """Hold kept lists against what was bought, and write those of now; None without a refused challenger."""
    versions = rivals(models)
    if versions is None:
        return None
    champion, challenger = versions.champion, versions.challenger
    found = judge(data, champion.version, challenger.version, seed)
    interactions = data.interactions()
    users = sample(interactions, seed)
    lists = recommend(stored_recommender(models.open(), challenger).scorer(interactions), users, LENGTH)
    items = np.array(interactions.items.ids, dtype=object)
    names = [interactions.users.ids[user] for user in users]
    shown = champion_lists(data.home, names)
    rows = [
        {
            "user_id": user,
            "champion_version": champion.version,
            "challenger_version": challenger.version,
            "champion_items": shown[user][:LENGTH],
            "challenger_items": items[row[row != UNKNOWN]].tolist(),
        }
        for user, row in zip(names, lists.positions, strict=True)
        if user in shown
    ]
    table = pa.Table.from_pylist(rows, SCHEMA)
    write_lists(data.home, data.until, table.filter(pa.array(~erased.mask(table["user_id"]))))
    return found


def sample(interactions: Interactions, seed: int) -> npt.NDArray[np.int64]:
    """Positions of at most `CUSTOMERS` customers who did something in the last days, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(active_customers(interactions))[:CUSTOMERS])


def judge(data: Data, champion: str, challenger: str, seed: int) -> Shadow:
    """Recall of both versions' lists over the kept days; a customer of several days is one mean."""
    recalls: dict[str, list[tuple[float, float]]] = defaultdict(list)
    days = 0
    for day, table in kept_lists(data.home):
        mine = pc.and_(
            pc.equal(table["champion_version"], champion), pc.equal(table["challenger_version"], challenger)
        )
        rows = table.filter(mine).to_pylist()
        bought = bought_after(data, day) if rows else {}
        days += bool(bought)
        for row in rows:
            wanted = bought.get(row["user_id"])
            if wanted:
                recalls[row["user_id"]].append(
                    (found_of(wanted, row["champion_items"]), found_of(wanted, row["challenger_items"]))
                )
    means = np.array([np.mean(pairs, axis=0) for pairs in recalls.values()]).reshape(-1, 2)
    both = means.mean(axis=0) if len(means) else np.full(2, np.nan)
    gain = bootstrap_mean(means[:, 1] - means[:, 0], seed=seed) if len(means) >= LEAST_BUYERS else None
    return Shadow(champion, challenger, days, len(means), float(both[0]), float(both[1]), gain)


def bought_after(data: Data, day: date) -> dict[str, set[str]]:
    """Distinct items of each customer on the days after a list's, as far as they are known."""
    first = day + timedelta(days=1)
    end = min(first + timedelta(days=LABEL_DAYS), data.until + timedelta(days=1))
    if end <= first:
        return {}
    bought: dict[str, set[str]] = defaultdict(set)
    for user, item in zip(*read_bought(data.home.mart_glob("interactions_daily"), first, end), strict=True):
        bought[user].add(item)
    return bought


def found_of(wanted: set[str], items: list[str]) -> float:
    """Recall@20: the share of what was bought that is in the list."""
    return len(wanted & set(items)) / len(wanted)


def champion_lists(home: Home, users: Sequence[str]) -> dict[str, list[str]]:
    """What the champion recommends these customers now, as far as it does so alone."""
    files = sorted(home.prediction("user_candidates").glob("[!.]*.parquet"))
    if not files:
        return {}
    columns = ["user_id", "item_ids", "algorithms"]
    table = pq.read_table(files[-1], columns=columns, filters=[("user_id", "in", users)])
    table = table.filter(pa.array(~are_drafted(table)))
    return dict(zip(table["user_id"].to_pylist(), table["item_ids"].to_pylist(), strict=True))


def kept_lists(home: Home) -> Iterator[tuple[date, pa.Table]]:
    """The lists of each kept day, oldest first."""
    for path in sorted(home.prediction(TABLE).glob("[!.]*.parquet")):
        yield date.fromisoformat(path.stem), pq.read_table(path, schema=SCHEMA)


def write_lists(home: Home, day: date, table: pa.Table) -> None:
    """Replace the lists of a day, and forget the oldest."""
    path = home.prediction(TABLE) / f"{day.isoformat()}.parquet"
    write_atomically(path, table)
    for old in sorted(path.parent.glob("[!.]*.parquet"))[:-KEPT_LISTS]:
        old.unlink()
