"""A recommender judged by the shop's own log: what is landed in, the value of its lists out."""

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.events import EVENT_SCHEMA
from serving.decisions.exploration import explore
from tests.integration.test_train_recommenders import ALS, START, world, write_mart
from training.candidates import BlendChoice
from training.interactions import read_interactions
from training.recommender_value import logged_values
from training.recommenders import Recipe

CUTOFF = START + timedelta(days=60)
UNTIL = CUTOFF + timedelta(days=20)
RECIPE = Recipe(ALS, BlendChoice(0.4), 1)
PLACES, TAIL = 3, 6


def event(
    kind: str, number: int, user: str, item: str, at: datetime, context: dict[str, Any]
) -> dict[str, Any]:
    return {
        "event_id": f"{kind}-{number}-{item}",
        "event_type": kind,
        "user_id": user,
        "item_id": item,
        "recommendation_id": f"d{number}",
        "event_at": at,
        "received_at": at,
        "channel": "api",
        "context": json.dumps(context),
    }


def land_log(folder: Path, mart: str, days: int, epsilon: float) -> Path:
    """Every known user is shown a list a day, ranked at random and explored; one look in ten is a click."""
    interactions = read_interactions(mart, CUTOFF)
    items, rng, number = list(interactions.items.ids), np.random.default_rng(1), 0
    for day in range(days):
        at, rows = datetime.combine(CUTOFF + timedelta(days=day), time(12), UTC), []
        for user in interactions.users.ids:
            number += 1
            pool = rng.permutation(len(items))[: PLACES + TAIL]
            ranked, tail = pool[:PLACES].tolist(), pool[PLACES:].tolist()
            shown, propensities = explore(ranked, tail, epsilon, f"d{number}")
            for place, (position, propensity) in enumerate(zip(shown, propensities, strict=True), 1):
                context = {
                    "position": place,
                    "kind": "recommendations",
                    "release": "r1",
                    "propensity": propensity,
                }
                rows.append(event("recommendation_served", number, user, items[position], at, context))
                if rng.random() < 0.1:
                    rows.append(event("recommendation_click", number, user, items[position], at, {}))
        path = folder / f"event_date={at:%Y-%m-%d}" / "events.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=EVENT_SCHEMA), path)
    return folder


@pytest.fixture(scope="module")
def mart(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_mart(tmp_path_factory.mktemp("marts") / "interactions_daily", world())


def test_a_log_with_exploration_gives_a_value_or_says_why_not(tmp_path: Path, mart: str) -> None:
    values = logged_values(land_log(tmp_path, mart, 3, 0.3), mart, RECIPE, CUTOFF, UNTIL)
    assert values is not None
    assert values.served.estimate == pytest.approx(0.1, abs=0.05)
    assert values.candidate.abstains
    assert values.candidate.reason
    assert len(values.notes) == 3


def test_a_log_without_exploration_says_nothing(tmp_path: Path, mart: str) -> None:
    assert logged_values(land_log(tmp_path, mart, 1, 0.0), mart, RECIPE, CUTOFF, UNTIL) is None


def test_a_shop_without_a_log_says_nothing(tmp_path: Path, mart: str) -> None:
    assert logged_values(tmp_path, mart, RECIPE, CUTOFF, date(UNTIL.year, UNTIL.month, UNTIL.day)) is None
