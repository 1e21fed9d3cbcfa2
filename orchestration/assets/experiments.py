"""The stage `analysis`: what experiments show, published for the service."""

from time import monotonic

import dagster as dg

from orchestration.assets import DEFINITIONS, EXPERIMENTS, MARTS, OWNERS, WRITER_POOL, Result
from orchestration.resources import Features, Workspace


def experiment_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """The asset `analysis/experiments`."""

    @dg.asset(
        key=EXPERIMENTS,
        group_name="analysis",
        description="Results of every experiment: effects by both methods, sample ratio, segments, verdict.",
        deps=[MARTS, DEFINITIONS],
        owners=OWNERS,
        kinds={"feast", "json"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def experiments(workspace: dg.ResourceParam[Workspace], features: dg.ResourceParam[Features]) -> Result:
        from orchestration.experiments import publish_results

        started = monotonic()
        with workspace.writing() as home:
            settings = workspace.settings
            users = publish_results(home, features, settings.operational_url, settings.ab_test_sample_size)
        return dg.MaterializeResult(
            metadata={
                "experiments": len(users),
                "users": users,
                "seconds": round(monotonic() - started, 1),
            }
        )

    return [experiments]
