"""The assets, a module for each stage: events, transforms, features, models, release.

An asset is thin: it reads inputs, calls one function, returns metadata and check results. Keys are
`stage/name`, the group is the stage.
"""

from typing import TypeAlias

import dagster as dg

# Dagster refuses the parameter of its own generic type where an asset has checks.
Result: TypeAlias = dg.MaterializeResult  # type: ignore[type-arg]

OWNERS = ["team:personalization"]
# The pool of whoever writes the home: one at a time, whatever the executor (orchestration/instance.py).
WRITER_POOL = "home_writer"
# A full disk, a lock held by a run in a terminal, a server that restarts: worth another try, twice.
RETRIES = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)

LANDED = dg.AssetKey(["events", "landed"])
MARTS = dg.AssetKey(["transforms", "marts"])
DEFINITIONS = dg.AssetKey(["features", "definitions"])
ONLINE = dg.AssetKey(["features", "online"])
COLLABORATIVE = dg.AssetKey(["models", "collaborative"])
CLV = dg.AssetKey(["models", "clv"])
CHURN = dg.AssetKey(["models", "churn"])
PREDICTIONS = dg.AssetKey(["models", "predictions"])
RELEASE = dg.AssetKey(["release", "current"])
