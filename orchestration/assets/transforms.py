"""The stage `transforms`: every dbt model as an asset, dbt tests as its checks, and the publish after them.

The publish is an asset of its own, downstream of all models: a failed dbt test stops before it, so that
nobody ever reads tables which did not pass.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import dagster as dg
import duckdb

from feature_repo.layout import Home
from orchestration.assets import LANDED, MARTS, OWNERS, WRITER_POOL, Result
from orchestration.completion import built, forget_built, note_built
from orchestration.dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtCliResource,
    dbt_assets,
)
from orchestration.errors import PipelineError, one_line
from orchestration.imports import importing
from orchestration.landed import landed_days
from orchestration.marts import (
    TRANSFORMS,
    current_manifest,
    dbt_arguments,
    dbt_environment,
    dbt_failures,
    dirty_days,
    needs_full_refresh,
    prepare_home,
    publish_marts,
)
from orchestration.partitions import as_days, describe
from orchestration.resources import Workspace

WAREHOUSE_SECONDS = 300.0
# What the stages after dbt need takes seconds to import: Feast, MLflow, XGBoost, Matplotlib.
LATER_MODULES = ("orchestration.predicting", "orchestration.drift_reports")


class TransformsConfig(dg.Config):
    """What to rebuild. `days`: ISO days (default: the partitions of the run); `full_refresh`: everything."""

    days: list[str] = []
    full_refresh: bool = False


class Translator(DagsterDbtTranslator):
    """dbt model -> `transforms/<model>`; every raw table -> `events/landed`, which lands them together."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True))

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        if dbt_resource_props["resource_type"] == "source":
            return LANDED
        return dg.AssetKey(["transforms", dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        return "transforms"

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str] | None:
        return OWNERS


def transform_assets(
    manifest: Mapping[str, Any], partitions: dg.DailyPartitionsDefinition, retries: dg.RetryPolicy | None
) -> list[dg.AssetsDefinition]:
    """The dbt models and `transforms/marts`."""

    @dbt_assets(
        manifest=manifest,
        name="transforms",
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        dagster_dbt_translator=Translator(),
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def transforms(
        context: dg.AssetExecutionContext,
        config: TransformsConfig,
        workspace: dg.ResourceParam[Workspace],
        dbt: dg.ResourceParam[DbtCliResource],
    ) -> Iterator[Any]:
        with workspace.writing() as home:
            wait_for_warehouse(home)
            days = as_days(config.days or context.partition_keys)
            full = config.full_refresh or needs_full_refresh(home, days)
            prepare_home(home, None if full else days)
            hashes = landed_days(home)
            context.log.info("building %s", "every landed day" if full else describe(days))
            invocation = dbt.cli(
                dbt_arguments(home, full),
                context=context,
                target_path=home.dbt_target.resolve(),
                raise_on_error=False,
            )
            with importing(*LATER_MODULES):
                yield from invocation.stream()
            if not invocation.is_successful():
                raise PipelineError(f"transforms failed: {dbt_failures(home) or invocation.get_error()}")
            if not context.is_subset:
                note_built(home, days, full, hashes)

    models = [key for key in transforms.keys if key != LANDED]

    @dg.asset(
        key=MARTS,
        group_name="transforms",
        description="The marts as Parquet, swapped in one step after every model and test passed.",
        deps=models,
        owners=OWNERS,
        kinds={"parquet"},
        pool=WRITER_POOL,
        retry_policy=retries,
    )
    def marts(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> Result:
        started = monotonic()
        with workspace.writing() as home:
            metadata = publish_built(home)
        context.log.info("published version %s", metadata["version"])
        return dg.MaterializeResult(metadata=metadata | {"seconds": round(monotonic() - started, 1)})

    return [transforms, marts]


def wait_for_warehouse(home: Home, seconds: float = WAREHOUSE_SECONDS) -> None:
    """Returns once no other process has the DuckDB file open.

    A run that was killed may leave its dbt process, which ends by itself soon after. Raises PipelineError
    with DuckDB's words, which name the process, if somebody else keeps it open.
    """
    deadline = monotonic() + seconds
    while home.warehouse.exists():
        try:
            duckdb.connect(home.warehouse).close()
        except duckdb.IOException as error:
            if "lock" not in str(error) or monotonic() > deadline:
                raise PipelineError(
                    f"{home.warehouse} cannot be opened: {one_line(error)}. Close what has it open; "
                    "readers use the published Parquet."
                ) from error
            sleep(0.5)
        else:
            return


def publish_built(home: Home) -> dict[str, Any]:
    """Publishes what dbt has built since the last publish; says what is published now."""
    waiting = built(home)
    days: tuple[date, ...]
    if waiting is None:
        days, full, files_written = (), False, 0
    else:
        days, full = waiting.days, waiting.full
        files_written = publish_marts(home, days, full, waiting.hashes).files_written
        forget_built(home)
    manifest = current_manifest(home)
    if manifest is None:
        raise PipelineError("nothing is published and nothing was built whole; materialize all transforms.")
    return {
        "version": manifest.id,
        "data_until": str(manifest.data_until),
        "days_rebuilt": len(manifest.days) if full else len(days),
        "days_still_dirty": len(dirty_days(home)),
        "files_written": files_written,
        **{f"rows_{name}": count for name, count in manifest.rows.items()},
    }


def load_manifest(home: Home) -> dict[str, Any]:
    """dbt's manifest of our project, parsed once for each state of its files; raises PipelineError.

    Kept in the home, keyed by a hash of the project and dbt's version: parsing takes 5 s, reading it 0.1 s.
    """
    path = home.dbt_target / f"manifest-{_project_hash()}.json"
    if not path.exists():
        _parse_project(home, path)
    manifest: dict[str, Any] = json.loads(path.read_bytes())
    return manifest


def _parse_project(home: Home, path: Path) -> None:
    home.dbt_target.mkdir(parents=True, exist_ok=True)
    home.warehouse.parent.mkdir(parents=True, exist_ok=True)
    finished = subprocess.run(
        [sys.executable, "-m", "orchestration.dbt", *dbt_arguments(home, command="parse")],
        env={**os.environ, **dbt_environment(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise PipelineError(f"the dbt project cannot be parsed: {finished.stdout.strip()[-2000:]}")
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_bytes((home.dbt_target / "manifest.json").read_bytes())
    for old in home.dbt_target.glob("manifest-*.json"):
        old.unlink()
    temporary.replace(path)


def _project_hash() -> str:
    digest = hashlib.sha256(version("dbt-core").encode())
    for path in sorted(TRANSFORMS.rglob("*")):
        if path.suffix in (".sql", ".yml") and "target" not in path.relative_to(TRANSFORMS).parts:
            digest.update(path.relative_to(TRANSFORMS).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
