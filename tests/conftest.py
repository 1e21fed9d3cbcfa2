"""A clean environment for every test: no telemetry, no settings of the developer, one BLAS thread."""

import logging
import os
import warnings
from collections.abc import Iterator

import hypothesis
import pytest

from orchestration.garbage import collect_rarely

# Before anything else imports them. Feast puts warnings back on show while it is imported, and then sqlglotrs
# announces its end, which is not ours to mend. prometheus_client decides at import whether processes share
# their metrics; BentoML asks for that when it is imported, for a directory that a test has no more.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import prometheus_client  # noqa: F401
    import sqlglotrs  # noqa: F401

    import feature_repo  # noqa: F401  # before Feast, which a test may import first

# Read by libraries when they are first imported, so these stand before any test module is loaded.
QUIET = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "2",
    "MPLBACKEND": "Agg",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "BENTOML_DO_NOT_TRACK": "True",
    "GX_ANALYTICS_ENABLED": "false",
    "FEAST_USAGE": "False",
    "DO_NOT_TRACK": "1",
    "TZ": "UTC",
}
PACKAGES = {"feature_repo", "training", "serving", "orchestration"}
# What names our own settings, or those of a library that would otherwise write to the developer's home.
OURS = (
    "AB_TEST_",
    "ATTUNE_",
    "BENTOML_",
    "BENTO_",
    "DAGSTER_",
    "DATABASE_",
    "DBT_",
    "ENABLE_",
    "FEAST_",
    "MLFLOW_",
    "REDIS_",
)


def _clean(environ: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if not name.startswith(OURS)}
    return kept | QUIET


# A process of tests holds millions of objects of libraries: looking for garbage among them rarely pays.
collect_rarely()

# A file stays on one process, so the longest start first: the others fill up what is left of the time.
# `test_erasure` works on the shop that `test_run` makes, so something else comes in between.
LONGEST = (
    "integration/test_run.py",
    "e2e/test_demo.py",
    "integration/test_erasure.py",
    "integration/test_transforms.py",
    "e2e/test_faults.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order in which they should start; the tests of a file stay in theirs."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get("/".join(item.path.parts[-2:]), len(LONGEST)))


# A machine that is busy is no failure.
hypothesis.settings.register_profile(
    "attune", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("attune")

_CLEAN = _clean(dict(os.environ))
os.environ.clear()
os.environ.update(_CLEAN)


def _restore() -> None:
    running = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    os.environ.clear()
    os.environ.update(_CLEAN | running)
    # A service that starts in this process sends its logs elsewhere, and libraries that set up their own logs
    # (import-linter) switch every other logger off; caplog listens at the root.
    logging.disable(logging.NOTSET)
    logging.getLogger("serving").propagate = True
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] in PACKAGES and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(autouse=True)
def clean_environment() -> Iterator[None]:
    """Each test starts from the same environment and leaves it so, whatever it or a library sets."""
    _restore()
    yield
    _restore()
