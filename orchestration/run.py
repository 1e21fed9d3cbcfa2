"""The engine of `attune run`: one process takes a source to a release, and takes up what a killed run left.

Two Dagster runs in this process: the first lands, the second does everything that follows from it, for the
days that turned out to differ. What is left to do is never remembered but compared: landed days with the
published marts, those with the online store and the release (`orchestration.completion`). So a run that was
killed anywhere is repaired by the same command, and ends where an uninterrupted one would have.

Cost of Dagster here, two cores, 365 daily partitions x 15 assets in one run: 128 s with the stock SQLite
event log, under 7 s with ours (`orchestration.event_log`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from orchestration.assets import GATE, WHEN_DUE
from orchestration.completion import is_complete, pending_window
from orchestration.errors import AttuneError, PipelineError, SourceError, one_line
from orchestration.expiry import expire
from orchestration.instance import ENGINE_TAG, end_interrupted_runs, open_instance
from orchestration.landed import landed_days
from orchestration.landing import land_days
from orchestration.lock import hold
from orchestration.marts import current_manifest, dirty_days
from orchestration.progress import View
from orchestration.quality.evaluation import evaluating_beside
from orchestration.resources import Workspace, default_resources, open_sources
from orchestration.settings import Settings
from orchestration.sources.base import EVENT_LOG, Source, parse_sources

if TYPE_CHECKING:
    import dagster as dg

logger = logging.getLogger(__name__)

STAGES = {
    "events__landed": "land events",
    "transforms": "build and test tables",
    "transforms__marts": "publish tables",
    "analysis__attribution": "attribute revenue",
    "features__definitions": "register features",
    "features__online": "materialize features",
    "analysis__experiments": "analyse experiments",
    "models__training_frame": "join training frame",
    "models__collaborative": "train recommendations",
    "models__clv": "train customer value",
    "models__churn": "train churn",
    "models__next_purchase": "train next purchase",
    "release__built": "write release",
    "models__predictions": "predict for every customer",
    "release__current": "release",
    "campaigns__customers": "choose audiences",
    "campaigns__uplift": "learn from campaigns",
    "campaigns__messages": "plan campaigns",
    "monitoring__anomalies": "watch figures",
    "monitoring__drift": "compare with training",
    "monitoring__shadow": "try the challenger",
}
# Figures of an asset's metadata that are worth a place on its line.
NOTED = (
    "rows",
    "quarantined",
    "version",
    "days_rebuilt",
    "rows_written",
    "gate",
    "release_id",
    "customers_scored",
    "alerts_open",
    "experiments",
)


@dataclass(frozen=True)
class RunRequest:
    """A source, the days to land (default: all that it has), and whether to rebuild everything.

    `source` may name two, as in `tabular,event_log`; the event log alone has no path.
    """

    source: str
    path: Path | None = None
    first: date | None = None
    last: date | None = None
    full_refresh: bool = False


@dataclass(frozen=True)
class RunResult:
    """What a run did. `assets`: metadata of each asset that was materialized, by its key as `stage/name`."""

    landed: dict[str, Any]
    dirty_days: int
    release_id: str | None
    seconds: float
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def nothing_new(self) -> bool:
        return not self.assets


def run_pipeline(settings: Settings, request: RunRequest, view: View) -> RunResult:
    """Land, transform, validate, materialize, train, gate, release; raises an AttuneError with the remedy."""
    started = monotonic()
    path = None if request.path is None else request.path.expanduser().absolute()
    settings = replace(settings, sources=parse_sources(request.source, path), source_path=path)
    home = settings.home
    sources = open_sources(settings)
    today = datetime.now(UTC).date()
    chosen = [choose_days(source, request, settings.first_day, today) for source in sources]
    days = sorted({day for found, _ in chosen for day in found})
    warnings = [text for _, found in chosen for text in found]
    with (
        hold(home.lock),
        quiet_output(home.root / "logs" / "run.log", settings.log_level),
        evaluating_beside(),
    ):
        instance = open_instance(settings)
        try:
            interrupted = end_interrupted_runs(instance)
            if interrupted:
                view.say("An earlier run was interrupted; taking up what it left.")
            engine = _Engine(instance, settings, view)
            forget(settings, view)
            landed = engine.land(sources, days)
            expire(settings)
            dirty = dirty_days(home)
            is_done = not dirty and pending_window(home) is None and is_complete(home)
            assets: dict[str, dict[str, Any]] = {}
            if request.full_refresh or not is_done:
                assets = engine.follow_up(dirty, request.full_refresh)
        finally:
            instance.dispose()
    return RunResult(
        landed=landed,
        dirty_days=len(dirty),
        release_id=_release_id(settings),
        seconds=monotonic() - started,
        assets=assets,
        warnings=[*warnings, *engine.warnings],
    )


def forget(settings: Settings, view: View) -> None:
    """Completes the erasures that the service asked for, before anything is read."""
    from orchestration.erasure import complete_pending

    receipt = complete_pending(settings)
    if receipt is not None:
        view.say(f"Erased {receipt.subjects} people who asked for it: {receipt.total:,} rows.")


def choose_days(
    source: Source, request: RunRequest, first_day: date, today: date
) -> tuple[list[date], list[str]]:
    """The days of the source within the request, and warnings about days that no partition can hold.

    Such days (a clock at 1970, a century typed wrongly) are left out by name, so that one bad row does not
    keep a shop from running. Raises SourceError if no day is left, except of the event log, in which nothing
    new may be.
    """
    available = source.days()
    if source.name == EVENT_LOG:
        available = [day for day in available if (request.first or day) <= day <= (request.last or day)]
        if not any(first_day <= day <= today for day in available):
            return [], _strays(available, first_day, today)
    if not available:
        raise SourceError(f"{request.path}: the source {source.name} holds no dated event. Check --path.")
    asked = [day for day in available if (request.first or day) <= day <= (request.last or day)]
    span = f"it has events from {available[0]} to {available[-1]}"
    if not asked:
        wanted = f"from {request.first or available[0]} to {request.last or available[-1]}"
        raise SourceError(f"{request.path}: no event {wanted}; {span}. Change --from or --to.")
    chosen = [day for day in asked if first_day <= day <= today]
    limits = f"outside {first_day} (ATTUNE_FIRST_DAY) to {today}"
    if not chosen:
        raise SourceError(
            f"{request.path}: {span}, all {limits}. Correct the dates, or set ATTUNE_FIRST_DAY earlier."
        )
    return chosen, _strays(asked, first_day, today)


def _strays(asked: Sequence[date], first_day: date, today: date) -> list[str]:
    strays = [day.isoformat() for day in asked if not first_day <= day <= today]
    if not strays:
        return []
    limits = f"outside {first_day} (ATTUNE_FIRST_DAY) to {today}"
    named = ", ".join(strays[:3]) + (" and others" if len(strays) > 3 else "")
    return [f"{len(strays)} days {limits} are not landed: {named}. Correct their dates at the source."]


@dataclass
class _Engine:
    instance: dg.DagsterInstance
    settings: Settings
    view: View
    warnings: list[str] = field(default_factory=list)

    def land(self, sources: Sequence[Source], days: Sequence[date]) -> dict[str, Any]:
        """Dagster run 1; without any new day, which only the event log can be, just the customers."""
        from orchestration.assets.events import event_assets, joined, report_metadata
        from orchestration.partitions import between

        stage = STAGES["events__landed"]
        workspace = Workspace(
            self.settings,
            locked=True,
            opened=sources,
            progress=lambda done, total, day: self.view.advance(stage, done, total, str(day)),
        )
        if not days:
            keeping = workspace.keeping()
            found = joined(land_days(self.settings.home, one, [], keeping=keeping) for one in sources)
            if not landed_days(self.settings.home):
                raise SourceError(
                    "the event log is empty and nothing else is landed: run with another source."
                )
            return report_metadata(found)
        resources = default_resources(self.settings) | {"workspace": workspace}
        assets = event_assets(between(days[0], days[-1]), None)
        return self._execute(assets, resources, days)["events/landed"]

    def follow_up(self, dirty: Sequence[date], full_refresh: bool) -> dict[str, dict[str, Any]]:
        """Dagster run 2: all that follows from the landed events, for these days."""
        from orchestration.assets.all import downstream_assets
        from orchestration.assets.transforms import load_manifest
        from orchestration.partitions import between
        from orchestration.resources import dbt_resource

        home = self.settings.home
        published = current_manifest(home)
        days = list(dirty)
        if full_refresh:
            days = sorted({*dirty, *(published.days if published else ())})
        known = [*days, *landed_days(home)]
        assets = downstream_assets(load_manifest(home), between(min(known), max(known)), None)
        resources = default_resources(self.settings, locked=True) | {"dbt": dbt_resource()}
        config = {"days": [day.isoformat() for day in days], "full_refresh": full_refresh}
        ops = {**WHEN_DUE, "transforms": {"config": config}}
        skipped = () if days else ("transforms", "transforms__marts")
        return self._execute(assets, resources, days, ops, skipped)

    def _execute(
        self,
        assets: Sequence[dg.AssetsDefinition],
        resources: Mapping[str, object],
        days: Sequence[date],
        ops: Mapping[str, Any] | None = None,
        skipped: Sequence[str] = (),
    ) -> dict[str, dict[str, Any]]:
        """One in-process Dagster run over the range that spans the days; metadata of what it materialized."""
        import dagster as dg

        definitions = dg.Definitions(assets=assets, resources=resources, executor=dg.in_process_executor)
        job = definitions.resolve_implicit_global_asset_job_def()
        selection = [key for one in assets if one.op.name not in skipped for key in one.keys]
        run_id = str(uuid4())
        watcher = _Watcher(self.view)
        self.instance.add_event_listener(run_id, watcher)
        config = {name: value for name, value in (ops or {}).items() if name not in skipped}
        tags = {ENGINE_TAG: "true"}
        if days:
            tags |= {
                "dagster/asset_partition_range_start": days[0].isoformat(),
                "dagster/asset_partition_range_end": days[-1].isoformat(),
            }
        try:
            result = job.execute_in_process(
                instance=self.instance,
                run_id=run_id,
                tags=tags,
                asset_selection=selection,
                run_config={"ops": config, "loggers": {"console": {"config": {"log_level": "INFO"}}}},
            )
        except BaseException as error:
            watcher.fail_open_stage(one_line(error))
            raise _as_attune_error(error, watcher) from error
        self.warnings += watcher.warnings
        return {
            _asset_name(event): _plain_metadata(event) for event in result.get_asset_materialization_events()
        }


class _Watcher:
    """Turns Dagster's events into stages on the view, and keeps the checks that failed."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._open: str | None = None
        self._notes: dict[str, str] = {}
        self._tables: set[str] = set()
        self._checks = 0
        self.failed_checks: list[str] = []
        self.warnings: list[str] = []

    @property
    def stage(self) -> str:
        """The stage that is under way, or was last."""
        return self._open or "run"

    def __call__(self, entry: Any) -> None:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            return
        stage = STAGES.get(event.step_key, event.step_key)
        kind = event.event_type_value
        if kind == "STEP_START":
            self._open = stage
            self._view.begin(stage)
        elif kind == "STEP_SUCCESS":
            self._open = None
            self._view.end(stage, self._notes.get(stage, ""))
        elif kind == "ASSET_MATERIALIZATION":
            self._materialized(stage, event)
        elif kind == "ASSET_CHECK_EVALUATION":
            self._checked(stage, event.asset_check_evaluation_data)

    def fail_open_stage(self, note: str) -> None:
        if self._open is not None:
            self._view.fail(self._open, note)

    def _materialized(self, stage: str, event: Any) -> None:
        metadata = _plain_metadata(event)
        note = ", ".join(f"{name.replace('_', ' ')} {metadata[name]}" for name in NOTED if name in metadata)
        self._notes[stage] = note
        if stage == STAGES["transforms"]:
            self._tables.add(str(event.asset_key))
            self._count_tables(stage)

    def _checked(self, stage: str, evaluation: Any) -> None:
        self._checks += 1
        # The gate is no failure of the run: its verdict is reported with the model.
        is_skipped = "skipped" in evaluation.metadata
        if not evaluation.passed and not is_skipped and evaluation.check_name != GATE:
            shown = {name: value.value for name, value in evaluation.metadata.items() if name != "plot"}
            figures = ", ".join(f"{name} {value}" for name, value in shown.items())
            text = f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name} ({figures})"
            is_error = evaluation.severity.value == "ERROR" and evaluation.blocking is not False
            (self.failed_checks if is_error else self.warnings).append(text)
        if stage == STAGES["transforms"]:
            self._count_tables(stage)

    def _count_tables(self, stage: str) -> None:
        self._notes[stage] = f"{len(self._tables)} tables, {self._checks} tests"
        self._view.advance(stage, len(self._tables), None, self._notes[stage])


@contextmanager
def quiet_output(path: Path, level: str) -> Iterator[None]:
    """What libraries print and log goes to a file, the last run's only; the terminal is for the view."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", buffering=1) as log:
        handler = logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        before = root.level
        root.addHandler(handler)
        root.setLevel(level.upper())
        try:
            with redirect_stdout(log), redirect_stderr(log):
                yield
        except BaseException:
            logger.exception("the run ended early")
            raise
        finally:
            root.removeHandler(handler)
            root.setLevel(before)


def _as_attune_error(error: BaseException, watcher: _Watcher) -> BaseException:
    """The error to show: ours as it is, a failed check by name, anything else with its stage."""
    import dagster as dg

    if isinstance(error, AttuneError) or not isinstance(error, Exception):
        return error
    if isinstance(error, dg.DagsterError) and watcher.failed_checks:
        failed = "; ".join(watcher.failed_checks[:3])
        return PipelineError(f"{watcher.stage}: checks failed, nothing downstream was changed: {failed}.")
    cause = (
        error.__cause__ if isinstance(error, dg.DagsterUserCodeExecutionError) and error.__cause__ else error
    )
    if isinstance(cause, AttuneError):
        return cause
    detail = one_line(cause) or type(cause).__name__
    return PipelineError(f"{watcher.stage} failed: {detail} (details in logs/run.log below ATTUNE_HOME)")


def _asset_name(event: Any) -> str:
    """`stage/name`."""
    return str(event.asset_key.to_user_string())


def _plain_metadata(event: Any) -> dict[str, Any]:
    """Metadata of a materialization as Python values."""
    data = event.step_materialization_data.materialization.metadata
    return {name: value.value for name, value in data.items()}


def _release_id(settings: Settings) -> str | None:
    from training.artifacts import current_release_id

    return current_release_id(settings.home.current_release)
