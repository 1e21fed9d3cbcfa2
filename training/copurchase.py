"""What is bought together more often than by chance: exact expectations, p-values, false discoveries.

**Chance** keeps what it must: how often each item sells in each calendar month, and how many items each
basket holds. If a month has S lines, item i `n_i` of them and basket b `s_b`, then i is in b with the
probability `n_i s_b / S`, so i and j meet `n_i n_j sum(s_b (s_b - 1)) / S^2` times in the month. Plain
independence (`n_i n_j / baskets`) forgets that large baskets hold everything and that goods of one season
meet: nearly every pair looks remarkable by it. A count of independent events has a lighter upper tail than
the Poisson law of its mean (Hoeffding 1956), so Poisson p-values err on the safe side.

**False discoveries** are controlled at `q` by Benjamini & Hochberg (1995) over every test that was possible,
also those whose count was too small to look at: these count as tests with the p-value 1.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.stats import binom, poisson

from training.baskets import SETS_A_BLOCK, Baskets, Floats, Ints

MONTHS = 12


@dataclass(frozen=True)
class Sets:
    """Sets of items that meet more often than by chance, one row each.

    `items` are codes, ascending; `held` names the baskets that hold all of them, `expected` of them would by
    chance; `tested` is the number of tests that `q_value` accounts for.
    """

    items: Ints
    held: tuple[Ints, ...]
    expected: Floats
    q_value: Floats
    tested: int

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def count(self) -> Ints:
        """Baskets that hold all items of a set."""
        return np.array([len(each) for each in self.held], dtype=np.int64)

    @property
    def lift(self) -> Floats:
        """How many times as often as by chance."""
        return self.count / self.expected

    @cached_property
    def owners(self) -> tuple[Ints, Ints]:
        """The row and the basket of each entry of `held`, end to end."""
        together = np.concatenate(self.held) if self.held else np.zeros(0, dtype=np.int64)
        return np.repeat(np.arange(len(self)), self.count), together

    def take(self, rows: Ints) -> "Sets":
        """Only these rows."""
        held = tuple(self.held[row] for row in rows)
        return Sets(self.items[rows], held, self.expected[rows], self.q_value[rows], self.tested)


@dataclass(frozen=True)
class Moves:
    """Buyers of `origin` who bought `target` for the first time on a later day."""

    origin: Ints
    target: Ints
    count: Ints
    expected: Floats
    q_value: Floats
    tested: int


def q_values(p_values: Floats, tested: int) -> Floats:
    """Benjamini-Hochberg adjusted p-values of some tests among `tested`, of which the others have 1."""
    count = len(p_values)
    order = np.argsort(p_values)
    scaled = p_values[order] * tested / np.arange(1, count + 1)
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def frequent_items(baskets: Baskets, least: int) -> Ints:
    """Codes of the items that at least so many baskets hold."""
    return np.flatnonzero(baskets.item_baskets >= least)


def mine_pairs(baskets: Baskets, min_item: int, min_count: int, q: float) -> Sets:
    """The pairs of items (each in `min_item` baskets or more) that meet beyond chance, best q first."""
    items = frequent_items(baskets, min_item)
    tested = len(items) * (len(items) - 1) // 2
    matrix = baskets.matrix[:, items]
    met = sparse.triu(matrix.T @ matrix, k=1).tocoo()
    enough = met.data >= min_count
    left, right = items[met.row[enough]], items[met.col[enough]]
    count = np.rint(met.data[enough]).astype(np.int64)
    expected = expected_meetings(baskets, left, right)
    q_value = q_values(poisson.sf(count - 1, expected), tested)
    found = _kept(q_value, q)
    pairs = np.sort(np.stack([left, right], axis=1), axis=1)
    return Sets(pairs[found], baskets.holding(pairs[found]), expected[found], q_value[found], tested)


def mine_triples(baskets: Baskets, pairs: Sets, min_item: int, min_count: int, q: float, most: int) -> Sets:
    """Sets of three, each pair of which is among `pairs`, that meet more often than a pair and any third.

    Chance: a basket that holds two of them has `s_b - 2` further places for the third; of the three ways to
    say it, the largest expectation counts. Every pair with every frequent item counts as tested. At most the
    `most` sets are kept that meet most often.
    """
    if not len(pairs):
        return Sets(np.zeros((0, 3), dtype=np.int64), (), np.zeros(0), np.zeros(0), 0)
    tested = len(pairs) * max(0, len(frequent_items(baskets, min_item)) - 2)
    left, right = pairs.items[:, 0], pairs.items[:, 1]
    order = np.argsort(left * baskets.item_count + right)
    keys = (left * baskets.item_count + right)[order]

    def number_of(one: Ints, other: Ints) -> Ints:
        """The row of a pair, -1 for one that is not among them."""
        wanted = one * baskets.item_count + other
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, order[place], -1)

    row, basket = pairs.owners
    holds = sparse.csr_matrix(
        (np.ones(len(row), dtype=np.float32), (row, basket)), shape=(len(pairs), baskets.basket_count)
    )
    met = (holds @ baskets.matrix.tocsr()).tocoo()
    enough = (met.data >= min_count) & (met.col > right[met.row])
    pair, third, count = met.row[enough], met.col[enough].astype(np.int64), met.data[enough]
    others = [number_of(side[pair], third) for side in (left, right)]
    closed = (others[0] >= 0) & (others[1] >= 0)
    pair, third, count = pair[closed], third[closed], np.rint(count[closed]).astype(np.int64)
    sides = [pair, others[0][closed], others[1][closed]]
    room = np.bincount(
        row * MONTHS + baskets.of_basket["month"][basket],
        np.maximum(baskets.sizes[basket] - 2, 0),
        len(pairs) * MONTHS,
    ).reshape(-1, MONTHS)
    rates = _monthly(baskets)[0]
    splits = zip(sides, (third, right[pair], left[pair]), strict=True)
    chances = [np.einsum("pm,pm->p", room[two], rates[one]) for two, one in splits]
    expected = np.maximum(np.max(chances, axis=0), 1e-12)
    q_value = q_values(poisson.sf(count - 1, expected), tested)
    found = _kept(q_value, q)
    found = found[np.argsort(-count[found], kind="stable")[:most]]
    items = np.stack([left[pair], right[pair], third], axis=1)[found]
    return Sets(items, baskets.holding(items), expected[found], q_value[found], tested)


def expected_meetings(baskets: Baskets, left: Ints, right: Ints) -> Floats:
    """Baskets that hold both items by chance."""
    rates, places = _monthly(baskets)
    return np.asarray(np.maximum(np.einsum("pm,pm,m->p", rates[left], rates[right], places), 1e-12))


def season_of(baskets: Baskets, counts: Ints, q: float) -> tuple[Floats, Floats]:
    """For each set and calendar month the q-value and the expected share; `counts` is sets x months.

    Chance: the months' shares of all meetings of two items (`s_b (s_b - 1)`), whatever they are; binomial
    upper tail, all sets and all months with a sale counted as tested.
    """
    places = _monthly(baskets)[1]
    shares = places / max(places.sum(), 1e-12)
    p_values = binom.sf(counts - 1, counts.sum(axis=1, keepdims=True), shares[None, :])
    tested = len(counts) * int((shares > 0).sum())
    return q_values(p_values.ravel(), tested).reshape(counts.shape), shares


def mine_moves(baskets: Baskets, origin: Ints, target: Ints, min_count: int, q: float) -> Moves:
    """Of the pairs (origin, target), those to whose target more buyers move than by chance.

    Chance: what the buyers of the origin buy on later days is the target as often as what anybody buys in
    that month is. That counts also those who had the target before, so it errs on the safe side.
    """
    first = _first_days(baskets)
    later = _later_lines(baskets, first)
    rates = _monthly(baskets)[0]
    expected = np.maximum(np.einsum("pm,pm->p", later[origin], rates[target]), 1e-12)
    count = np.zeros(len(origin), dtype=np.int64)
    for start in range(0, len(origin), SETS_A_BLOCK):
        block = slice(start, start + SETS_A_BLOCK)
        theirs = first[:, target[block]]
        both = theirs.sign().multiply(first[:, origin[block]].sign())
        later_days = (theirs - first[:, origin[block]]).multiply(both).tocsc()
        later_days.data = (later_days.data > 0).astype(np.int64)
        count[block] = np.asarray(later_days.sum(axis=0)).ravel()
    enough = np.flatnonzero(count >= min_count)
    q_value = q_values(poisson.sf(count[enough] - 1, expected[enough]), len(origin))
    found = _kept(q_value, q)
    chosen = enough[found]
    return Moves(origin[chosen], target[chosen], count[chosen], expected[chosen], q_value[found], len(origin))


def shuffled(baskets: Baskets, seed: int) -> Baskets:
    """Baskets of the same sizes with the same items of each month dealt anew: nothing but chance is left.

    The few items that a basket is dealt twice count once.
    """
    rng = np.random.default_rng(seed)
    item = baskets.item.copy()
    for month in np.unique(baskets.month):
        rows = np.flatnonzero(baskets.month == month)
        item[rows] = item[rng.permutation(rows)]
    _, kept = np.unique(baskets.basket * baskets.item_count + item, return_index=True)
    return replace(baskets, item=item).rows(kept)


def _kept(q_value: Floats, q: float) -> Ints:
    """Rows at or below `q`, best first."""
    order = np.argsort(q_value, kind="stable")
    return order[q_value[order] <= q]


def _monthly(baskets: Baskets) -> tuple[Floats, Floats]:
    """Each item's share of each month's lines (items x months); meetings of two items in each month."""
    keys = baskets.item * MONTHS + baskets.month
    lines = np.bincount(keys, minlength=baskets.item_count * MONTHS).reshape(-1, MONTHS)
    rates = lines / np.maximum(lines.sum(axis=0), 1)
    sizes = baskets.sizes.astype(np.float64)
    places = np.bincount(baskets.of_basket["month"], sizes * (sizes - 1), MONTHS)
    return np.asarray(rates), places.astype(np.float64)


def _first_days(baskets: Baskets) -> sparse.csc_matrix:
    """Buyers x items: 1 + the day of the first purchase."""
    order = np.lexsort((baskets.day, baskets.item, baskets.buyer))
    buyer, item, day = baskets.buyer[order], baskets.item[order], baskets.day[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (buyer[1:] != buyer[:-1]) | (item[1:] != item[:-1])
    shape = (int(baskets.buyer.max(initial=-1)) + 1, baskets.item_count)
    cells = (day[is_first] + 1, (buyer[is_first], item[is_first]))
    matrix = sparse.csc_matrix(cells, shape=shape)
    matrix.sort_indices()
    return matrix


def _later_lines(baskets: Baskets, first: sparse.csc_matrix) -> Floats:
    """Items x months: lines that the buyers of an item bought on days after their first purchase of it."""
    order = np.lexsort((baskets.day, baskets.buyer))
    span = int(baskets.day.max(initial=0)) + 2
    keys = baskets.buyer[order] * span + baskets.day[order]
    month = baskets.month[order]
    cells = first.tocoo()
    begin = np.searchsorted(keys, cells.row.astype(np.int64) * span + (cells.data - 1), side="right")
    end = np.searchsorted(keys, (cells.row.astype(np.int64) + 1) * span)
    found = np.zeros((baskets.item_count, MONTHS))
    for number in range(MONTHS):
        running = np.r_[0, np.cumsum(month == number)]
        found[:, number] = np.bincount(cells.col, running[end] - running[begin], baskets.item_count)
    return found
