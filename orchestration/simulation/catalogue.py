"""The items: latent vectors, and categories, brands, texts, attributes and prices that tell of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestration.simulation.calendar import Floats, Ints

Bools = np.ndarray[Any, np.dtype[np.bool_]]

DIMENSIONS = 12
"""Of the latent space in which items and tastes live."""

NEIGHBOURS = 12
WEEK = 7

CATEGORIES: dict[str, tuple[tuple[str, ...], float, float]] = {
    # top level: (leaves, typical price, typical days until a unit is used up; 0 = not consumed)
    "Grocery": (("Coffee", "Tea", "Chocolate", "Spices"), 9.0, 28.0),
    "Beauty": (("Skin Care", "Hair Care", "Fragrance", "Make-up"), 19.0, 45.0),
    "Pets": (("Dog Food", "Cat Food", "Pet Toys", "Aquarium"), 21.0, 35.0),
    "Home": (("Lighting", "Textiles", "Kitchen", "Storage"), 39.0, 0.0),
    "Electronics": (("Headphones", "Cameras", "Keyboards", "Speakers"), 95.0, 0.0),
    "Fashion": (("Shoes", "Jackets", "Dresses", "Bags"), 58.0, 0.0),
    "Sports": (("Running", "Cycling", "Yoga", "Camping"), 47.0, 0.0),
    "Toys": (("Puzzles", "Building Sets", "Board Games", "Crafts"), 24.0, 0.0),
}
STYLES = (
    "classic", "modern", "rustic", "minimal", "playful", "luxury",
    "vintage", "sporty", "natural", "bold", "soft", "technical",
)  # fmt: skip
COLOURS = ("black", "white", "red", "blue", "green", "grey", "yellow", "brown")
MATERIALS = ("cotton", "steel", "wood", "glass", "leather", "recycled plastic")
_SYLLABLES = (
    "al",
    "bor",
    "cen",
    "dra",
    "el",
    "fin",
    "gor",
    "hal",
    "ix",
    "jun",
    "kel",
    "lum",
    "mar",
    "nor",
    "ost",
)
WORDS = tuple(
    tuple(f"{stem}{ending}" for ending in ("able", "ful", "ish", "ient", "ous", "ant"))
    for stem in (
        "calm",
        "bright",
        "warm",
        "cool",
        "rough",
        "silk",
        "swift",
        "deep",
        "light",
        "dense",
        "fresh",
        "clear",
    )
)
"""Six words for each latent dimension; descriptions use those of an item's strongest dimensions."""


@dataclass(frozen=True)
class Catalogue:
    """One entry per item in every array; prices in EUR, times in days since the start (negative: before)."""

    taste: Floats
    leaf: Ints
    top: Ints
    brand: Ints
    leaf_names: tuple[str, ...]
    top_names: tuple[str, ...]
    brand_names: tuple[str, ...]
    style: Ints
    colour: Ints
    material: Ints
    price: Floats
    cost: Floats
    price_rank: Floats
    elasticity: Floats
    popularity: Floats
    season_peak: Floats
    season_swing: Floats
    cycle_days: Floats
    return_rate: Floats
    launched: Floats
    price_factor: Floats
    is_out_of_stock: Bools
    neighbours: Ints
    complement: Ints

    @property
    def count(self) -> int:
        return len(self.price)

    def ids(self) -> list[str]:
        return [f"i{number:06d}" for number in range(self.count)]

    def price_at(self, item: Ints, day: Ints) -> tuple[Floats, Floats]:
        """(price, factor on the list price) of each item on each day."""
        factor = self.price_factor[item, np.clip(day // WEEK, 0, self.price_factor.shape[1] - 1)]
        return np.round(self.price[item] * factor, 2), factor

    def demand(self, day_of_year: float) -> Floats:
        """Log attractiveness of each item at that time of year, tastes aside."""
        swing = self.season_swing * np.cos(2 * np.pi * (day_of_year - self.season_peak) / 365.25)
        return np.asarray(self.popularity + swing, dtype=np.float64)

    def titles(self) -> list[str]:
        parts = zip(self.brand, self.style, self.leaf, self.colour, strict=True)
        return [
            f"{self.brand_names[brand]} {STYLES[style]} {self.leaf_names[leaf]} {COLOURS[colour]} "
            f"{number % 997:03d}"
            for number, (brand, style, leaf, colour) in enumerate(parts)
        ]

    def paths(self) -> list[str]:
        return [
            f"{self.top_names[top]} > {self.leaf_names[leaf]}"
            for top, leaf in zip(self.top, self.leaf, strict=True)
        ]

    def attributes(self) -> list[str]:
        return [
            json.dumps({"style": STYLES[style], "colour": COLOURS[colour], "material": MATERIALS[material]})
            for style, colour, material in zip(self.style, self.colour, self.material, strict=True)
        ]

    def descriptions(self, rng: np.random.Generator) -> list[str]:
        """Words of the item's three strongest dimensions: what content-based methods can find."""
        strongest = np.argsort(-self.taste, axis=1)[:, :3]
        picks = rng.integers(len(WORDS[0]), size=(self.count, 3, 2))
        return [
            f"A {STYLES[style]} piece in {MATERIALS[material]}: "
            + ", ".join(WORDS[dim][pick] for dim, pair in zip(dims, pairs, strict=True) for pick in pair)
            for style, material, dims, pairs in zip(self.style, self.material, strongest, picks, strict=True)
        ]


def item_count(users: int) -> int:
    """A plausible assortment for a shop of that size."""
    return int(np.clip(20 * np.sqrt(users), 120, 20_000))


def draw_catalogue(rng: np.random.Generator, count: int, days: int) -> Catalogue:
    """Items scattered around their leaf's and their brand's centre, and what follows from where they are."""
    tops = list(CATEGORIES)
    leaves = [(top, leaf) for top, name in enumerate(tops) for leaf in CATEGORIES[name][0]]
    leaf = rng.choice(len(leaves), size=count, p=_shares(rng, len(leaves)))
    top = np.array([pair[0] for pair in leaves])[leaf]
    brands = max(16, count // 40)
    brand_home = rng.integers(len(tops), size=brands)
    brand = _own_brands(rng, top, brand_home)
    top_centres = unit(rng.normal(size=(len(tops), DIMENSIONS)))
    leaf_centres = unit(0.7 * top_centres[[pair[0] for pair in leaves]] + 0.7 * _noise(rng, len(leaves)))
    taste = unit(leaf_centres[leaf] + 0.35 * _noise(rng, brands)[brand] + 0.55 * _noise(rng, count))
    quality = rng.lognormal(0.0, 0.3, size=brands)
    typical = np.array([CATEGORIES[tops[pair[0]]][1] for pair in leaves]) * rng.lognormal(
        0.0, 0.3, len(leaves)
    )
    price = np.maximum(1.0, np.round(typical[leaf] * quality[brand] * rng.lognormal(0.0, 0.35, count), 2))
    leaf_elasticity = rng.uniform(-2.8, -1.0, size=len(leaves))
    cycle = np.array([CATEGORIES[tops[pair[0]]][2] for pair in leaves])[leaf]
    similarity = _similar(taste)
    return Catalogue(
        taste=taste,
        leaf=leaf,
        top=top,
        brand=brand,
        leaf_names=tuple(name for _, name in leaves),
        top_names=tuple(tops),
        brand_names=_brand_names(rng, brands),
        style=np.argmax(taste + 0.12 * rng.normal(size=taste.shape), axis=1),
        colour=np.argmax(
            taste @ rng.normal(size=(DIMENSIONS, len(COLOURS))) + _gumbel(rng, count, 8), axis=1
        ),
        material=np.argmax(
            taste @ rng.normal(size=(DIMENSIONS, len(MATERIALS))) + _gumbel(rng, count, 6), axis=1
        ),
        price=price,
        cost=np.round(price * rng.uniform(0.4, 0.75, size=count), 2),
        price_rank=_rank_within(price, leaf),
        elasticity=np.minimum(-0.3, leaf_elasticity[leaf] + 0.3 * rng.normal(size=count)),
        popularity=0.9 * rng.normal(size=count),
        season_peak=rng.uniform(0, 365, size=len(leaves))[leaf],
        season_swing=rng.uniform(0.0, 0.7, size=len(leaves))[leaf],
        cycle_days=cycle * np.where(cycle > 0, rng.uniform(0.7, 1.4, size=count), 0.0),
        return_rate=np.clip(rng.beta(2, 28, size=count) + 0.08 * (top == tops.index("Fashion")), 0, 0.5),
        launched=np.where(rng.random(count) < 0.85, -rng.uniform(1, 700, count), rng.uniform(0, days, count)),
        price_factor=_price_paths(rng, count, days),
        is_out_of_stock=_stock_outs(rng, count, days),
        neighbours=similarity[:, 1:],
        complement=_complements(rng, top, leaf),
    )


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float64)


def _noise(rng: np.random.Generator, count: int) -> Floats:
    return unit(rng.normal(size=(count, DIMENSIONS)))


def _gumbel(rng: np.random.Generator, rows: int, choices: int) -> Floats:
    return 0.5 * rng.gumbel(size=(rows, choices))


def _shares(rng: np.random.Generator, count: int) -> Floats:
    return rng.dirichlet(np.full(count, 4.0))


def _own_brands(rng: np.random.Generator, top: Ints, home: Ints) -> Ints:
    """A brand of the item's own category for most items, any brand for the rest."""
    brand = rng.integers(len(home), size=len(top))
    for category in np.unique(top):
        own = np.flatnonzero(home == category)
        chosen = (top == category) & (rng.random(len(top)) < 0.85)
        if len(own):
            brand[chosen] = rng.choice(own, size=int(chosen.sum()))
    return brand


def _brand_names(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    parts = rng.integers(len(_SYLLABLES), size=(count, 2))
    return tuple(
        f"{_SYLLABLES[first].capitalize()}{_SYLLABLES[second]} {number:03d}"
        for number, (first, second) in enumerate(parts)
    )


def _similar(taste: Floats) -> Ints:
    """Each item itself and its nearest items, in blocks so that memory stays small."""
    blocks = []
    keep = min(NEIGHBOURS + 1, len(taste))
    for first in range(0, len(taste), 2000):
        scores = taste[first : first + 2000] @ taste.T
        scores[np.arange(len(scores)), np.arange(first, first + len(scores))] = 2.0
        near = np.argpartition(-scores, keep - 1, axis=1)[:, :keep]
        order = np.argsort(-np.take_along_axis(scores, near, axis=1), axis=1)
        blocks.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate(blocks)


def _complements(rng: np.random.Generator, top: Ints, leaf: Ints) -> Ints:
    """For each item one of another leaf of its category: what is bought along with it."""
    chosen = rng.integers(len(top), size=len(top))
    for category in np.unique(leaf):
        mine = np.flatnonzero(leaf == category)
        others = np.flatnonzero((top == top[mine[0]]) & (leaf != category))
        if len(others):
            chosen[mine] = rng.choice(others, size=len(mine))
    return chosen


def _rank_within(price: Floats, leaf: Ints) -> Floats:
    """How expensive an item is within its leaf, 0 to 1."""
    rank = np.zeros(len(price))
    for category in np.unique(leaf):
        mine = np.flatnonzero(leaf == category)
        rank[mine] = np.argsort(np.argsort(price[mine])) / max(1, len(mine) - 1)
    return rank


def _price_paths(rng: np.random.Generator, count: int, days: int) -> Floats:
    """A factor on the list price for each item and week: slow drift, and now and then a reduction."""
    weeks = days // WEEK + 2
    drift = np.clip(1.0 + np.cumsum(0.01 * rng.normal(size=(count, weeks)), axis=1), 0.85, 1.2)
    reduced = rng.random((count, weeks)) < 0.12
    return np.round(drift * np.where(reduced, rng.choice([0.7, 0.8, 0.9], size=(count, weeks)), 1.0), 3)


def _stock_outs(rng: np.random.Generator, count: int, days: int) -> Bools:
    """True on the days when an item cannot be bought: spells of 3 to 12 days, about one in 150 days."""
    out = np.zeros((count, days + 1), dtype=bool)
    spells = rng.poisson(days / 150.0, size=count)
    item = np.repeat(np.arange(count), spells)
    first = rng.integers(0, days + 1, size=len(item))
    length = rng.integers(3, 13, size=len(item))
    for offset in range(12):
        running = (offset < length) & (first + offset <= days)
        out[item[running], first[running] + offset] = True
    return out
