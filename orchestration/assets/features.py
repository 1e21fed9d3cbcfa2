"""The stage `features`: tell Feast what exists, then make the online store equal to the published marts."""

from datetime import UTC, datetime
from time import monotonic

import dagster as dg

from orchestration.assets import DEFINITIONS, MARTS, ONLINE, OWNERS, WRITER_POOL, Result
from orchestration.completion import note_materialized, pending_window
from orchestration.marts import current_manifest
from orchestration.resources import Features, Workspace, erased_now

BEHAVIOR_VIEWS = ("user_behavior", "item_behavior")


def feature_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """The assets `features/definitions` and `features/online`."""

    @dg.asset(
        key=DEFINITIONS,
        group_name="features",
        description="Entities, feature views and feature services, as registered with Feast.",
        deps=[MARTS],
        owners=OWNERS,
        kinds={"feast"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def definitions(workspace: dg.ResourceParam[Workspace], features: dg.ResourceParam[Features]) -> Result:
        from feature_repo.definitions import SERVICES, VIEWS
        from feature_repo.store import apply_definitions

        with workspace.writing():
            apply_definitions(features.open())
        return dg.MaterializeResult(
            metadata={
                "views": {view.name: len(view.features) for view in VIEWS},
                "services": [service.name for service in SERVICES],
            }
        )

    @dg.asset(
        key=ONLINE,
        group_name="features",
        description="The latest row of each customer and item, online; only what changed is written.",
        deps=[MARTS, DEFINITIONS],
        owners=OWNERS,
        kinds={"feast"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def online(
        context: dg.AssetExecutionContext,
        workspace: dg.ResourceParam[Workspace],
        features: dg.ResourceParam[Features],
    ) -> Result:
        from feature_repo.materialization import materialize

        started = monotonic()
        with workspace.writing() as home:
            manifest = current_manifest(home)
            window = pending_window(home)
            counts: dict[str, int] = {}
            if window is not None and manifest is not None:
                counts = materialize(
                    features.open(),
                    home,
                    window.start,
                    window.end,
                    BEHAVIOR_VIEWS,
                    erased_now(workspace.settings),
                )
                note_materialized(home, manifest)
        context.log.info("rows written: %s", counts or "none, nothing changed")
        begin = window.start or datetime(1970, 1, 1, tzinfo=UTC) if window else None
        return dg.MaterializeResult(
            metadata={
                "rows_written": counts,
                "window_start": str(begin),
                "window_end": str(window.end if window else None),
                "seconds": round(monotonic() - started, 1),
            }
        )

    return [definitions, online]
