"""The stage `campaigns`: whom campaigns may choose from, what today's say to whom, and sending it."""

from time import monotonic

import dagster as dg

from orchestration.assets import (
    AUDIENCES,
    MARTS,
    MESSAGES,
    ONLINE,
    OWNERS,
    PREDICTIONS,
    RELEASE,
    SENDING,
    UPLIFT,
    WRITER_POOL,
    Result,
)
from orchestration.resources import Features, Workspace, erased_now


def campaign_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """The assets `campaigns/customers`, `campaigns/uplift` and `campaigns/messages`."""

    @dg.asset(
        key=AUDIENCES,
        group_name="campaigns",
        description="One row per customer with what campaigns choose by: list, segments, value, what is due.",
        deps=[MARTS, PREDICTIONS],
        owners=OWNERS,
        kinds={"parquet"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def customers(workspace: dg.ResourceParam[Workspace]) -> Result:
        from orchestration.audiences import publish_audiences

        started = monotonic()
        with workspace.writing() as home:
            metadata = publish_audiences(home, erased_now(workspace.settings))
        return Result(metadata=metadata | {"seconds": round(monotonic() - started, 1)})

    @dg.asset(
        key=UPLIFT,
        group_name="campaigns",
        description="Whom the messages of each campaign move, learned from whom it held out.",
        deps=[MARTS, ONLINE],
        owners=OWNERS,
        kinds={"parquet", "xgboost"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def uplift(workspace: dg.ResourceParam[Workspace], features: dg.ResourceParam[Features]) -> Result:
        from orchestration.campaign_uplift import learn_uplift
        from orchestration.data import Data

        started = monotonic()
        settings = workspace.settings
        with workspace.writing() as home:
            metadata = learn_uplift(Data.published(home), settings, features, erased_now(settings))
        return Result(metadata=metadata | {"seconds": round(monotonic() - started, 1)})

    @dg.asset(
        key=MESSAGES,
        group_name="campaigns",
        description="Today's messages of every campaign, composed and timed, and journeys moved on.",
        deps=[AUDIENCES, UPLIFT, RELEASE],
        owners=OWNERS,
        kinds={"parquet", "sql"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def messages(workspace: dg.ResourceParam[Workspace]) -> Result:
        from orchestration.campaigns import are_declared, ask_campaigns

        started = monotonic()
        with workspace.writing() as home:
            found = ask_campaigns(workspace.settings, "daily") if are_declared(home) else {}
        return Result(metadata={**found, "seconds": round(monotonic() - started, 1)})

    return [customers, uplift, messages]


def sending_assets(retries: dg.RetryPolicy | None) -> list[dg.AssetsDefinition]:
    """The asset `campaigns/sending`, for a schedule of its own; `attune campaign send` does the same."""

    @dg.asset(
        key=SENDING,
        group_name="campaigns",
        description="What is queued and due is sent, once; consent and quiet hours are asked again.",
        owners=OWNERS,
        kinds={"sql"},
        retry_policy=retries,
    )
    def sending(workspace: dg.ResourceParam[Workspace]) -> Result:
        from orchestration.campaigns import ask_campaigns

        return Result(metadata=ask_campaigns(workspace.settings, "send"))

    return [sending]
