"""Assembles Dagster's definitions; no logic. `dagster dev -m orchestration.definitions` loads them."""

import os
from collections.abc import Mapping

import dagster as dg

from orchestration.assets import RETRIES
from orchestration.assets.all import downstream_assets
from orchestration.assets.campaigns import sending_assets
from orchestration.assets.events import event_assets
from orchestration.assets.privacy import privacy_assets
from orchestration.assets.transforms import load_manifest
from orchestration.automation import (
    changed_days,
    daily_forgetting,
    daily_landing,
    failed_runs,
    freshness_checks,
    jobs,
    regular_sending,
)
from orchestration.garbage import collect_rarely
from orchestration.partitions import daily
from orchestration.resources import dbt_resource, default_resources
from orchestration.settings import Settings, process_environment, read_settings


@dg.definitions
def definitions() -> dg.Definitions:
    """What the Dagster UI, daemon and code server load: the settings come from the environment."""
    collect_rarely()
    settings = read_settings()
    os.environ.update(process_environment(settings))
    return build_definitions(settings)


def build_definitions(settings: Settings, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """All assets, checks, jobs, the schedule and the sensor; `resources` replace the real ones by name."""
    partitions = daily(settings.first_day)
    events = event_assets(partitions, RETRIES)
    privacy = privacy_assets(RETRIES)
    downstream = downstream_assets(load_manifest(settings.home), partitions, RETRIES)
    checks = freshness_checks(events[0])
    real = default_resources(settings) | {"dbt": dbt_resource()}
    return dg.Definitions(
        assets=[*events, *privacy, *downstream, *sending_assets(RETRIES)],
        asset_checks=checks,
        jobs=jobs(),
        schedules=[daily_landing(settings), daily_forgetting(settings), regular_sending(settings)],
        sensors=[
            changed_days(settings),
            failed_runs(settings),
            dg.build_sensor_for_freshness_checks(freshness_checks=checks),
        ],
        resources=real | dict(resources or {}),
        # Few coarse assets that share memory and the home's lock: one process for a run.
        executor=dg.in_process_executor,
    )
