"""The catalogue of one release in the form that decisions look things up in: lists over item positions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from training.artifacts import BY_BEHAVIOUR, ItemTable, Popularity, RankedList, Relations

POPULAR, POPULAR_RECENTLY = "popular", "popular_recently"
MOST_FILLERS = 200
MOST_KEPT_ROWS = 20_000
UNKNOWN_NAME = -1


@dataclass(frozen=True, eq=False)
class CatalogueIndex:
    """One entry per item position, unless said otherwise.

    `category_of` and `brand_of` number the names (-1: unknown). `margins` is (price - cost) / price, at least
    0, over the largest of the catalogue; 0 where unknown. `novelties` says how little known an item is: its
    self-information by the released numbers of buyers (Vargas & Castells 2011), scaled from 0 for the most
    bought to 1 for the least bought in a list and for what is in none. `popular` is what to fill up with,
    best first: positions, each with what proposed it.
    """

    item_ids: Sequence[str]
    position: Mapping[str, int]
    title: Sequence[str | None]
    category: Sequence[str | None]
    brand: Sequence[str | None]
    prices: Sequence[float | None]
    margins: Sequence[float]
    novelties: Sequence[float]
    out_of_stock: frozenset[int]
    category_of: Sequence[int]
    brand_of: Sequence[int]
    category_names: Sequence[str]
    brand_names: Sequence[str]
    popular: Sequence[tuple[int, str]]
    popularity: Popularity
    relations: Relations
    descriptions: Sequence[Mapping[str, Any]]

    def name(self, position: int) -> str:
        """What to call an item in a sentence."""
        return self.title[position] or self.item_ids[position]

    def near(self, position: int) -> Sequence[tuple[int, float, bool]]:
        """What is like an item: position, likeness from 0 to 1, and whether behaviour says so."""
        found = self._near.get(position)
        if found is None:
            relations = self.relations
            rows = (relations.similar, relations.similar_scores, relations.similar_by)
            positions, scores, by = (row[position].tolist() for row in rows)
            found = tuple(
                (other, score, kind == BY_BEHAVIOUR)
                for other, score, kind in zip(positions, scores, by, strict=True)
                if other >= 0
            )
            _keep(self._near, position, found)
        return found

    def likeness_of(self, position: int) -> Mapping[int, float]:
        """The same as a mapping: position of the other item -> likeness."""
        found = self._likeness.get(position)
        if found is None:
            found = {other: score for other, score, _ in self.near(position)}
            _keep(self._likeness, position, found)
        return found

    def together(self, position: int) -> Sequence[tuple[int, float]]:
        """What is bought together with an item: position and strength from 0 to 1."""
        found = self._together.get(position)
        if found is None:
            found = tuple(self.relations.bought_with(position))
            _keep(self._together, position, found)
        return found

    @cached_property
    def category_number(self) -> Mapping[str, int]:
        """Number of each category by its name."""
        return {name: number for number, name in enumerate(self.category_names)}

    @cached_property
    def compiled(self) -> dict[bytes, Any]:
        """Rules that were compiled for this catalogue, by their JSON text."""
        return {}

    @cached_property
    def _near(self) -> dict[int, Sequence[tuple[int, float, bool]]]:
        return {}

    @cached_property
    def _likeness(self) -> dict[int, Mapping[int, float]]:
        return {}

    @cached_property
    def _together(self) -> dict[int, Sequence[tuple[int, float]]]:
        return {}

    def listed(self, ranked: RankedList | None) -> list[int]:
        """Positions of a ranked list, in its order."""
        if ranked is None:
            return []
        position = self.position
        return [position[item_id] for item_id in ranked.item_ids if item_id in position]

    @cached_property
    def in_category(self) -> Mapping[str, Sequence[int]]:
        """What is popular in each category."""
        return {name: self.listed(ranked) for name, ranked in self.popularity.by_category.items()}

    @cached_property
    def trending(self) -> Sequence[int]:
        """What rises, in all categories."""
        return self.listed(self.relations.trending)

    @cached_property
    def trending_in(self) -> Mapping[str, Sequence[int]]:
        """What rises in each category."""
        return {name: self.listed(each) for name, each in self.relations.trending_by_category.items()}

    @cached_property
    def in_segment(self) -> Mapping[str, Sequence[int]]:
        """What each value segment buys."""
        return {name: self.listed(each) for name, each in self.relations.by_segment.items()}


def _keep(rows: dict[int, Any], position: int, found: Any) -> None:
    """Remember a row that was made; those of a large catalogue would fill the memory: start over at times."""
    if len(rows) >= MOST_KEPT_ROWS:
        rows.clear()
    rows[position] = found


def index_catalogue(items: ItemTable, popularity: Popularity, relations: Relations) -> CatalogueIndex:
    """Compute once per release what requests look up."""
    known = np.isfinite(items.price)
    prices = [float(price) if ok else None for price, ok in zip(items.price, known, strict=True)]
    category_names, category_of = _numbered(items.category)
    brand_names, brand_of = _numbered(items.brand)
    return CatalogueIndex(
        item_ids=items.item_ids,
        position=items.position,
        title=items.title,
        category=items.category,
        brand=items.brand,
        prices=prices,
        margins=_margins(items.price, items.cost),
        novelties=_novelties(items.item_ids, popularity),
        out_of_stock=frozenset(np.flatnonzero(items.stock <= 0).tolist()),
        category_of=category_of,
        brand_of=brand_of,
        category_names=category_names,
        brand_names=brand_names,
        popular=_fillers(items.position, popularity),
        popularity=popularity,
        relations=relations,
        descriptions=[
            {"item_id": item_id, "title": title, "category": category, "price": price}
            for item_id, title, category, price in zip(
                items.item_ids, items.title, items.category, prices, strict=True
            )
        ],
    )


def _numbered(names: Sequence[str | None]) -> tuple[list[str], list[int]]:
    distinct = sorted({name for name in names if name is not None})
    numbers = {name: number for number, name in enumerate(distinct)}
    return distinct, [UNKNOWN_NAME if name is None else numbers[name] for name in names]


def _margins(prices: npt.NDArray[np.float64], costs: npt.NDArray[np.float64]) -> list[float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (prices - costs) / prices
    shares = np.where(np.isfinite(shares), np.maximum(shares, 0.0), 0.0)
    largest = float(shares.max(initial=0.0))
    scaled = shares / largest if largest > 0 else shares
    return [round(float(share), 6) for share in scaled]


def _novelties(item_ids: Sequence[str], popularity: Popularity) -> list[float]:
    """By the logarithm of the buyers, from the most bought item down to the least that a list still names."""
    lists = (popularity.overall, *popularity.by_category.values())
    buyers = {
        item: score for ranked in lists for item, score in zip(ranked.item_ids, ranked.scores, strict=True)
    }
    known = [score for score in buyers.values() if score > 0]
    most, least = max(known, default=1.0), min(known, default=1.0)
    reach = math.log(most / least) or 1.0
    return [
        round(math.log(most / buyers[item]) / reach, 6) if buyers.get(item, 0.0) > 0 else 1.0
        for item in item_ids
    ]


def _fillers(position: Mapping[str, int], popularity: Popularity) -> list[tuple[int, str]]:
    found: dict[int, str] = {}
    for ranked, name in ((popularity.recent, POPULAR_RECENTLY), (popularity.overall, POPULAR)):
        for item_id in ranked.item_ids:
            if item_id in position:
                found.setdefault(position[item_id], name)
    return list(found.items())[:MOST_FILLERS]
