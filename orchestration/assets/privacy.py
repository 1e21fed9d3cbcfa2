"""The stage `privacy`: erase whom the service marked, and remove what is older than it may be kept."""

from time import monotonic

import dagster as dg

from orchestration.assets import ERASURES, OWNERS, RETENTION, WRITER_POOL, Result
from orchestration.resources import Workspace


def privacy_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """The assets `privacy/erasures` and `privacy/retention`; `attune run` does both by itself."""

    @dg.asset(
        key=ERASURES,
        group_name="privacy",
        description="Everybody whom the service marked as erased is gone from every file and table.",
        owners=OWNERS,
        kinds={"python"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def erasures(workspace: dg.ResourceParam[Workspace]) -> Result:
        from orchestration.erasure import complete_pending

        with workspace.writing():
            receipt = complete_pending(workspace.settings)
        if receipt is None:
            return Result(metadata={"subjects": 0, "rows_removed": 0})
        return Result(
            metadata={
                "subjects": receipt.subjects,
                "rows_removed": receipt.total,
                "stores": dict(sorted(receipt.removed.items())),
                "seconds": round(receipt.seconds, 1),
            }
        )

    @dg.asset(
        key=RETENTION,
        group_name="privacy",
        description="Events, refused rows, log rows and decisions are no older than they may be kept.",
        owners=OWNERS,
        kinds={"python"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def retention(workspace: dg.ResourceParam[Workspace]) -> Result:
        from orchestration.expiry import expire

        started = monotonic()
        with workspace.writing():
            expired = expire(workspace.settings)
        return Result(metadata={**vars(expired), "seconds": round(monotonic() - started, 1)})

    return [erasures, retention]
