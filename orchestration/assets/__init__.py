"""The assets, a module for each stage: events, transforms, analysis, features, models, release,
campaigns.

An asset is thin: it reads inputs, calls one function, returns metadata and check results. Keys are
`stage/name`, the group is the stage.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    Result = dg.MaterializeResult[Any]
else:
    # Dagster refuses the parameter of its own generic type where an asset has checks.
    Result = dg.MaterializeResult

# The check on each model that carries the decision on its promotion.
GATE = "gate"
OWNERS = ["team:personalization"]
# The pool of whoever writes the home: one at a time, whatever the executor (orchestration/instance.py).
WRITER_POOL = "home_writer"
# A full disk, a lock held by a run in a terminal, a server that restarts: worth another try, twice.
RETRIES = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)

LANDED = dg.AssetKey(["events", "landed"])
ERASURES = dg.AssetKey(["privacy", "erasures"])
RETENTION = dg.AssetKey(["privacy", "retention"])
MARTS = dg.AssetKey(["transforms", "marts"])
DEFINITIONS = dg.AssetKey(["features", "definitions"])
ONLINE = dg.AssetKey(["features", "online"])
TRAINING_FRAME = dg.AssetKey(["models", "training_frame"])
COLLABORATIVE = dg.AssetKey(["models", "collaborative"])
CLV = dg.AssetKey(["models", "clv"])
CHURN = dg.AssetKey(["models", "churn"])
NEXT_PURCHASE = dg.AssetKey(["models", "next_purchase"])
PREDICTIONS = dg.AssetKey(["models", "predictions"])
ATTRIBUTION = dg.AssetKey(["analysis", "attribution"])
EXPERIMENTS = dg.AssetKey(["analysis", "experiments"])
BUILT_RELEASE = dg.AssetKey(["release", "built"])
RELEASE = dg.AssetKey(["release", "current"])
AUDIENCES = dg.AssetKey(["campaigns", "customers"])
UPLIFT = dg.AssetKey(["campaigns", "uplift"])
MESSAGES = dg.AssetKey(["campaigns", "messages"])
SENDING = dg.AssetKey(["campaigns", "sending"])
DRIFT = dg.AssetKey(["monitoring", "drift"])
SHADOW = dg.AssetKey(["monitoring", "shadow"])
ANOMALIES = dg.AssetKey(["monitoring", "anomalies"])

WHEN_DUE = {
    f"models__{kind}": {"config": {"again": False}}
    for kind in ("training_frame", "collaborative", "clv", "churn", "next_purchase")
}
"""Configuration of a run that trains only what is due, by op."""
