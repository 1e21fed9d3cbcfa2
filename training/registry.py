"""Runs, versions and champions in MLflow; the only module that knows MLflow.

Each kind of model has one experiment and one registered model, `attune-<kind>`. A version's files are what
the model itself wrote (arrays, `.ubj`, JSON) beside an `MLmodel` file that carries the signature; there is no
pickle and nothing to execute. The newest version has the alias `challenger`, the released one `champion`;
the gate's decision and reasons are tags of the version. Telemetry is switched off by the environment of the
process that calls this.
"""

import fcntl
import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, cast

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Dataset, DatasetInput, LoggedModelStatus, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature, infer_signature
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from training.errors import RegistryError
from training.evaluation import ModelReport
from training.gate import Decision

CHALLENGER, CHAMPION = "challenger", "champion"
DECISION, REASONS, REFUSED_BY = "attune.decision", "attune.reasons", "attune.refused_by"
PROMOTED, REJECTED = "promoted", "rejected"
GATE_FILE = "gate.json"
CONFIG_FILE = "config.json"
CONFIGURATION = "attune.configuration"
REFERENCE_FILE = "reference.json"
METRIC_BATCH = 1000
PARAM_LENGTH = 6000
TAG_LENGTH = 5000


@dataclass(frozen=True)
class DatasetProfile:
    """What a model was trained on, without a single user row.

    `digest` identifies the content (a hash of the marts and the cut-offs), `source` says where it lies,
    `columns` maps names to types.
    """

    name: str
    digest: str
    source: str
    rows: int
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelVersion:
    """One registered version; `metrics` are those of its run, `tags` its decision and reasons."""

    kind: str
    version: str
    run_id: str
    uri: str
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Registry:
    """The tracking store and registry at one address.

    A SQLite store is created under a file lock, because several processes opening a fresh one at once break
    it. `artifact_root` is where new experiments keep their files; a server keeps them itself.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path) -> None:
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root
        with _failures(f"open the tracking store {tracking_uri}"):
            self._client = _open(tracking_uri)

    def log_run(
        self,
        kind: str,
        *,
        config: Mapping[str, Any],
        seed: int,
        window: tuple[date, date],
        data_hash: str,
        feature_service: str,
        report: ModelReport,
        files: Path,
        figures: Mapping[str, Figure] | None = None,
        inputs: pd.DataFrame | None = None,
        outputs: pd.DataFrame | None = None,
        dataset: DatasetProfile | None = None,
        tags: Mapping[str, str] | None = None,
        reference: Mapping[str, Any] | None = None,
    ) -> ModelVersion:
        """Log one training run, register the directory `files` as a version, and make it the challenger.

        `window` is the first and last day of the data. Of `inputs` and `outputs` only the schema is kept.
        Metrics of the candidate are logged as `<metric>`, `<metric>_low`, `<metric>_high`, those of another
        row with the prefix `<role>/<row>/`. `reference` is what later data is compared with (`drift`).
        """
        with _failures(f"log a run of {kind}"):
            experiment = self._experiment(kind)
            name = f"{kind} until {window[1]}"
            run_id = self._client.create_run(experiment, run_name=name).info.run_id
            try:
                params = {
                    **_flat(config),
                    "seed": seed,
                    "data_first": window[0],
                    "data_until": window[1],
                    "data_hash": data_hash,
                    "feature_service": feature_service,
                    "cutoff": report.cutoff.isoformat(),
                    "primary": report.primary,
                }
                self._log_values(run_id, params, _metrics(report), {"attune.kind": kind, **(tags or {})})
                self._log_report(run_id, report)
                self._client.log_text(run_id, json.dumps(_plain(config), indent=1), CONFIG_FILE)
                if reference is not None:
                    self._client.log_text(run_id, json.dumps(reference), REFERENCE_FILE)
                for figure_name, figure in (figures or {}).items():
                    self._client.log_figure(run_id, figure, f"figures/{figure_name}.png")
                if dataset is not None:
                    self._client.log_inputs(run_id, [_dataset_input(dataset)])
                version = self._register(kind, experiment, run_id, files, _signature(inputs, outputs))
            except BaseException:
                self._client.set_terminated(run_id, "FAILED")
                raise
            self._client.set_terminated(run_id, "FINISHED")
            return version

    def promote(self, version: ModelVersion, decision: Decision) -> ModelVersion:
        """Record the gate's decision on the version and, if it says so, make it the champion.

        The reasons are a tag of the version; all checks are `gate.json` and `gate.md` of its run.
        """
        values = {
            DECISION: PROMOTED if decision.promoted else REJECTED,
            REASONS: "\n".join(decision.reasons)[:TAG_LENGTH],
            REFUSED_BY: ", ".join(decision.refused_by),
        }
        with _failures(f"record the decision on {registered_name(version.kind)} version {version.version}"):
            self._client.log_text(version.run_id, json.dumps(decision.to_dict(), indent=1), GATE_FILE)
            self._client.log_text(version.run_id, decision.table(), "gate.md")
            self._tag(version, values)
            if decision.promoted:
                self._client.set_registered_model_alias(
                    registered_name(version.kind), CHAMPION, version.version
                )
        return self.version(version.kind, version.version)

    def decision(self, version: ModelVersion) -> Decision:
        """What the gate decided on a version; without its checks if none were recorded."""
        recorded = self._json(version, GATE_FILE)
        if recorded is not None:
            return Decision.from_dict(recorded)
        reasons = version.tags.get(REASONS, "").splitlines()
        return Decision(version.tags.get(DECISION) == PROMOTED, reasons, [])

    def make_champion(self, version: ModelVersion, tags: Mapping[str, str]) -> ModelVersion:
        """Make a version champion whatever the gate says; `tags` tell who did it and why."""
        with _failures(f"make {registered_name(version.kind)} version {version.version} the champion"):
            self._tag(version, tags)
            self._client.set_registered_model_alias(registered_name(version.kind), CHAMPION, version.version)
        return self.version(version.kind, version.version)

    def remove_champion(self, kind: str) -> None:
        """No version is champion any more; the versions stay."""
        if self.champion(kind) is not None:
            with _failures(f"remove the champion of {registered_name(kind)}"):
                self._client.delete_registered_model_alias(registered_name(kind), CHAMPION)

    def find_version(self, kind: str, version: str) -> ModelVersion | None:
        """One version by number, or None if there is none."""
        name = registered_name(kind)
        with _failures(f"read the versions of {name}"):
            found = self._client.search_model_versions(f"name = '{name}'")
        return self.version(kind, version) if version in {str(each.version) for each in found} else None

    def _tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(
                registered_name(version.kind), version.version, key, value[:TAG_LENGTH]
            )

    def champion(self, kind: str) -> ModelVersion | None:
        """The version that the release uses, with its run's metrics; None before the first promotion."""
        return self._by_alias(kind, CHAMPION)

    def challenger(self, kind: str) -> ModelVersion | None:
        """The newest version; None before the first run."""
        return self._by_alias(kind, CHALLENGER)

    def version(self, kind: str, version: str) -> ModelVersion:
        """One version by number."""
        with _failures(f"read {registered_name(kind)} version {version}"):
            return self._describe(kind, self._client.get_model_version(registered_name(kind), version))

    def download(self, version: ModelVersion, target: Path) -> Path:
        """Copy the version's files below `target` and return the directory that holds them."""
        target.mkdir(parents=True, exist_ok=True)
        with _failures(f"download {registered_name(version.kind)} version {version.version}"):
            place = self._client.get_model_version_download_uri(
                registered_name(version.kind), version.version
            )
            path = mlflow.artifacts.download_artifacts(
                artifact_uri=place, dst_path=str(target), tracking_uri=self.tracking_uri
            )
        return Path(path)

    def report(self, version: ModelVersion) -> ModelReport:
        """The table that the version's run logged."""
        with _failures(f"read the report of run {version.run_id}"), tempfile.TemporaryDirectory() as place:
            path = self._client.download_artifacts(version.run_id, "report.json", place)
            return ModelReport.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))

    def config(self, version: ModelVersion) -> dict[str, Any] | None:
        """The configuration that the version's run logged, as JSON has it; None if it logged none."""
        return self._json(version, CONFIG_FILE)

    def reference(self, version: ModelVersion) -> dict[str, Any] | None:
        """What the version was trained on, as summaries of columns; None if its run logged none."""
        return self._json(version, REFERENCE_FILE)

    def data_until(self, version: ModelVersion) -> date | None:
        """The last day of the data that the version was trained on."""
        with _failures(f"read run {version.run_id}"):
            found = self._client.get_run(version.run_id).data.params.get("data_until")
        return None if found is None else date.fromisoformat(found)

    def _json(self, version: ModelVersion, name: str) -> dict[str, Any] | None:
        """A JSON artifact of the version's run, or None if there is none."""
        with _failures(f"read {name} of run {version.run_id}"), tempfile.TemporaryDirectory() as place:
            if name not in {each.path for each in self._client.list_artifacts(version.run_id)}:
                return None
            path = self._client.download_artifacts(version.run_id, name, place)
            return dict(json.loads(Path(path).read_text(encoding="utf-8")))

    @contextmanager
    def search(self, kind: str, params: Mapping[str, Any]) -> Iterator[str]:
        """The run of a search, by its id, below which each trial is logged."""
        with _failures(f"log a search of {kind}"):
            name = f"{kind} search"
            run_id = str(self._client.create_run(self._experiment(kind), run_name=name).info.run_id)
            self._log_values(run_id, params, {}, {"attune.kind": kind})
        status = "FAILED"
        try:
            yield run_id
            status = "FINISHED"
        finally:
            with _failures(f"end the search {run_id}"):
                self._client.set_terminated(run_id, status)

    def log_trial(
        self, kind: str, search: str, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> None:
        """A finished run below that of the search, with parameters and validation metrics."""
        with _failures(f"log {name} of {kind}"):
            tags = {MLFLOW_PARENT_RUN_ID: search}
            run_id = self._client.create_run(self._experiment(kind), run_name=name, tags=tags).info.run_id
            self._log_values(run_id, _flat(params), metrics, {})
            self._client.set_terminated(run_id, "FINISHED")

    def keep_configuration(self, kind: str, config: Mapping[str, Any]) -> None:
        """What the next training of this kind starts from, as a tag of the registered model."""
        with _failures(f"keep the configuration of {kind}"):
            name = self._registered(kind)
            self._client.set_registered_model_tag(name, CONFIGURATION, json.dumps(config))

    def configuration(self, kind: str) -> dict[str, Any] | None:
        """What `keep_configuration` kept last; None before."""
        with _failures(f"read the configuration of {kind}"):
            found = self._client.search_registered_models(f"name = '{registered_name(kind)}'")
            text = found[0].tags.get(CONFIGURATION) if found else None
            return None if text is None else dict(json.loads(text))

    def _registered(self, kind: str) -> str:
        """The registered model's name; it is there when this returns."""
        name = registered_name(kind)
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name)
        return name

    def _experiment(self, kind: str) -> str:
        name = registered_name(kind)
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        if self.tracking_uri.startswith(("http://", "https://")):
            return str(self._client.create_experiment(name))
        place = self.artifact_root / kind
        place.mkdir(parents=True, exist_ok=True)
        return str(self._client.create_experiment(name, artifact_location=place.resolve().as_uri()))

    def _log_values(
        self, run_id: str, params: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        now = int(time.time() * 1000)
        values = [Metric(name, value, now, 0) for name, value in metrics.items()]
        self._client.log_batch(
            run_id,
            params=[Param(name, str(value)[:PARAM_LENGTH]) for name, value in params.items()],
            tags=[RunTag(name, value[:TAG_LENGTH]) for name, value in tags.items()],
        )
        for start in range(0, len(values), METRIC_BATCH):
            self._client.log_batch(run_id, metrics=values[start : start + METRIC_BATCH])

    def _log_report(self, run_id: str, report: ModelReport) -> None:
        self._client.log_text(run_id, report.to_json(), "report.json")
        self._client.log_text(run_id, "\n".join([report.table(), "", *report.notes]), "report.md")
        rows = [
            {"name": row.name, "role": row.role, "metric": metric, **estimate.to_dict()}
            for row in report.rows
            for metric, estimate in row.metrics.items()
        ]
        self._client.log_text(run_id, pd.DataFrame(rows).to_csv(index=False), "report.csv")

    def _register(
        self, kind: str, experiment: str, run_id: str, files: Path, signature: ModelSignature | None
    ) -> ModelVersion:
        name = self._registered(kind)
        logged = self._client.create_logged_model(experiment, name=kind, source_run_id=run_id)
        with tempfile.TemporaryDirectory() as place:
            listed = sorted(path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file())
            description = Model(
                run_id=run_id,
                signature=signature,
                flavors={"attune": {"kind": kind, "files": listed}},
                model_id=logged.model_id,
            )
            path = Path(place) / "MLmodel"
            description.save(str(path))
            self._client.log_model_artifacts(logged.model_id, str(files))
            self._client.log_model_artifact(logged.model_id, str(path))
        self._client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        created = self._client.create_model_version(
            name, logged.artifact_location, run_id, model_id=logged.model_id
        )
        self._client.set_registered_model_alias(name, CHALLENGER, created.version)
        return self._describe(kind, created)

    def _by_alias(self, kind: str, alias: str) -> ModelVersion | None:
        name = registered_name(kind)
        with _failures(f"read the {alias} of {name}"):
            found = self._client.search_registered_models(f"name = '{name}'")
            if not found or alias not in found[0].aliases:
                return None
            return self._describe(kind, self._client.get_model_version(name, found[0].aliases[alias]))

    def _describe(self, kind: str, found: Any) -> ModelVersion:
        run = self._client.get_run(found.run_id)
        return ModelVersion(
            kind,
            str(found.version),
            found.run_id,
            f"models:/{found.name}/{found.version}",
            dict(run.data.metrics),
            dict(found.tags),
        )


def registered_name(kind: str) -> str:
    """Name of the experiment and of the registered model of one kind."""
    return f"attune-{kind}"


def _open(tracking_uri: str) -> mlflow.MlflowClient:
    """A client; a SQLite store is created or migrated by one process at a time."""
    if not tracking_uri.startswith("sqlite:///"):
        return mlflow.MlflowClient(tracking_uri, registry_uri=tracking_uri)
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            _create(database)
        client = mlflow.MlflowClient(tracking_uri, registry_uri=tracking_uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        return client


def _create(database: Path) -> None:
    """A new store, complete or not there: MLflow cannot go on with a migration that was killed."""
    building = database.with_name(f".{database.name}.building")
    building.unlink(missing_ok=True)
    store: Any = cast(Any, SqlAlchemyStore)(f"sqlite:///{building}", str(database.parent / "artifacts"))
    store.engine.dispose()
    building.replace(database)


def _metrics(report: ModelReport) -> dict[str, float]:
    """Every finite figure of the report under its logged name."""
    values: dict[str, float] = {}
    for row in report.rows:
        prefix = "" if row is report.candidate else f"{row.role}/{row.name}/"
        for name, estimate in row.metrics.items():
            values[f"{prefix}{name}"] = estimate.value
            values[f"{prefix}{name}_low"] = estimate.low
            values[f"{prefix}{name}_high"] = estimate.high
        for name, estimate in row.differences.items():
            values[f"gain_over/{row.name}/{name}"] = estimate.value
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists."""
    return dict(json.loads(json.dumps(config, default=str)))


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _dataset_input(profile: DatasetProfile) -> DatasetInput:
    columns = [{"type": kind, "name": name, "required": True} for name, kind in profile.columns.items()]
    return DatasetInput(
        Dataset(
            profile.name,
            profile.digest[:36],
            "local",
            json.dumps({"uri": profile.source}),
            json.dumps({"mlflow_colspec": columns}),
            json.dumps({"num_rows": profile.rows}),
        )
    )


def _signature(inputs: pd.DataFrame | None, outputs: pd.DataFrame | None) -> ModelSignature | None:
    """The schema of example frames; integers count as doubles, since a missing value makes them so."""
    if inputs is None and outputs is None:
        return None
    return infer_signature(_as_doubles(inputs), _as_doubles(outputs))


def _as_doubles(frame: pd.DataFrame | None) -> pd.DataFrame | None:
    if frame is None:
        return None
    integers = frame.select_dtypes(include="integer").columns
    return frame.astype(dict.fromkeys(integers, "float64"))


@contextmanager
def _failures(attempt: str) -> Iterator[None]:
    """Say what was attempted when MLflow or the disk fails."""
    try:
        yield
    except (MlflowException, OSError) as error:
        raise RegistryError(f"cannot {attempt}: {error}; check the tracking address and the disk") from error
