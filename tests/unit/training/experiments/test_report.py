"""What is published of an experiment: the verdict, what blocks it, guardrails, and a bandit's next shares."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from training.experiments.analysis import Users
from training.experiments.metrics import Metric
from training.experiments.report import BANDIT, Design, Observed, report

SPEND = Metric("spend", "mean", "spend", window_days=1, margin=0.2)
VISITS = Metric("visits", "mean", "visit_count", window_days=1)
SHARES = {"control": 0.5, "variant_a": 0.5}


def published(
    means: Mapping[str, float],
    design: Design,
    counts: Mapping[str, int] | None = None,
    propensities: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report on one day of 500 users an arm, with these means of a unit of spread."""
    rng = np.random.default_rng(8)
    users = {name: Users(np.zeros(500, int), rng.normal(mean, 1, 500)) for name, mean in means.items()}
    by_metric = {metric.name: users for metric in (*design.metrics, *design.guardrails)}
    observed = Observed(by_metric, counts or dict.fromkeys(means, 500), 3, propensities)
    return report(design, observed, lambda day: f"day {day}", {"spend": {"always_valid_daily": 0.01}})


def test_a_clear_effect_is_called_and_dated() -> None:
    found = published({"control": 5.0, "variant_a": 5.5}, Design("x", SHARES, (SPEND,)))
    entry = found["metrics"][0]["variants"][0]
    assert found["verdict"]["code"] == "better"
    assert "variant_a raises spend" in found["verdict"]["text"]
    assert entry["decided_on"] == "day 0"
    assert found["metrics"][0]["false_positives"] == {"always_valid_daily": 0.01}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_sample_ratio_mismatch_blocks_every_verdict() -> None:
    counts = {"control": 600, "variant_a": 400}
    found = published({"control": 5.0, "variant_a": 6.0}, Design("x", SHARES, (SPEND,)), counts)
    assert found["sample_ratio"]["is_mismatch"]
    assert found["verdict"]["code"] == found["metrics"][0]["variants"][0]["verdict"]["code"] == "blocked"
    assert "control 600, variant_a 400" in found["verdict"]["text"]


def test_a_broken_guardrail_speaks_against_a_better_metric() -> None:
    worse = Metric("cost", "mean", "return_amount", window_days=1, margin=0.02, is_lower_better=True)
    design = Design("x", SHARES, (SPEND,), (worse,))
    found = published({"control": 5.0, "variant_a": 6.0}, design)
    assert found["guardrails"] == [
        {"metric": "cost", "variant": "variant_a", "margin": 0.02, "status": "broken"}
    ]
    assert found["verdict"]["code"] == "guardrail_broken"
    assert found["verdict"]["text"].startswith("Do not ship: worse on cost (variant_a).")


def test_a_guardrail_is_held_once_a_larger_harm_is_excluded() -> None:
    found = published({"control": 5.0, "variant_a": 5.0}, Design("x", SHARES, (VISITS,), (SPEND,)))
    assert [each["status"] for each in found["guardrails"]] == ["held"]
    assert found["verdict"]["code"] == "undecided"


def test_more_variants_are_compared_at_a_stricter_level() -> None:
    shares = {"control": 1 / 3, "variant_a": 1 / 3, "variant_b": 1 / 3}
    found = published(dict.fromkeys(shares, 5.0), Design("x", shares, (SPEND,)))
    assert found["level_of_each_variant"] == pytest.approx(0.975)
    assert [each["variant"] for each in found["metrics"][0]["variants"]] == ["variant_a", "variant_b"]


def test_a_bandit_is_weighed_by_propensity_and_says_its_next_shares() -> None:
    propensities = {name: np.repeat([0.5, 0.25], 250) for name in SHARES}
    design = Design("x", SHARES, (SPEND,), mode=BANDIT)
    found = published({"control": 5.0, "variant_a": 5.5}, design, propensities=propensities)
    assert found["sample_ratio"] is None
    assert found["next_shares"] == {
        "control": pytest.approx(0.05, abs=1e-3),
        "variant_a": pytest.approx(0.95, abs=1e-3),
    }
    rng = np.random.default_rng(8)
    control = rng.normal(5.0, 1, 500)
    weighed = np.average(control, weights=1 / propensities["control"])
    assert found["metrics"][0]["variants"][0]["control_value"] == pytest.approx(weighed)
