"""What a visitor looks at and whether he puts it into the cart: the choice model, the heart of the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestration.simulation.calendar import Floats, Ints
from orchestration.simulation.catalogue import Catalogue
from orchestration.simulation.population import ARCHETYPES, Population

PROPOSALS = 4
ARCHETYPE_SHARPNESS = 5.0
PERSONAL_SHARPNESS = 5.0
PRICE_SHARPNESS = 2.5
REDUCTION_APPEAL = 1.5
BASE_CART_RATE = 0.125
CONSUMABLE_UNITS = 0.8
OTHER_UNITS = 0.2


@dataclass(frozen=True)
class Shelf:
    """The assortment as it stands in one block of days: for each archetype the chance to notice an item."""

    cumulated: Floats

    def notice(self, rng: np.random.Generator, archetype: Ints) -> Ints:
        """One item for each entry, drawn from its archetype's distribution."""
        items = self.cumulated.shape[1]
        drawn = np.searchsorted(self.cumulated.ravel(), archetype + rng.random(len(archetype)), side="right")
        return np.asarray(np.clip(drawn - archetype * items, 0, items - 1), dtype=np.int64)


def shelf(catalogue: Catalogue, population: Population, day: float, day_of_year: float) -> Shelf:
    """What is launched by that day, by demand of the season, reductions and the archetypes' tastes."""
    _, factor = catalogue.price_at(np.arange(catalogue.count), np.full(catalogue.count, int(day)))
    appeal = catalogue.demand(day_of_year) - REDUCTION_APPEAL * np.log(factor)
    logits = ARCHETYPE_SHARPNESS * population.archetypes @ catalogue.taste.T + appeal
    logits[:, catalogue.launched > day] = -np.inf
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    cumulated = np.cumsum(weights, axis=1)
    cumulated /= cumulated[:, -1:]
    return Shelf(cumulated + np.arange(ARCHETYPES)[:, None])


def look(
    rng: np.random.Generator, catalogue: Catalogue, population: Population, persona: Ints, on: Shelf
) -> Ints:
    """The item each persona looks at: of a few that he notices, the one that suits his taste and purse."""
    noticed = np.empty((len(persona), PROPOSALS), dtype=np.int64)
    for column in range(PROPOSALS):
        is_first = rng.random(len(persona)) < population.first_share[persona]
        archetype = np.where(
            is_first, population.first_archetype[persona], population.second_archetype[persona]
        )
        noticed[:, column] = on.notice(rng, archetype)
    score = PERSONAL_SHARPNESS * affinity(catalogue, population, persona[:, None], noticed)
    misfit = catalogue.price_rank[noticed] - population.price_taste[persona][:, None]
    score += rng.gumbel(size=noticed.shape) - PRICE_SHARPNESS * misfit**2
    return np.asarray(noticed[np.arange(len(persona)), np.argmax(score, axis=1)], dtype=np.int64)


def affinity(catalogue: Catalogue, population: Population, persona: Ints, item: Ints) -> Floats:
    """Cosine of taste and item, -1 to 1."""
    left = population.taste.astype(np.float32)[persona]
    right = catalogue.taste.astype(np.float32)[item]
    return np.asarray((left * right).sum(axis=-1), dtype=np.float64)


def cart_rate(
    catalogue: Catalogue, population: Population, persona: Ints, item: Ints, day: Ints
) -> tuple[Floats, Floats]:
    """(chance that a look leads into the cart, price on that day).

    The chance goes with the price factor to the power of the item's elasticity: the true demand curve.
    """
    price, factor = catalogue.price_at(item, day)
    liking = np.exp(1.1 * (affinity(catalogue, population, persona, item) - 0.4))
    rate = BASE_CART_RATE * liking * population.cart_factor[persona] * factor ** catalogue.elasticity[item]
    in_stock = ~catalogue.is_out_of_stock[item, np.clip(day, 0, catalogue.is_out_of_stock.shape[1] - 1)]
    return np.minimum(rate, 0.85) * in_stock, price


def units(rng: np.random.Generator, catalogue: Catalogue, item: Ints) -> Floats:
    mean = np.where(catalogue.cycle_days[item] > 0, CONSUMABLE_UNITS, OTHER_UNITS)
    return 1.0 + rng.poisson(mean).astype(np.float64)


def expected_units(catalogue: Catalogue, item: Ints) -> Floats:
    return 1.0 + np.where(catalogue.cycle_days[item] > 0, CONSUMABLE_UNITS, OTHER_UNITS)
