"""What a suite found (`evaluation`) as Dagster asset checks: one expectation, one check with its figures."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from orchestration.quality.evaluation import Outcome
from orchestration.quality.suites import Rule


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
