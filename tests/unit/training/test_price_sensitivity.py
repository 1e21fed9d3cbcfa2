"""Price elasticities and purses, on made-up shops whose truth is known."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.price_sensitivity import elasticities_of, estimate_elasticities, price_errors, price_habits

TRUTH = {"food": -2.5, "light": -1.0}


def weeks(items: int = 40, count: int = 60, seed: int = 0, exposure: float = 60.0) -> pd.DataFrame:
    """Every item is reduced by a quarter in every fourth week; demand follows its category's elasticity."""
    draw = np.random.default_rng(seed)
    parts = []
    for number in range(items):
        category = "food" if number % 2 else "light"
        factor = np.where(draw.uniform(size=count) < 0.25, 0.75, 1.0)
        mean = exposure * 0.05 * np.exp(draw.normal(0.0, 0.5)) * factor ** TRUTH[category]
        parts.append(
            pd.DataFrame(
                {
                    "item_id": f"i{number:03d}",
                    "category": category,
                    "demand": draw.poisson(mean),
                    "exposure": exposure,
                    "price": 10.0 * factor,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def test_categories_are_found_within_their_intervals() -> None:
    found = elasticities_of(weeks()).categories.set_index("category")
    for category, truth in TRUTH.items():
        assert found.loc[category, "elasticity"] == pytest.approx(truth, abs=0.25)
        assert found.loc[category, "low"] < truth < found.loc[category, "high"]
    assert found["item_count"].to_dict() == {"food": 20, "light": 20}


def test_an_item_that_tells_little_leans_on_its_category() -> None:
    cells = weeks()
    rare = cells[cells["item_id"] == "i001"].head(8).assign(item_id="rare", demand=[0, 1, 0, 0, 1, 0, 0, 0])
    found = elasticities_of(pd.concat([cells, rare])).items.set_index("item_id")
    assert found.loc["rare", "elasticity"] == pytest.approx(TRUTH["food"], abs=0.5)


def test_without_a_change_of_price_there_is_nothing_to_say() -> None:
    found = elasticities_of(weeks().assign(price=10.0))
    assert np.isnan(found.shop)
    assert found.items["elasticity"].isna().all()


def test_errors_against_the_truth_are_small_where_the_world_is_as_assumed() -> None:
    found = elasticities_of(weeks())
    true_items = found.items[["item_id"]].assign(elasticity=found.items["category"].map(TRUTH))
    habits = pd.DataFrame({"user_id": ["a", "b", "c"], "price_level": [0.2, 0.5, 0.9]})
    true_users = pd.DataFrame({"user_id": ["a", "b", "c"], "price_taste": [0.1, 0.6, 0.8]})
    errors = price_errors(found, habits, true_items, true_users)
    assert errors["elasticity_mae"] < 0.3 < errors["elasticity_mae_one_number"]
    assert errors["elasticity_coverage"] > 0.8
    assert errors["price_level_spearman"] == 1.0


def test_weeks_are_read_from_events_with_views_as_exposure(tmp_path: Path) -> None:
    start, rows = datetime(2026, 1, 1, tzinfo=UTC), []
    for week, (price, carts) in enumerate([(10.0, 2), (5.0, 8), (10.0, 2), (5.0, 8)]):
        at = start + timedelta(days=7 * week)
        rows += [("product_view", None, at)] * 20 + [("add_to_cart", price, at)] * carts
    events = pa.table(
        {
            "item_id": ["tea"] * len(rows),
            "event_type": [kind for kind, _, _ in rows],
            "price": pa.array([price for _, price, _ in rows], pa.float64()),
            "event_at": pa.array([at for _, _, at in rows], pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(events, tmp_path / "events.parquet")
    pq.write_table(pa.table({"item_id": ["tea"], "category": ["food"]}), tmp_path / "items.parquet")
    found = estimate_elasticities(
        str(tmp_path / "events.parquet"), str(tmp_path / "items.parquet"), start + timedelta(days=60)
    )
    assert found.shop == pytest.approx(np.log(4.0) / np.log(0.5), abs=0.01)


def test_a_bargain_hunter_and_a_lover_of_dear_things_are_told_apart(tmp_path: Path) -> None:
    buys = [("thrifty", "cheap", 0.8), ("rich", "dear", 30.0), ("plain", "dear", 30.0)]
    buys += [("plain", "cheap", 1.0), ("plain", "cheap", 1.0), ("plain", "middle", 5.0)]
    table = pa.table(
        {
            "user_id": [user for user, _, _ in buys],
            "item_id": [item for _, item, _ in buys],
            "event_date": [date(2026, 1, 1)] * len(buys),
            "purchase_count": [1] * len(buys),
            "view_count": [0] * len(buys),
            "unit_count": [1.0] * len(buys),
            "spend": [paid for _, _, paid in buys],
        }
    )
    pq.write_table(table, tmp_path / "days.parquet")
    items = pa.table({"item_id": ["cheap", "middle", "dear"], "category": ["a", "a", "a"]})
    pq.write_table(items, tmp_path / "items.parquet")
    found = price_habits(
        str(tmp_path / "days.parquet"), str(tmp_path / "items.parquet"), date(2026, 2, 1)
    ).set_index("user_id")
    assert found["price_level"].sort_values().index.to_list() == ["thrifty", "plain", "rich"]
    assert found.loc["thrifty", "discount_share"] > found.loc["rich", "discount_share"]
