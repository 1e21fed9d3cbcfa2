"""The stage `analysis`: what the marts say beyond sums, for the dashboards; nothing downstream needs it."""

from time import monotonic

import dagster as dg

from orchestration.assets import ATTRIBUTION, MARTS, OWNERS, WRITER_POOL, Result
from orchestration.resources import Workspace


def analysis_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """The asset `analysis/attribution`."""

    @dg.asset(
        key=ATTRIBUTION,
        group_name="analysis",
        description="What channels earn by a Markov chain, and campaigns by who was held out of them.",
        deps=[MARTS],
        owners=OWNERS,
        kinds={"parquet"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def attribution(workspace: dg.ResourceParam[Workspace]) -> Result:
        from orchestration.analysing import analyse_attribution

        started = monotonic()
        with workspace.writing() as home:
            metadata = analyse_attribution(home)
        return Result(metadata=metadata | {"seconds": round(monotonic() - started, 1)})

    return [attribution]
