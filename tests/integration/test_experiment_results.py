"""From landed exposures to a published result, and to what a bandit deals next."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from feature_repo.layout import Home
from feature_repo.store import apply_definitions
from orchestration.experiments import publish_results
from orchestration.landed import landed_days
from orchestration.marts import publish_marts
from orchestration.resources import Features
from orchestration.settings import read_settings
from tests.integration.landed import Event, Transforms, at, event, land, land_catalogue

pytestmark = pytest.mark.integration

USERS, GUESTS = 800, 400
Result = dict[str, Any]


def shop() -> list[Event]:
    """Everybody viewed before; every other one meets variant_a on one of two days and buys more often."""
    events: list[Event] = []
    for number in range(USERS):
        user, is_treated = f"u{number:03}", number % 2 == 1
        day = f"2024-05-{6 + number % 4 // 2:02}"
        variant = "variant_a" if is_treated else "control"
        events.append(event(f"before-{user}", "product_view", "2024-05-01 10:00", user_id=user, item_id="i1"))
        if number % 3 == 0:
            line = {"item_id": "i1", "order_id": f"old-{user}", "quantity": 1.0, "price": 10.0}
            events.append(event(f"old-{user}", "purchase", "2024-05-01 11:00", user_id=user, **line))
        context = json.dumps({"variant": variant, "propensity": 0.5})
        events.append(
            event(
                f"met-{user}",
                "experiment_exposure",
                f"{day} 12:00",
                user_id=user,
                experiment_id="x",
                context=context,
            )
        )
        if number % 10 < (7 if is_treated else 4):
            bought = (at(f"{day} 12:00") + timedelta(days=number % 5)).strftime("%Y-%m-%d %H:%M")
            line = {"item_id": "i1", "order_id": f"o-{user}", "quantity": 2.0, "price": 10.0}
            events.append(event(f"o-{user}", "purchase", bought, user_id=user, device_type="mobile", **line))
        # Outside the window of seven days: counts for nothing.
        events.append(
            event(
                f"late-{user}",
                "purchase",
                "2024-05-15 09:00",
                user_id=user,
                item_id="i1",
                quantity=1.0,
                price=99.0,
            )
        )
    return [*events, *holdout()]


def holdout() -> list[Event]:
    """Others met the holdout weeks ago, half are held out; who is not buys more often in the last days."""
    events: list[Event] = []
    for number in range(GUESTS):
        user, is_held = f"h{number:03}", number % 2 == 0
        context = json.dumps({"variant": "held_out" if is_held else "included", "propensity": 0.5})
        met = {"user_id": user, "experiment_id": "holdout", "context": context}
        line = {"user_id": user, "item_id": "i1", "quantity": 1.0, "price": 10.0}
        events.append(event(f"met-{user}", "experiment_exposure", "2024-04-10 12:00", **met))
        events.append(event(f"old-{user}", "purchase", "2024-04-15 12:00", **line))
        if number % 10 < (2 if is_held else 6):
            events.append(event(f"new-{user}", "purchase", "2024-04-16 12:00", **line))
        stars = json.dumps({"rating": 2 + number % 2 + number // 2 % 2})
        events.append(
            event(f"r-{user}", "rating", "2024-05-14 12:00", user_id=user, item_id="i1", context=stars)
        )
    return events


@pytest.fixture(scope="module")
def results(transforms: Transforms, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    home = Home(tmp_path_factory.mktemp("experiments"))
    land(home, shop())
    land_catalogue(home, [{"item_id": "i1", "price": 10.0}])
    transforms.run(home)
    publish_marts(home, sorted(landed_days(home)), full=True)
    features = Features(read_settings({"ATTUNE_HOME": str(home.root)}))
    apply_definitions(features.open())
    users = publish_results(home, features, sa.engine.make_url(f"sqlite:///{home.operational_db}"), 1000, 100)
    assert users == {"x": USERS, "holdout": GUESTS}
    return {name: json.loads(home.experiment_result(name).read_text()) for name in users}


@pytest.fixture
def result(results: dict[str, Result]) -> Result:
    return results["x"]


def comparison(result: Result, metric: str) -> Result:
    return dict(next(each for each in result["metrics"] if each["metric"] == metric)["variants"][0])


def test_only_what_falls_into_the_window_after_the_exposure_counts(result: Result) -> None:
    found = comparison(result, "conversion_rate")
    assert (found["users"], found["control_users"]) == (400, 400)
    assert (found["value"], found["control_value"]) == pytest.approx((0.6, 0.4))
    spend = comparison(result, "revenue_per_visitor")
    assert (spend["value"], spend["control_value"]) == pytest.approx((12.0, 8.0))


def test_the_result_says_what_it_found_and_how_often_it_would_by_chance(result: Result) -> None:
    assert result["verdict"]["code"] == "better"
    assert "variant_a raises conversion rate: 0.6 against 0.4" in result["verdict"]["text"]
    assert not result["sample_ratio"]["is_mismatch"]
    primary = result["metrics"][0]
    assert primary["false_positives"]["tests"] == 100
    assert primary["false_positives"]["always_valid_daily"] <= 0.05
    assert {each["status"] for each in result["guardrails"]} == {"held"}


def test_features_of_before_the_exposure_are_covariates_and_segments(result: Result) -> None:
    found = comparison(result, "conversion_rate")
    assert found["cuped"]["always_valid"]["low"] > 0
    tiers = [each for each in found["segments"] if each["dimension"] == "customer_tier"]
    assert [each["segment"] for each in tiers] == ["New"]
    assert [day["date"] for day in found["days"]] == ["2024-05-12", "2024-05-13"]


def test_the_last_days_of_everybody_who_met_the_holdout_are_compared(results: dict[str, Result]) -> None:
    found = results["holdout"]["periods"]["30_days"]
    assert (found["from"], found["until"]) == ("2024-04-16", "2024-05-15")
    assert found["exposed"] == {"held_out": 200, "included": 200}
    bought = comparison(found, "conversion_rate")
    assert (bought["value"], bought["control_value"]) == pytest.approx((0.6, 0.2))
    assert bought["fixed"]["low"] > 0
    rated = comparison(found, "mean_rating")
    assert (rated["value"], rated["control_value"]) == pytest.approx((3.5, 2.5))
    assert "retention_rate" not in {each["metric"] for each in found["metrics"]}


def test_nothing_is_read_where_nobody_met_an_experiment(tmp_path: Path) -> None:
    home = Home(tmp_path)
    features = Features(read_settings({"ATTUNE_HOME": str(tmp_path)}))
    assert publish_results(home, features, sa.engine.make_url("sqlite://"), 1000) == {}
    assert not home.experiment_results.exists()
