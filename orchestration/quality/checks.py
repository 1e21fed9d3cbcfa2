"""Run a suite on a frame: one expectation, one Dagster asset check with its observed value.

Results carry counts and aggregates only, never the rows that failed: they would name customers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from orchestration.quality.suites import Rule


@dataclass(frozen=True)
class Outcome:
    """What one rule found; `observed` are the figures that it looked at."""

    rule: Rule
    passed: bool
    observed: dict[str, float | int | str]


def run_suite(frame: pd.DataFrame, rules: Sequence[Rule]) -> list[Outcome]:
    """Every rule on the whole frame, in order. A rule that cannot be evaluated counts as failed."""
    import great_expectations as gx
    from great_expectations import expectations
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("frame")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    outcomes = []
    for rule in rules:
        result = batch.validate(getattr(expectations, rule.kind)(**rule.arguments))
        outcomes.append(Outcome(rule, bool(result.success), _observed(result)))
    return outcomes


def check_specs(asset: dg.AssetKey, rules: Iterable[Rule]) -> list[dg.AssetCheckSpec]:
    """The checks that the asset will report, one for each rule."""
    return [
        dg.AssetCheckSpec(rule.name, asset=asset, description=rule.meaning, blocking=rule.blocking)
        for rule in rules
    ]


def check_results(asset: dg.AssetKey, outcomes: Iterable[Outcome]) -> list[dg.AssetCheckResult]:
    """The outcomes as asset checks; a failure of a rule that does not block is a warning."""
    return [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=outcome.rule.name,
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR if outcome.rule.blocking else dg.AssetCheckSeverity.WARN,
            description=outcome.rule.meaning,
            metadata=dict(outcome.observed),
        )
        for outcome in outcomes
    ]


def skipped_results(asset: dg.AssetKey, rules: Iterable[Rule], reason: str) -> list[dg.AssetCheckResult]:
    """Checks of a frame that there was not enough data to build: warnings, for nothing bad is passed on."""
    return [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=rule.name,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=rule.meaning,
            metadata={"skipped": reason},
        )
        for rule in rules
    ]


def blocking_failures(outcomes: Iterable[Outcome]) -> list[str]:
    """One sentence for each failed blocking rule, with what was observed."""
    return [
        f"{outcome.rule.name} ({', '.join(f'{name} {value}' for name, value in outcome.observed.items())})"
        for outcome in outcomes
        if outcome.rule.blocking and not outcome.passed
    ]


def _observed(result: Any) -> dict[str, float | int | str]:
    """The figures of a Great Expectations result, without the values of any row."""
    exception = result.exception_info or {}
    if exception.get("raised_exception") or any(
        isinstance(entry, dict) and entry.get("raised_exception") for entry in exception.values()
    ):
        return {"error": "the rule could not be evaluated: a column is missing or of another type"}
    found = {}
    for name in ("observed_value", "element_count", "unexpected_count", "unexpected_percent"):
        value = (result.result or {}).get(name)
        if value is not None:
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> float | int | str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 6)
    return str(value)
