"""The interactions mart as arrays and sparse matrices.

Everything that a recommender learns from passes through `read_interactions`, which sees only days before the
cut-off; labels are read apart, by `read_bought`. The decay convention is the marts': whole days, weight 1 on
the last day before the cut-off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import cast

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from training.errors import MissingMart, NotEnoughData
from training.identifiers import IdMap
from training.item_texts import item_texts

MART = "interactions_daily"
COLUMNS = ("user_id", "item_id", "event_date", "purchase_count", "strength")
ITEMS = "items"


@dataclass(frozen=True)
class Interactions:
    """What known users did with items before `cutoff`: one position per user, item and day.

    `user` and `item` are positions in `users` and `items`; `age_days` is whole days between the end of the
    day and the cut-off (0 for the last day before it); `purchase_count` counts lines; `strength` is the
    mart's weighting of views, carts and purchases. `texts`: what the catalogue says of each item, if it does.
    """

    users: IdMap
    items: IdMap
    cutoff: date
    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    age_days: npt.NDArray[np.float32]
    purchase_count: npt.NDArray[np.float32]
    strength: npt.NDArray[np.float32]
    texts: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Users, items."""
        return len(self.users), len(self.items)

    def __len__(self) -> int:
        return len(self.user)

    def strengths(self, half_life_days: float | None) -> sparse.csr_matrix:
        """User x item strength, each day's share halved every `half_life_days` (None: not at all)."""
        return self._sum(self.strength * decay(self.age_days, half_life_days))

    def purchase_days(self, half_life_days: float | None = None) -> sparse.csr_matrix:
        """User x item number of days with a purchase, optionally decayed."""
        days = (self.purchase_count > 0).astype(np.float32)
        return self._sum(days * decay(self.age_days, half_life_days))

    @cached_property
    def bought(self) -> sparse.csr_matrix:
        """User x item, 1 where the user bought the item at least once."""
        matrix = self.purchase_days()
        matrix.data = np.ones_like(matrix.data)
        return matrix

    def buyers(self, last_days: float | None = None) -> npt.NDArray[np.float64]:
        """Distinct buyers of each item, overall or within the last days before the cut-off."""
        if last_days is None:
            return np.asarray(self.bought.sum(axis=0), dtype=np.float64).ravel()
        recent = (self.purchase_count > 0) & (self.age_days < last_days)
        pairs = np.unique(self.user[recent].astype(np.int64) * len(self.items) + self.item[recent])
        return np.bincount(pairs % len(self.items), minlength=len(self.items)).astype(np.float64)

    def last_bought_age(self) -> sparse.csr_matrix:
        """User x item days since the last purchase plus 1: a stored 1 is the day before the cut-off."""
        chosen = self.purchase_count > 0
        rows, columns = self.user[chosen], self.item[chosen]
        nearest = np.full(len(rows), 0.0, dtype=np.float32)
        order = np.lexsort((self.age_days[chosen], columns, rows))
        rows, columns = rows[order], columns[order]
        nearest = self.age_days[chosen][order] + 1.0
        first = np.ones(len(rows), dtype=bool)
        first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
        return sparse.csr_matrix((nearest[first], (rows[first], columns[first])), shape=self.shape)

    def _sum(self, values: npt.NDArray[np.float32]) -> sparse.csr_matrix:
        matrix = sparse.csr_matrix((values, (self.user, self.item)), shape=self.shape, dtype=np.float32)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        return matrix


def decay(age_days: npt.NDArray[np.float32], half_life_days: float | None) -> npt.NDArray[np.float32]:
    """2 ** (-age / half life); 1 everywhere without a half-life."""
    if half_life_days is None:
        return np.ones_like(age_days)
    return cast(npt.NDArray[np.float32], np.exp2(-age_days / np.float32(half_life_days)).astype(np.float32))


def read_interactions(mart_glob: str, before: date) -> Interactions:
    """Every interaction on a day before `before`; raises if there is none, or if the mart is absent.

    The texts are those of the mart `items` beside it, where there is one.
    """
    query = """
        select user_id, item_id, date_diff('day', event_date, $before::date) - 1 as age_days,
               purchase_count, strength
        from read_parquet($files)
        where event_date < $before::date and strength > 0
        order by event_date, user_id, item_id
    """
    table = query_interactions(mart_glob, query, {"before": _day(before)})
    if table.num_rows == 0:
        remedy = "choose a later cut-off or land earlier days"
        raise NotEnoughData(f"interactions before {_day(before)}", 0, 1, remedy)
    users, user = _index(table["user_id"])
    items, item = _index(table["item_id"])
    return Interactions(
        users,
        items,
        _day(before),
        user,
        item,
        _floats(table["age_days"]),
        _floats(table["purchase_count"]),
        _floats(table["strength"]),
        _texts(Path(mart_glob).parents[1] / ITEMS, items),
    )


def read_bought(mart_glob: str, start: date, end: date) -> tuple[list[str], list[str]]:
    """Distinct (user_id, item_id) pairs bought on days from `start` up to before `end`, as two lists."""
    query = """
        select distinct user_id, item_id from read_parquet($files)
        where event_date >= $start::date and event_date < $end::date and purchase_count > 0
        order by user_id, item_id
    """
    table = query_interactions(mart_glob, query, {"start": _day(start), "end": _day(end)})
    return table["user_id"].to_pylist(), table["item_id"].to_pylist()


def query_interactions(mart_glob: str, query: str, parameters: Mapping[str, object]) -> pa.Table:
    """The answer to SQL over the mart's `$files`, with instants in UTC; raises `MissingMart`."""
    pattern = Path(mart_glob)
    files = [str(path) for path in sorted(pattern.parent.glob(pattern.name))]
    if not files:
        raise MissingMart(MART, f"has no Parquet files at {mart_glob}")
    try:
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(query, {"files": files, **parameters}).to_arrow_table()
    except duckdb.BinderException as error:
        raise MissingMart(MART, f"lacks a column of {', '.join(COLUMNS)} ({error})") from error
    except duckdb.IOException as error:
        raise MissingMart(MART, f"cannot be read ({error})") from error


def _index(column: pa.ChunkedArray) -> tuple[IdMap, npt.NDArray[np.int32]]:
    """The distinct ids, and the position of each row's id among them."""
    encoded = pc.dictionary_encode(column).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    found = encoded.dictionary.to_pylist()
    ids = IdMap.of(found)
    positions = ids.positions(found).astype(np.int32)
    return ids, positions[encoded.indices.to_numpy(zero_copy_only=False)]


def _texts(catalogue: Path, items: IdMap) -> tuple[str, ...] | None:
    """Each item's text; None where there is no catalogue, or no word in it."""
    if not any(catalogue.glob("*.parquet")):
        return None
    table = pq.read_table(catalogue)
    known = dict(zip(table["item_id"].to_pylist(), item_texts(table), strict=True))
    found = tuple(known.get(item_id, "") for item_id in items.ids)
    return found if any(found) else None


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    return cast(npt.NDArray[np.float32], column.cast(pa.float32(), safe=False).to_numpy())


def _day(value: date) -> date:
    return value.date() if isinstance(value, datetime) else value
