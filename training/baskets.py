"""Orders as baskets of distinct items, from the landed purchase lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SETS_A_BLOCK = 5_000

_LINES = """
select coalesce(order_id, event_id) as basket,
       coalesce(user_id, anonymous_id, order_id, event_id) as buyer,
       item_id as item,
       min(date_diff('day', $since, event_at)) as day,
       min(month(event_at) - 1) as month,
       sum(coalesce(quantity, 1.0)) as units,
       sum(coalesce(quantity, 1.0) * price) filter (price > 0)
           / sum(coalesce(quantity, 1.0)) filter (price > 0) as price
from read_parquet($files, hive_partitioning = false)
where event_type = 'purchase' and item_id is not null and event_at >= $since and event_at < $until
group by basket, buyer, item
"""

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("basket", "buyer", "item")),
        *((name, pa.int64()) for name in ("day", "month")),
        *((name, pa.float64()) for name in ("units", "price")),
    ]
)


@dataclass(frozen=True)
class Baskets:
    """One row per basket and item, by basket.

    `basket`, `item` and `buyer` are codes from 0 (a guest's order is a buyer of its own); `item_ids` names
    the items. `day` counts from `first_date`; `month` is the calendar month from 0. `price` is the mean price
    paid per unit, NaN where none was given.
    """

    item_ids: tuple[str, ...]
    first_date: date
    last_date: date
    basket: Ints
    item: Ints
    buyer: Ints
    day: Ints
    month: Ints
    units: Floats
    price: Floats

    @property
    def item_count(self) -> int:
        """Number of distinct items."""
        return len(self.item_ids)

    @property
    def basket_count(self) -> int:
        """Number of baskets."""
        return int(self.basket[-1]) + 1 if len(self.basket) else 0

    @cached_property
    def sizes(self) -> Ints:
        """Distinct items of each basket."""
        return np.bincount(self.basket, minlength=self.basket_count)

    @cached_property
    def item_baskets(self) -> Ints:
        """Baskets of each item."""
        return np.bincount(self.item, minlength=self.item_count)

    @cached_property
    def matrix(self) -> sparse.csc_matrix:
        """Baskets x items, 1 where the basket holds the item."""
        shape = (self.basket_count, self.item_count)
        ones = np.ones(len(self.basket), dtype=np.float32)
        return sparse.csc_matrix((ones, (self.basket, self.item)), shape=shape)

    @cached_property
    def of_basket(self) -> Mapping[str, Ints]:
        """`buyer`, `month` and `day` of each basket."""
        first = np.searchsorted(self.basket, np.arange(self.basket_count))
        return {"buyer": self.buyer[first], "month": self.month[first], "day": self.day[first]}

    def holding(self, sets: Ints) -> tuple[Ints, ...]:
        """For each row of items the baskets that hold all of them, ascending."""
        matrix, found = self.matrix, []
        for start in range(0, len(sets), SETS_A_BLOCK):
            block = sets[start : start + SETS_A_BLOCK]
            common = matrix[:, block[:, 0]]
            for place in range(1, block.shape[1]):
                common = common.multiply(matrix[:, block[:, place]])
            common = common.tocsc()
            common.sort_indices()
            found += np.split(common.indices.astype(np.int64), common.indptr[1:-1])
        return tuple(found)

    def of_buyers(self, days: int) -> "Baskets":
        """What each buyer bought in each period of so many days (from the last one back) as one basket."""
        last = int(self.day.max(initial=0))
        span = last // days + 1
        basket = np.unique(self.buyer * span + (last - self.day) // days, return_inverse=True)[1]
        order = np.lexsort((self.day, self.item, basket))
        keys = basket[order] * max(1, self.item_count) + self.item[order]
        is_first = np.r_[True, keys[1:] != keys[:-1]][: len(keys)]
        return replace(self, basket=basket.astype(np.int64)).rows(order[is_first])

    def up_to(self, size: int) -> "Baskets":
        """Only the baskets of at most `size` items, numbered anew; the items keep their codes."""
        return self.select(self.sizes[self.basket] <= size)

    def select(self, chosen: npt.NDArray[np.bool_]) -> "Baskets":
        """Only these rows; baskets are numbered anew, the items keep their codes."""
        found = self.rows(np.flatnonzero(chosen))
        return replace(found, basket=np.unique(found.basket, return_inverse=True)[1].astype(np.int64))

    def rows(self, rows: Ints) -> "Baskets":
        """These rows in this order, which must be by basket; every code stays."""
        names = ("basket", "item", "buyer", "day", "month", "units", "price")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


def read_baskets(event_files: Sequence[Path], as_of: datetime, days: int) -> Baskets:
    """The baskets of the `days` before `as_of`; the files of those days are enough."""
    since = as_of - timedelta(days=days)
    parameters = {"files": [str(path) for path in event_files], "since": since, "until": as_of}
    if not event_files:
        return baskets_of(SCHEMA.empty_table(), since.date(), (as_of - timedelta(microseconds=1)).date())
    with duckdb.connect(config={"threads": 2}) as database:
        database.execute("set TimeZone = 'UTC'")
        table = database.execute(_LINES, parameters).to_arrow_table()
    return baskets_of(table, since.date(), (as_of - timedelta(microseconds=1)).date())


def baskets_of(lines: pa.Table, first: date, last: date) -> Baskets:
    """Baskets from one row per basket, buyer and item, in the form of `SCHEMA`, in any order."""
    lines = lines.cast(SCHEMA)
    (_, basket), (item_ids, item), (_, buyer) = (_codes(lines[name]) for name in ("basket", "item", "buyer"))
    order = np.lexsort((buyer, item, basket))
    keys = basket[order] * max(1, len(item_ids)) + item[order]
    # A basket is one buyer's; of two that share its id the first keeps the item.
    order = order[np.r_[True, keys[1:] != keys[:-1]][: len(keys)]]
    rest = (
        lines[name].to_numpy()[order].astype(kind)
        for name, kind in (("day", np.int64), ("month", np.int64), ("units", float), ("price", float))
    )
    return Baskets(item_ids, first, last, basket[order], item[order], buyer[order], *rest)


def _codes(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Ints]:
    """The distinct ids in order, and the place of each row's among them."""
    encoded = pc.dictionary_encode(column).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    ids = encoded.dictionary.to_numpy(zero_copy_only=False)
    order = np.argsort(ids, kind="stable")
    rank = np.empty(len(ids), dtype=np.int64)
    rank[order] = np.arange(len(ids))
    return tuple(ids[order].tolist()), rank[encoded.indices.to_numpy(zero_copy_only=False)]
