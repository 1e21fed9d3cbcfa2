"""Everything that follows from landed events, in the order of its stages."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration.assets.analysis import analysis_assets
from orchestration.assets.campaigns import campaign_assets
from orchestration.assets.experiments import experiment_assets
from orchestration.assets.features import feature_assets
from orchestration.assets.models import model_assets
from orchestration.assets.monitoring import monitoring_assets
from orchestration.assets.release import release_assets
from orchestration.assets.transforms import transform_assets


def downstream_assets(
    manifest: Mapping[str, Any],
    partitions: dg.DailyPartitionsDefinition,
    retries: dg.RetryPolicy | None,
) -> list[dg.AssetsDefinition]:
    """Transforms, analysis, features, models, release, campaigns, monitoring. `manifest` is dbt's."""
    return [
        *transform_assets(manifest, partitions, retries),
        *analysis_assets(retries),
        *feature_assets(retries),
        *experiment_assets(retries),
        *model_assets(retries),
        *release_assets(retries),
        *campaign_assets(retries),
        *monitoring_assets(retries),
    ]
