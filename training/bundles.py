"""Bundles of a release: sets that sell together, of five kinds, each with its price and its evidence.

- **complementary**, **cross_sell**: sets of two or three that meet in baskets more often than by chance, of
  one family and of several. A family is the leaf category; where there is none, alike titles are a family.
- **seasonal**: such a set whose meetings crowd in the calendar months that come next.
- **promotional**: such a pair of one that lies (overstock, or a slow mover) and one that does not.
- **upsell**: a dearer version within a family that buyers of the cheaper one move to, with what it is bought
  with most; `instead_of` is the cheaper one.

A set comes once, as the first kind of `KINDS` that holds. Everything is tested as `training.copurchase` says.
Baskets are orders; in a shop whose orders hold few items, what a customer bought within `BUYER_DAYS`.

Prices maximise the expected profit per customer who takes the anchor (the most sold of the set) under the
response of `training.price_response`, above the margin floor. An unknown cost counts as
`1 - ASSUMED_MARGIN` of the price, and is flagged.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from training.baskets import Baskets, Floats, Ints, read_baskets
from training.bundle_offer import attach_at, profit_at
from training.copurchase import (
    MONTHS,
    Moves,
    Sets,
    frequent_items,
    mine_moves,
    mine_pairs,
    mine_triples,
    season_of,
)
from training.price_response import SOURCES, PriceResponse, best_discounts, price_response

BUNDLES = "bundles"
"""Name of the table in a release."""

KINDS = ("seasonal", "promotional", "upsell", "cross_sell", "complementary")
ITEM_COLUMNS = ("item_id", "title", "category", "leaf_category", "price", "cost", "stock")
ASSUMED_MARGIN = 0.4
ORDER, CUSTOMER_PERIOD = "order", "customer_period"
BUYER_DAYS = 90
PRICED_PER_CHOSEN = 3

SCHEMA = pa.schema(
    [
        ("bundle_key", pa.string()),
        ("bundle_type", pa.string()),
        ("items", pa.list_(pa.string())),
        ("anchor", pa.string()),
        ("instead_of", pa.string()),
        ("list_price", pa.float64()),
        ("price", pa.float64()),
        ("discount", pa.float64()),
        ("cost", pa.float64()),
        ("counted_cost", pa.float64()),
        ("is_cost_assumed", pa.bool_()),
        ("anchor_margin", pa.float64()),
        ("rest_price", pa.float64()),
        ("attach", pa.float64()),
        ("elasticity", pa.float64()),
        ("elasticity_source", pa.string()),
        ("expected_attach", pa.float64()),
        ("expected_profit", pa.float64()),
        ("expected_gain", pa.float64()),
        ("basket", pa.string()),
        ("basket_count", pa.int64()),
        ("anchor_count", pa.int64()),
        ("expected_count", pa.float64()),
        ("lift", pa.float64()),
        ("support", pa.float64()),
        ("q_value", pa.float64()),
        ("buyer_count", pa.int64()),
        ("first_date", pa.date32()),
        ("last_date", pa.date32()),
        ("season_months", pa.list_(pa.int64())),
        ("season_lift", pa.float64()),
        ("season_q_value", pa.float64()),
        ("moved_count", pa.int64()),
        ("moved_expected", pa.float64()),
        ("moved_q_value", pa.float64()),
        ("stock_cover_days", pa.float64()),
        ("sales_ratio", pa.float64()),
    ]
)
"""One row per bundle.

`attach`: share of the anchor's baskets that hold the rest too. `expected_*`: at `price`, per customer who
takes the anchor; `expected_gain` is above the same without a discount. `counted_cost`: `cost`, with what lies
counted at `lying_cost_share`. `sales_ratio`: sales of late over those before, as shares of the shop's. The
figures of a season, of moves and of what lies are null for other kinds.
"""


@dataclass(frozen=True)
class BundleConfig:
    """How bundles are mined and priced.

    Floors (`min_*`) keep out what rests on too little whatever its p-value; `q` bounds the share of false
    discoveries. An item whose stock is unknown must have sold within `fresh_days`. `season_days` is how far
    ahead a season counts. What lies: stock for `cover_days` of present sales, or sales in `slow_days` at most
    `slow_ratio` of the item's earlier share; its cost counts at `lying_cost_share`, since unsold it earns
    nothing. `attach_prior` is the number of baskets of the anchor that an attach rate is damped by.
    """

    window_days: int = 365
    most_items: int = 50
    least_order_items: float = 2.0
    min_item_baskets: int = 10
    min_set_baskets: int = 5
    min_buyers: int = 4
    q: float = 0.05
    alike: float = 0.3
    fresh_days: int = 120
    season_days: int = 45
    cover_days: float = 180.0
    slow_days: int = 60
    slow_ratio: float = 0.5
    slow_min_lines: int = 20
    step_up: tuple[float, float] = (1.15, 2.5)
    lying_cost_share: float = 0.7
    attach_prior: float = 5.0
    max_discount: float = 0.3
    discount_step: float = 0.01
    margin_floor: float = 0.1
    most_triples: int = 3000
    most_per_kind: int = 600
    most_per_item: int = 5


@dataclass(frozen=True)
class Goods:
    """What the catalogue says of each item of the baskets; NaN or None where it does not."""

    family: Sequence[str | None]
    price: Floats
    cost: Floats
    stock: Floats
    words: sparse.csr_matrix

    def likeness(self, left: Ints, right: Ints) -> Floats:
        """Cosine of the titles' TF-IDF, for each pair."""
        return np.asarray(self.words[left].multiply(self.words[right]).sum(axis=1)).ravel()

    def are_family(self, left: Ints, right: Ints, alike: float) -> npt.NDArray[np.bool_]:
        """Whether each pair is of one family."""
        names = np.array([name or "" for name in self.family], dtype=object)
        is_known = (names[left] != "") & (names[right] != "")
        return np.where(is_known, names[left] == names[right], self.likeness(left, right) >= alike)


@dataclass
class Candidate:
    """A bundle before it has a price. `row` is its place in `sets`; `lying` the item that lies, or -1."""

    kind: str
    sets: Sets
    row: int
    anchor: int = -1
    lying: int = -1
    instead_of: int = -1
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def items(self) -> tuple[int, ...]:
        """Codes of its items."""
        return tuple(self.sets.items[self.row].tolist())

    @property
    def count(self) -> int:
        """Baskets that hold all of them."""
        return len(self.sets.held[self.row])


def bundle_tables(
    event_files: Sequence[Path], items: pa.Table, as_of: datetime, config: BundleConfig | None = None
) -> dict[str, pa.Table]:
    """The table of a release, by name; none if nothing sells together beyond chance.

    `event_files`: landed days, those of the `window_days` before `as_of` are enough. `items`: the columns of
    `ITEM_COLUMNS`.
    """
    config = config or BundleConfig()
    table = mine_bundles(read_baskets(event_files, as_of, config.window_days), items, as_of, config)
    return {BUNDLES: table} if table.num_rows else {}


def mine_bundles(
    orders: Baskets, items: pa.Table, as_of: datetime, config: BundleConfig | None = None
) -> pa.Table:
    """The bundles of these orders, each kind's best first, in the form of `SCHEMA`."""
    config = config or BundleConfig()
    if not orders.basket_count:
        return SCHEMA.empty_table()
    baskets, basket_kind = baskets_to_mine(orders, config)
    goods = read_goods(items, orders.item_ids)
    is_usable = usable_items(orders, goods, config)
    pairs = well_founded(
        baskets, mine_pairs(baskets, config.min_item_baskets, config.min_set_baskets, config.q), config
    )
    pairs = pairs.take(np.flatnonzero(is_usable[pairs.items].all(axis=1)))
    floors = config.min_item_baskets, config.min_set_baskets, config.q
    triples = mine_triples(baskets, pairs, *floors, config.most_triples)
    triples = well_founded(baskets, triples, config)
    lying = lying_items(orders, goods, config)
    moves = find_moves(orders, goods, is_usable, config)
    found = [
        *seasonal(baskets, pairs, as_of, config),
        *promotional(pairs, lying),
        *upsell(pairs, moves, goods, config),
        *together(pairs, goods, config),
        *together(triples, goods, config),
    ]
    response = price_response(orders)
    priced = price_candidates(
        once_each(found, PRICED_PER_CHOSEN * config.most_per_kind), baskets, goods, response, config
    )
    chosen = choose_bundles(priced, config)
    return pa.Table.from_pylist([_row(each, baskets, basket_kind) for each in chosen], schema=SCHEMA)


def baskets_to_mine(orders: Baskets, config: BundleConfig) -> tuple[Baskets, str]:
    """Orders, or what customers bought in a period if orders hold few items; and which of the two."""
    if orders.sizes.mean() >= config.least_order_items:
        return orders.up_to(config.most_items), ORDER
    return orders.of_buyers(BUYER_DAYS).up_to(config.most_items), CUSTOMER_PERIOD


def read_goods(items: pa.Table, item_ids: Sequence[str]) -> Goods:
    """The catalogue's rows in the order of the baskets' items."""
    place = {item_id: row for row, item_id in enumerate(items["item_id"].to_pylist())}
    rows = pa.array([place.get(item_id) for item_id in item_ids], pa.int64())
    known = items.select(ITEM_COLUMNS).take(rows)
    price, cost, stock = (
        known[name].cast(pa.float64()).fill_null(np.nan).to_numpy() for name in ("price", "cost", "stock")
    )
    families = zip(known["leaf_category"].to_pylist(), known["category"].to_pylist(), strict=True)
    titles = [title or "" for title in known["title"].to_pylist()]
    return Goods([leaf or top for leaf, top in families], price, cost, stock, _words(titles))


def usable_items(orders: Baskets, goods: Goods, config: BundleConfig) -> npt.NDArray[np.bool_]:
    """Items that can be offered: priced, and in stock or (stock unknown) sold of late."""
    last = np.zeros(orders.item_count, dtype=np.int64)
    np.maximum.at(last, orders.item, orders.day)
    is_fresh = last > orders.day.max(initial=0) - config.fresh_days
    is_there = np.where(np.isnan(goods.stock), is_fresh, goods.stock > 0)
    return np.asarray((goods.price > 0) & is_there)


def well_founded(baskets: Baskets, sets: Sets, config: BundleConfig) -> Sets:
    """Only the sets that enough different buyers bought."""
    row, basket = sets.owners
    pairs = np.unique(row * (int(baskets.buyer.max(initial=0)) + 1) + baskets.of_basket["buyer"][basket])
    buyers = np.bincount(pairs // (int(baskets.buyer.max(initial=0)) + 1), minlength=len(sets))
    return sets.take(np.flatnonzero(buyers >= config.min_buyers))


def lying_items(orders: Baskets, goods: Goods, config: BundleConfig) -> Mapping[int, dict[str, float]]:
    """Items that lie, with the figure that says so."""
    end = int(orders.day.max(initial=0))
    is_late = orders.day > end - config.slow_days
    late = np.bincount(orders.item[is_late], minlength=orders.item_count)
    early = np.bincount(orders.item[~is_late], minlength=orders.item_count)
    first = np.full(orders.item_count, end)
    np.minimum.at(first, orders.item, orders.day)
    daily = np.bincount(orders.day, minlength=end + 1).astype(np.float64)
    running = np.r_[0.0, np.cumsum(daily)]
    bound = max(0, end - config.slow_days + 1)
    shop_late = running[end + 1] - running[bound]
    shop_early = running[bound] - running[np.minimum(first, bound)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (late / shop_late) / (early / shop_early)
        units = np.bincount(orders.item[is_late], orders.units[is_late], minlength=orders.item_count)
        cover = goods.stock / (units / config.slow_days)
    is_over = (goods.stock > 0) & (cover >= config.cover_days)
    is_slow = (early >= config.slow_min_lines) & (ratio <= config.slow_ratio)
    return {
        int(code): {"stock_cover_days": _finite(cover[code])}
        if is_over[code]
        else {"sales_ratio": float(ratio[code])}
        for code in np.flatnonzero(is_over | is_slow)
    }


def find_moves(
    orders: Baskets, goods: Goods, is_usable: npt.NDArray[np.bool_], config: BundleConfig
) -> Moves:
    """Steps up within a family that buyers take."""
    known = np.zeros(orders.item_count, dtype=bool)
    known[frequent_items(orders, config.min_item_baskets)] = True
    known &= goods.price > 0
    left, right = _families(goods, np.flatnonzero(known), config.alike)
    ratio = goods.price[right] / goods.price[left]
    low, high = config.step_up
    chosen = (ratio >= low) & (ratio <= high) & is_usable[right]
    return mine_moves(orders, left[chosen], right[chosen], config.min_buyers, config.q)


def seasonal(baskets: Baskets, pairs: Sets, as_of: datetime, config: BundleConfig) -> Iterator[Candidate]:
    """Pairs whose meetings crowd in a month that comes within `season_days`."""
    if not len(pairs):
        return
    row, basket = pairs.owners
    month = baskets.of_basket["month"][basket]
    counts = np.bincount(row * MONTHS + month, minlength=len(pairs) * MONTHS).reshape(-1, MONTHS)
    q_value, shares = season_of(baskets, counts, config.q)
    days = (as_of + timedelta(days=each) for each in range(config.season_days))
    coming = sorted({day.month - 1 for day in days})
    for each in np.flatnonzero((q_value[:, coming] <= config.q).any(axis=1)):
        months = np.flatnonzero(q_value[each] <= config.q)
        usual = counts[each].sum() * shares[months].sum()
        facts = {
            "season_months": (months + 1).tolist(),
            "season_lift": float(counts[each, months].sum() / usual),
            "season_q_value": float(q_value[each].min()),
        }
        yield Candidate("seasonal", pairs, int(each), facts=facts)


def promotional(pairs: Sets, lying: Mapping[int, dict[str, float]]) -> Iterator[Candidate]:
    """Pairs of one item that lies with one that does not."""
    for row, (left, right) in enumerate(pairs.items.tolist()):
        if (left in lying) != (right in lying):
            slow, anchor = (left, right) if left in lying else (right, left)
            yield Candidate("promotional", pairs, row, anchor, slow, facts=dict(lying[slow]))


def upsell(pairs: Sets, moves: Moves, goods: Goods, config: BundleConfig) -> Iterator[Candidate]:
    """What buyers move to, with its closest companion that is no other version of it."""
    is_version = goods.are_family(pairs.items[:, 0], pairs.items[:, 1], config.alike)
    strength = pairs.count * (1 - 1 / pairs.lift)
    companions: dict[int, list[int]] = {}
    for row in np.argsort(-strength, kind="stable").tolist():
        for item in pairs.items[row].tolist() if not is_version[row] else ():
            companions.setdefault(item, []).append(row)
    for number, (origin, target) in enumerate(zip(moves.origin.tolist(), moves.target.tolist(), strict=True)):
        rows = (row for row in companions.get(target, ()) if origin not in pairs.items[row])
        if (row := next(rows, None)) is not None:
            facts = {
                "moved_count": int(moves.count[number]),
                "moved_expected": float(moves.expected[number]),
                "moved_q_value": float(moves.q_value[number]),
            }
            yield Candidate("upsell", pairs, row, target, instead_of=origin, facts=facts)


def together(sets: Sets, goods: Goods, config: BundleConfig) -> Iterator[Candidate]:
    """Sets of one family, and of several."""
    first = sets.items[:, 0] if len(sets) else np.zeros(0, dtype=np.int64)
    others = [sets.items[:, place] for place in range(1, sets.items.shape[1])] if len(sets) else []
    is_one = np.ones(len(sets), dtype=bool)
    for other in others:
        is_one &= goods.are_family(first, other, config.alike)
    for row, is_family in enumerate(is_one.tolist()):
        yield Candidate("complementary" if is_family else "cross_sell", sets, row)


def once_each(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """Each set of items once, as the first kind of `KINDS`; of each kind those that meet most often."""
    found: dict[tuple[int, ...], Candidate] = {}
    for each in sorted(candidates, key=lambda each: KINDS.index(each.kind)):
        found.setdefault(each.items, each)
    often = sorted(found.values(), key=lambda each: -each.count)
    by_kind = ([each for each in often if each.kind == kind] for kind in KINDS)
    return [each for kind in by_kind for each in kind[:most]]


def price_candidates(
    candidates: Sequence[Candidate],
    baskets: Baskets,
    goods: Goods,
    response: PriceResponse,
    config: BundleConfig,
) -> list[tuple[Candidate, dict[str, Any]]]:
    """Each candidate with the figures of its price."""
    if not candidates:
        return []
    cost = np.where(np.isnan(goods.cost), goods.price * (1 - ASSUMED_MARGIN), goods.cost)
    sold = baskets.item_baskets
    for each in candidates:
        if each.anchor < 0:
            each.anchor = max(each.items, key=lambda item: (sold[item], -item))
    rests = [[item for item in each.items if item != each.anchor] for each in candidates]
    price = np.array([goods.price[list(each.items)].sum() for each in candidates])
    full = np.array([cost[list(each.items)].sum() for each in candidates])
    lying = np.array([cost[each.lying] if each.lying >= 0 else 0.0 for each in candidates])
    counted = full - (1 - config.lying_cost_share) * lying
    rest = np.array([goods.price[items].sum() for items in rests])
    anchors = np.array([each.anchor for each in candidates])
    margin = goods.price[anchors] - cost[anchors]
    met = np.array([each.count for each in candidates])
    attach = met / (sold[anchors] + config.attach_prior)
    slope = np.array([np.average(response.elasticity[items], weights=goods.price[items]) for items in rests])
    lowest = full / (1 - config.margin_floor)
    steps = np.linspace(0.0, config.max_discount, round(config.max_discount / config.discount_step) + 1)
    discount = best_discounts(price, counted, rest, margin, attach, slope, lowest, steps)
    rates = attach_at(attach, slope, discount * price / rest)
    profit = profit_at(rates, price * (1 - discount), counted, margin)
    columns: dict[str, npt.NDArray[Any]] = {
        "list_price": price,
        "price": price * (1 - discount),
        "discount": discount,
        "cost": full,
        "counted_cost": counted,
        "anchor_margin": margin,
        "rest_price": rest,
        "attach": attach,
        "elasticity": slope,
        "expected_attach": rates,
        "expected_profit": profit,
        "expected_gain": profit - profit_at(attach, price, counted, margin),
        "anchor_count": sold[anchors],
    }
    values = [
        dict(zip(columns, row, strict=True))
        for row in zip(*map(np.ndarray.tolist, columns.values()), strict=True)
    ]
    for each, items, row in zip(candidates, rests, values, strict=True):
        row["is_cost_assumed"] = bool(np.isnan(goods.cost[list(each.items)]).any())
        row["elasticity_source"] = SOURCES[int(response.source[items].max())]
    return list(zip(candidates, values, strict=True))


def choose_bundles(
    priced: Sequence[tuple[Candidate, dict[str, Any]]], config: BundleConfig
) -> list[tuple[Candidate, dict[str, Any]]]:
    """Of each kind those that earn most in all, an item in at most `most_per_item`, no two of three alike."""
    worth = [
        -(row["expected_attach"] * (row["price"] - row["counted_cost"])) * row["anchor_count"]
        for _, row in priced
    ]
    chosen: list[tuple[Candidate, dict[str, Any]]] = []
    taken: dict[tuple[str, int], int] = {}
    pairs_taken: set[tuple[str, int, int]] = set()
    counts = dict.fromkeys(KINDS, 0)
    for place in sorted(range(len(priced)), key=lambda place: (worth[place], priced[place][0].items)):
        each, _ = priced[place]
        members = each.items
        inner = {(each.kind, one, other) for one in members for other in members if one < other}
        if (
            counts[each.kind] >= config.most_per_kind
            or any(taken.get((each.kind, item), 0) >= config.most_per_item for item in members)
            or inner & pairs_taken
        ):
            continue
        pairs_taken |= inner
        counts[each.kind] += 1
        for item in members:
            taken[each.kind, item] = taken.get((each.kind, item), 0) + 1
        chosen.append(priced[place])
    return sorted(chosen, key=lambda pair: KINDS.index(pair[0].kind))


def _row(priced: tuple[Candidate, dict[str, Any]], baskets: Baskets, basket_kind: str) -> dict[str, Any]:
    each, figures = priced
    ids, held = baskets.item_ids, each.sets.held[each.row]
    members = [each.anchor, *(item for item in each.items if item != each.anchor)]
    name = "|".join([each.kind, *sorted(ids[item] for item in members)])
    expected = float(each.sets.expected[each.row])
    return {
        "bundle_key": hashlib.sha256(name.encode()).hexdigest()[:12],
        "bundle_type": each.kind,
        "items": [ids[item] for item in members],
        "anchor": ids[each.anchor],
        "instead_of": ids[each.instead_of] if each.instead_of >= 0 else None,
        "basket": basket_kind,
        "basket_count": each.count,
        "expected_count": expected,
        "lift": each.count / expected,
        "support": each.count / baskets.basket_count,
        "q_value": float(each.sets.q_value[each.row]),
        "buyer_count": len(np.unique(baskets.of_basket["buyer"][held])),
        "first_date": baskets.first_date,
        "last_date": baskets.last_date,
        **figures,
        **each.facts,
    }


def _families(goods: Goods, codes: Ints, alike: float) -> tuple[Ints, Ints]:
    """All ordered pairs of these items within a family."""
    families: dict[str, list[int]] = {}
    for code in codes.tolist():
        families.setdefault(goods.family[code] or "", []).append(code)
    nameless = np.array(families.pop("", []), dtype=np.int64)
    parts = [np.array([(a, b) for a in each for b in each if a != b]) for each in families.values()]
    if len(nameless):
        near = (goods.words[nameless] @ goods.words[nameless].T).tocoo()
        chosen = (near.data >= alike) & (near.row != near.col)
        parts.append(np.stack([nameless[near.row[chosen]], nameless[near.col[chosen]]], axis=1))
    pairs = np.concatenate([part.reshape(-1, 2) for part in parts]) if parts else np.zeros((0, 2))
    return pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)


def _words(titles: Sequence[str]) -> sparse.csr_matrix:
    model = TfidfVectorizer(dtype=np.float32, token_pattern=r"(?u)\b\w+\b")
    try:
        return model.fit_transform(titles)
    except ValueError:  # no title has a word
        return sparse.csr_matrix((len(titles), 1), dtype=np.float32)


def _finite(value: float) -> float:
    """A share of nothing sold is endless stock: said as a century."""
    return float(min(value, 36_500.0))
