"""What is stored of drift, and which models it sends to training again."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from feature_repo.layout import Home
from orchestration.assets.monitoring import drift_results
from orchestration.completion import note_trained
from orchestration.drift_reports import DriftReport, drifted_since, reuse_reason, write_report
from orchestration.predicting import outdated_predictions
from training.drift import compare
from training.registry import ModelVersion, Registry

DAY = date(2026, 3, 1)
BEFORE = np.arange(300.0)
MOVED = compare("churn", "prediction", "churn_probability", BEFORE, BEFORE + 200.0)
STILL = compare("churn", "feature", "spend", BEFORE, BEFORE)
CHAMPION = ModelVersion("churn", "3", "run", "", {}, {})


class Trained(Registry):
    """A registry whose champion saw data up to `DAY`, and every other version a week more."""

    def __init__(self) -> None: ...

    def version(self, kind: str, version: str) -> ModelVersion:
        return replace(CHAMPION, kind=kind, version=version)

    def data_until(self, version: ModelVersion) -> date | None:
        return DAY if version.version == "3" else DAY + timedelta(days=7)


def reason(home: Home, until: date, days: int, champion: ModelVersion | None = CHAMPION) -> str | None:
    return reuse_reason(home, cast(Registry, Trained()), champion, "recipe", until, days)


def test_a_champion_is_kept_until_it_is_due_or_has_drifted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    note_trained(home, "churn", "data", "recipe", "3")
    week = DAY + timedelta(days=6)
    assert reason(home, week, 0) is None
    assert reason(home, week, 7, champion=None) is None
    assert reason(home, DAY + timedelta(days=7), 7) is None
    assert reason(home, DAY - timedelta(days=1), 7) is None
    assert reason(home, week, 7) == "6 days old, to be trained every 7 days, and no drift since"
    write_report(home, DriftReport(DAY, {"churn": "3"}, [STILL]))
    write_report(home, DriftReport(week, {"churn": "3"}, [STILL, MOVED]))
    assert reason(home, week, 7) is None
    note_trained(home, "churn", "data", "recipe", "4")
    later = DAY + timedelta(days=13)
    assert reason(home, later, 7, replace(CHAMPION, version="4")) is not None


def test_what_was_refused_has_as_many_days_as_a_champion(tmp_path: Path) -> None:
    home = Home(tmp_path)
    note_trained(home, "churn", "data", "recipe", "4")  # refused: 3 is still champion
    write_report(home, DriftReport(DAY, {"churn": "3"}, [STILL]))
    write_report(home, DriftReport(DAY + timedelta(days=7), {"churn": "3"}, [STILL, MOVED]))
    kept = "version 4, 6 days old, did not replace it; the next is trained after 7"
    assert reason(home, DAY + timedelta(days=13), 7) == kept
    assert reason(home, DAY + timedelta(days=14), 7) is None


def test_a_champion_is_not_kept_where_another_recipe_is_wanted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert reason(home, DAY, 7) is None
    note_trained(home, "churn", "data", "the recipe before", "3")
    assert reason(home, DAY, 7) is None
    note_trained(home, "churn", "data", "recipe", "3")
    assert reason(home, DAY, 7) is not None


def test_what_moved_since_the_first_report_counts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write_report(home, DriftReport(DAY, {"churn": "2"}, [STILL]))
    write_report(home, DriftReport(DAY + timedelta(days=1), {"churn": "3"}, [STILL]))
    write_report(home, DriftReport(DAY + timedelta(days=2), {"churn": "3"}, [MOVED]))
    assert [each.aspect for each in drifted_since(home, "churn", "3")] == ["prediction"]
    assert drifted_since(home, "churn", "2") == []
    write_report(home, DriftReport(DAY + timedelta(days=3), {"churn": "3"}, [STILL]))
    assert drifted_since(home, "churn", "3") == []


def test_what_training_did_not_cure_does_not_ask_for_it_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for day in range(3):
        write_report(home, DriftReport(DAY + timedelta(days=day), {"churn": "3"}, [MOVED]))
    assert drifted_since(home, "churn", "3") == []


def test_each_aspect_is_a_check_with_a_plot_of_what_was_compared() -> None:
    results = {each.check_name: each for each in drift_results(DriftReport(DAY, {}, [STILL, MOVED]))}
    assert {name: each.passed for name, each in results.items()} == {
        "features_stable": True,
        "predictions_stable": False,
        "outcomes_stable": True,
    }
    assert "churn: churn_probability moved" in str(results["predictions_stable"].metadata["drifted"].value)
    assert "data:image/png" in str(results["features_stable"].metadata["plot"].value)
    assert "plot" not in results["outcomes_stable"].metadata


@pytest.mark.parametrize("daily", [20, 100, 400])
def test_some_predictions_outlive_the_horizon_and_none_stays_for_ever(daily: int) -> None:
    days = {DAY - timedelta(days=number) for number in range(daily)}
    kept = days - set(outdated_predictions(days))
    assert {day for day in days if (DAY - day).days < 30} <= kept
    assert len(kept) <= 30 + 18
    assert daily < 100 or any(90 <= (DAY - day).days < 110 for day in kept)
    assert max((DAY - day).days for day in kept) <= 200
