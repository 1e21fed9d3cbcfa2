"""The customers: tastes, rates, lifetimes; every trait is drawn once and is the truth about its owner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orchestration.simulation.calendar import Floats, Ints
from orchestration.simulation.catalogue import DIMENSIONS, Bools, Catalogue, unit

ARCHETYPES = 24
COUNTRIES = ("Germany", "France", "Portugal", "Spain", "Italy", "Netherlands", "Poland", "Sweden")
GENDERS = ("female", "male", "other")
CHANNELS = ("web", "mobile_web", "mobile_app")
DEVICES = ("desktop", "mobile", "tablet")
MEAN_LIFETIME_DAYS = 260.0


@dataclass(frozen=True)
class Population:
    """One entry per customer in every array; times in days since the start, rates per day."""

    taste: Floats
    archetypes: Floats
    first_archetype: Ints
    second_archetype: Ints
    first_share: Floats
    joined: Floats
    alive_until: Floats
    dropout_rate: Floats
    visit_rate: Floats
    cart_factor: Floats
    checkout_rate: Floats
    price_taste: Floats
    rhythm: Ints
    device: Ints
    is_subscribed: Bools
    open_rate: Floats
    age: Ints
    gender: Ints
    country: Ints

    @property
    def count(self) -> int:
        return len(self.joined)

    def ids(self) -> list[str]:
        return [f"u{number:07d}" for number in range(self.count)]


def draw_population(rng: np.random.Generator, count: int, days: int, catalogue: Catalogue) -> Population:
    """Customers as mixtures of archetypes; 55 % were there before the start, the others join during it.

    The time to a customer's silent death is exponential with a rate of his own (gamma over customers), and
    for those who were there before, counted from the start: being alive then is all that is known of them.
    """
    archetypes = _archetypes(rng, catalogue)
    first = rng.integers(ARCHETYPES, size=count)
    second = rng.integers(ARCHETYPES, size=count)
    share = rng.uniform(0.55, 1.0, size=count)
    mixture = share[:, None] * archetypes[first] + (1 - share)[:, None] * archetypes[second]
    taste = unit(mixture + 0.45 * unit(rng.normal(size=(count, DIMENSIONS))))
    was_there = rng.random(count) < 0.55
    joined = np.where(was_there, -rng.exponential(250.0, count) - 1.0, rng.uniform(0, days, count))
    dropout = np.maximum(1e-4, rng.gamma(1.2, 1.0 / (1.2 * MEAN_LIFETIME_DAYS), size=count))
    engagement = rng.normal(size=count)
    return Population(
        taste=taste,
        archetypes=archetypes,
        first_archetype=first,
        second_archetype=second,
        first_share=share,
        joined=joined,
        alive_until=np.maximum(joined, 0.0) + rng.exponential(1.0 / dropout),
        dropout_rate=dropout,
        visit_rate=np.exp(0.85 * engagement - 0.85**2 / 2),
        cart_factor=np.exp(0.45 * rng.normal(size=count)),
        checkout_rate=np.clip(rng.beta(4, 4.5, size=count), 0.05, 0.95),
        price_taste=np.clip(rng.beta(2.2, 2.2, size=count), 0, 1),
        rhythm=rng.integers(3, size=count),
        device=rng.choice(3, size=count, p=[0.42, 0.46, 0.12]),
        is_subscribed=rng.random(count) < 0.6,
        open_rate=rng.beta(2, 5, size=count),
        age=np.clip(np.round(rng.normal(41, 14, size=count)), 18, 90).astype(np.int64),
        gender=rng.choice(3, size=count, p=[0.52, 0.45, 0.03]),
        country=rng.choice(len(COUNTRIES), size=count, p=_country_shares()),
    )


def _archetypes(rng: np.random.Generator, catalogue: Catalogue) -> Floats:
    """Each archetype likes two or three leaves."""
    centres = np.stack(
        [
            catalogue.taste[catalogue.leaf == leaf].mean(axis=0)
            if (catalogue.leaf == leaf).any()
            else np.zeros(DIMENSIONS)
            for leaf in range(len(catalogue.leaf_names))
        ]
    )
    likes = np.stack([rng.choice(len(centres), size=3, replace=False) for _ in range(ARCHETYPES)])
    strength = rng.dirichlet([4.0, 3.0, 2.0], size=ARCHETYPES)
    mean = np.einsum("as,asd->ad", strength, centres[likes])
    return unit(mean + 0.05 * rng.normal(size=mean.shape))


def _country_shares() -> Floats:
    weights = 1.0 / np.arange(1, len(COUNTRIES) + 1)
    return np.asarray(weights / weights.sum(), dtype=np.float64)
