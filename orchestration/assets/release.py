"""The stage `release`: write one from the champions; once its predictions are online, make it current."""

from datetime import timedelta
from time import monotonic
from typing import Any

import dagster as dg

from orchestration.assets import (
    BUILT_RELEASE,
    CHURN,
    CLV,
    COLLABORATIVE,
    MARTS,
    NEXT_PURCHASE,
    OWNERS,
    PREDICTIONS,
    RELEASE,
    WRITER_POOL,
    Result,
)
from orchestration.resources import Models, Workspace

# A release is made every day.
WARN_AGE = timedelta(hours=36)
FAIL_AGE = timedelta(hours=60)


def release_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """The assets `release/built` and `release/current`."""
    common: dict[str, Any] = {
        "group_name": "release",
        "owners": OWNERS,
        "pool": WRITER_POOL,
        "retry_policy": retries,
    }

    @dg.asset(
        key=BUILT_RELEASE,
        description="One immutable directory with the champions, the catalogue and the popularity lists.",
        deps=[COLLABORATIVE, CLV, CHURN, NEXT_PURCHASE, MARTS],
        kinds={"mlflow", "parquet"},
        **common,
    )
    def built(workspace: dg.ResourceParam[Workspace], models: dg.ResourceParam[Models]) -> Result:
        from orchestration.data import Data
        from orchestration.packaging import packaging_beside
        from orchestration.releasing import build_release

        started = monotonic()
        with workspace.writing() as home, packaging_beside(home) as package:
            manifest = build_release(Data.published(home), models)
            package(manifest.release_id)
        return Result(
            metadata={
                "release_id": manifest.release_id,
                "models": manifest.model_versions,
                "files": len(manifest.files),
                **{f"rows_{name}": count for name, count in manifest.rows.items()},
                "seconds": round(monotonic() - started, 1),
            }
        )

    @dg.asset(
        key=RELEASE,
        description="The release that the service answers from; also in BentoML's store, with a Bento.",
        deps=[BUILT_RELEASE, PREDICTIONS],
        kinds={"bentoml"},
        freshness_policy=dg.FreshnessPolicy.time_window(warn_window=WARN_AGE, fail_window=FAIL_AGE),
        **common,
    )
    def current(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> Result:
        from orchestration.data import Data
        from orchestration.releasing import make_current

        started = monotonic()
        settings = workspace.settings
        with workspace.writing() as home:
            metadata = make_current(Data.published(home), settings.bentoml_home, settings.keep_releases)
        context.log.info("current release: %s", metadata["release_id"])
        return Result(metadata=metadata | {"seconds": round(monotonic() - started, 1)})

    return [built, current]
