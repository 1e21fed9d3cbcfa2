"""The truth of a world, beside its events and readable by evaluation alone; and its items and customers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.simulation.calendar import Calendar, Floats
from orchestration.simulation.catalogue import Catalogue
from orchestration.simulation.choice import cart_rate, expected_units, look, shelf
from orchestration.simulation.population import COUNTRIES, GENDERS, Population
from orchestration.simulation.visits import ANONYMOUS_SHARE, MAX_VIEWS, VIEW_STOP

HORIZONS_DAYS = (30, 90, 180, 365)
LOOKS_SAMPLED = 24
NOT_REMOVED = 0.94
DAILY_COSTS = {"search": 0.012, "social": 0.009, "affiliate": 0.006, "email": 0.001}
"""Marketing spend per customer of the world and ordinary day, in units of the currency."""


def write_items(path: Path, rng: np.random.Generator, calendar: Calendar, catalogue: Catalogue) -> None:
    """The catalogue as the shop exports it at the end: prices of the last day, stock on hand."""
    last = np.full(catalogue.count, calendar.days - 1)
    every = np.arange(catalogue.count)
    stock = rng.integers(5, 400, size=catalogue.count)
    table = pa.table(
        {
            "item_id": catalogue.ids(),
            "title": catalogue.titles(),
            "category_path": catalogue.paths(),
            "brand": [catalogue.brand_names[brand] for brand in catalogue.brand],
            "price": catalogue.price_at(every, last)[0],
            "cost": catalogue.cost,
            "stock": np.where(catalogue.is_out_of_stock[every, last], 0, stock),
            "description": catalogue.descriptions(rng),
            "attributes": catalogue.attributes(),
            "first_seen_at": _instants(calendar, catalogue.launched),
        }
    )
    pq.write_table(table.filter(pa.array(catalogue.launched < calendar.days)), path)


def write_customers(path: Path, rng: np.random.Generator, calendar: Calendar, population: Population) -> None:
    """The customers as the shop knows them: some did not tell their age or gender."""
    hidden = rng.random((2, population.count)) < 0.12
    newsletter = pa.array(['{"newsletter": false}', '{"newsletter": true}'])
    table = pa.table(
        {
            "user_id": population.ids(),
            "created_at": _instants(calendar, population.joined),
            "age": pa.array(population.age, mask=hidden[0]),
            "gender": pa.array(np.array(GENDERS)[population.gender], mask=hidden[1]),
            "location": np.array(COUNTRIES)[population.country],
            "attributes": newsletter.take(pa.array(population.is_subscribed.astype(np.int8))),
        }
    )
    pq.write_table(table.filter(pa.array(population.joined < calendar.days)), path)


def write_spend(path: Path, calendar: Calendar, users: int) -> None:
    """What marketing cost by day and channel: more where the shop is busier."""
    weights = calendar.weights(0, calendar.days)
    days = [calendar.day_of(number) for number in range(calendar.days)]
    tables = [
        pa.table(
            {
                "day": pa.array(days, pa.date32()),
                "channel": [channel] * len(days),
                "campaign_id": pa.nulls(len(days), pa.string()),
                "amount": np.round(cost * users * weights, 2),
            }
        )
        for channel, cost in DAILY_COSTS.items()
    ]
    pq.write_table(pa.concat_tables(tables), path)


def write_truth(
    folder: Path,
    rng: np.random.Generator,
    calendar: Calendar,
    catalogue: Catalogue,
    population: Population,
    rate: Floats,
    spent: float,
) -> None:
    """users.parquet, items.parquet and stockouts.parquet.

    ``expected_spend_<H>d`` is what a customer is expected to spend, signed in, in the H days after the end:
    0 for the dead; for the living by the choice model (sampled looks), his visit rate, the calendar and his
    survival, scaled by one factor for the whole shop so that the model's past spend equals ``spent``, which
    covers refills and looks at neighbouring items.
    """
    per_visit = _spend_per_visit(rng, calendar, catalogue, population)
    past = per_visit * rate * _busy(calendar, population.joined, population.alive_until, 0, calendar.days)
    factor = spent / float(past.sum()) if past.sum() > 0 else 1.0
    is_alive = (population.alive_until >= calendar.days) & (population.joined < calendar.days)
    expected = {
        f"expected_spend_{horizon}d": np.where(
            is_alive, factor * per_visit * rate * _surviving(calendar, population.dropout_rate, horizon), 0.0
        )
        for horizon in HORIZONS_DAYS
    }
    users = {
        "user_id": population.ids(),
        "joined_at": _instants(calendar, population.joined),
        "alive_until": _instants(calendar, population.alive_until),
        "is_alive_at_end": is_alive,
        "dropout_rate_per_day": population.dropout_rate,
        "visit_rate_per_day": rate,
        "expected_spend_per_visit": factor * per_visit,
        **expected,
        "price_taste": population.price_taste,
        "taste": _vectors(population.taste),
    }
    items = {
        "item_id": catalogue.ids(),
        "elasticity": catalogue.elasticity,
        "return_rate": catalogue.return_rate,
        "cycle_days": catalogue.cycle_days,
        "popularity": catalogue.popularity,
        "complement_item_id": pa.array(catalogue.ids()).take(pa.array(catalogue.complement)),
        "taste": _vectors(catalogue.taste),
    }
    item, day = np.nonzero(catalogue.is_out_of_stock[:, : calendar.days])
    ids = pa.array(catalogue.ids())
    days = pa.array([calendar.day_of(number) for number in range(calendar.days)])
    pq.write_table(pa.table(users), folder / "users.parquet")
    pq.write_table(pa.table(items), folder / "items.parquet")
    pq.write_table(
        pa.table({"item_id": ids.take(pa.array(item)), "day": days.take(pa.array(day))}),
        folder / "stockouts.parquet",
    )


def _spend_per_visit(
    rng: np.random.Generator, calendar: Calendar, catalogue: Catalogue, population: Population
) -> Floats:
    day = calendar.days - 1
    on = shelf(catalogue, population, day, float(calendar.day_of(day).timetuple().tm_yday))
    total = np.zeros(population.count)
    everyone = np.arange(population.count)
    for _ in range(LOOKS_SAMPLED):
        item = look(rng, catalogue, population, everyone, on)
        chance, price = cart_rate(catalogue, population, everyone, item, np.full(population.count, day))
        total += chance * price * expected_units(catalogue, item)
    looks = (1 - (1 - VIEW_STOP) ** MAX_VIEWS) / VIEW_STOP
    signed_in = 1 - ANONYMOUS_SHARE
    return total / LOOKS_SAMPLED * looks * NOT_REMOVED * population.checkout_rate * signed_in


def _busy(calendar: Calendar, begin: Floats, end: Floats, first: int, last: int) -> Floats:
    """The weighted days of [first, last) between ``begin`` and ``end``."""
    edges = np.concatenate([[0.0], np.cumsum(calendar.weights(first, last))])
    grid = np.arange(first, last + 1, dtype=np.float64)
    upper = np.interp(np.clip(end, first, last), grid, edges)
    lower = np.interp(np.clip(begin, first, last), grid, edges)
    return np.asarray(np.maximum(upper - lower, 0.0), dtype=np.float64)


def _surviving(calendar: Calendar, dropout: Floats, horizon: int) -> Floats:
    """Weighted days that a customer who is alive at the end can expect to live in the horizon."""
    weights = calendar.weights(calendar.days, calendar.days + horizon)
    total = np.zeros(len(dropout))
    for number, weight in enumerate(weights):
        total += weight * np.exp(-dropout * (number + 0.5))
    return total


def _instants(calendar: Calendar, at: Floats) -> pa.Array:
    latest = 200_000.0  # so that no drawn lifetime leaves the range of timestamps
    return pa.array(calendar.to_micros(np.minimum(at, latest))).cast(pa.timestamp("us", tz="UTC"))


def _vectors(values: Floats) -> pa.Array:
    flat = pa.array(values.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
