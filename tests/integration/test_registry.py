"""The registry against a real MLflow on SQLite and files."""

import multiprocessing
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from training.config import GateConfig
from training.errors import RegistryError
from training.evaluation import Estimate, ModelReport, ScoreRow
from training.gate import decide
from training.registry import DatasetProfile, ModelVersion, Registry

pytestmark = pytest.mark.integration


def report(candidate: float, baseline: float = 0.1) -> ModelReport:
    rows = [
        ScoreRow("als", "candidate", {"recall": Estimate(candidate, candidate - 0.01, candidate + 0.01)}),
        ScoreRow("popularity", "baseline", {"recall": Estimate(baseline, baseline - 0.01, baseline + 0.01)}),
    ]
    return ModelReport("collaborative", datetime(2010, 9, 1, tzinfo=UTC), rows, "recall", notes=["tiny"])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    root = tmp_path_factory.mktemp("mlflow")
    return Registry(f"sqlite:///{root / 'db' / 'mlflow.db'}", root / "artifacts")


def log(registry: Registry, place: Path, found: ModelReport, kind: str = "collaborative") -> ModelVersion:
    files = place / "files"
    files.mkdir(exist_ok=True)
    np.save(files / "item_factors.npy", np.eye(3, dtype=np.float32))
    (files / "recommender.json").write_text("{}")
    figure = Figure()
    figure.add_subplot().plot([1, 2], [3, 4])
    return registry.log_run(
        kind,
        config={"als": {"factors": 3, "alpha": 2.0}},
        seed=7,
        window=(date(2010, 1, 1), date(2010, 11, 30)),
        data_hash="abc",
        feature_service="none",
        report=found,
        files=files,
        figures={"recall_by_depth": figure},
        inputs=pd.DataFrame({"item_id": ["a"], "count": [1]}),
        outputs=pd.DataFrame({"score": [0.5]}),
        dataset=DatasetProfile("interactions_daily", "abc", "marts/1", 10, {"user_id": "string"}),
    )


def test_a_run_keeps_config_figures_table_metrics_dataset_and_signature(
    registry: Registry, tmp_path: Path
) -> None:
    version = log(registry, tmp_path, report(0.2), "everything")

    run = registry._client.get_run(version.run_id)
    assert run.data.params["als.factors"] == "3"
    assert run.data.params["data_hash"] == "abc"
    assert run.data.metrics["recall"] == 0.2
    assert run.data.metrics["recall_low"] == pytest.approx(0.19)
    assert run.data.metrics["baseline/popularity/recall_high"] == pytest.approx(0.11)
    assert [one.dataset.digest for one in run.inputs.dataset_inputs] == ["abc"]
    assert run.info.status == "FINISHED"
    listed = {item.path for item in registry._client.list_artifacts(version.run_id)}
    assert {"report.json", "report.csv", "report.md", "figures"} <= listed
    downloaded = registry.download(version, tmp_path / "copy")
    assert np.load(downloaded / "item_factors.npy").shape == (3, 3)
    assert "inputs" in (downloaded / "MLmodel").read_text()
    assert registry.report(version) == report(0.2)


def test_a_search_has_its_trials_below_it_and_leaves_a_configuration(registry: Registry) -> None:
    assert registry.configuration("searched") is None
    with registry.search("searched", {"trials": 2}) as search:
        registry.log_trial(
            "searched", search, "trial 0", {"kept": 150, "blend": {"content": 0.3}}, {"quality": 0.5}
        )
        registry.log_trial("searched", search, "trial 1", {"kept": 90, "blend": "tuned"}, {"quality": 0.6})
    registry.keep_configuration("searched", {"hybrid": {"kept": 90}})

    parent = registry._client.get_run(search)
    assert (parent.info.status, parent.data.params) == ("FINISHED", {"trials": "2"})
    filtering = f"tags.mlflow.parentRunId = '{search}'"
    children = registry._client.search_runs([parent.info.experiment_id], filtering)
    assert {run.data.params["kept"]: run.data.metrics["quality"] for run in children} == {
        "150": 0.5,
        "90": 0.6,
    }
    assert registry.configuration("searched") == {"hybrid": {"kept": 90}}
    assert registry.champion("searched") is None


def test_a_search_that_fails_is_marked_so(registry: Registry) -> None:
    with pytest.raises(ZeroDivisionError), registry.search("broken", {}) as search:
        raise ZeroDivisionError
    assert registry._client.get_run(search).info.status == "FAILED"


def test_no_file_of_a_version_is_a_pickle(registry: Registry, tmp_path: Path) -> None:
    downloaded = registry.download(log(registry, tmp_path, report(0.2), "files"), tmp_path / "copy")

    suffixes = {path.suffix for path in downloaded.rglob("*") if path.is_file()}
    assert suffixes <= {"", ".npy", ".json", ".yaml"}


def test_the_first_promoted_version_is_champion_and_carries_its_reasons(
    registry: Registry, tmp_path: Path
) -> None:
    assert registry.champion("first") is None
    version = log(registry, tmp_path, report(0.2), "first")

    promoted = registry.promote(version, decide(report(0.2), True, GateConfig()))

    champion = registry.champion("first")
    assert champion == promoted
    assert champion is not None
    assert champion.tags["attune.decision"] == "promoted"
    assert "als beats popularity on recall" in champion.tags["attune.reasons"]
    assert champion.metrics["recall"] == 0.2


def test_a_rejected_version_stays_challenger_and_the_champion_remains(
    registry: Registry, tmp_path: Path
) -> None:
    first = log(registry, tmp_path, report(0.2), "second")
    registry.promote(first, decide(report(0.2), True))
    worse = log(registry, tmp_path, report(0.05), "second")

    registry.promote(worse, decide(report(0.05), True))

    champion, challenger = registry.champion("second"), registry.challenger("second")
    assert champion is not None and challenger is not None
    assert champion.version == first.version
    assert challenger.version == worse.version
    assert challenger.tags["attune.decision"] == "rejected"
    assert challenger.tags["attune.refused_by"] == "beats_popularity"
    assert registry.decision(challenger) == decide(report(0.05), True)
    assert registry.config(challenger) == {"als": {"factors": 3, "alpha": 2.0}}


def test_logging_and_registering_takes_seconds(registry: Registry, tmp_path: Path) -> None:
    started = time.perf_counter()
    log(registry, tmp_path, report(0.2), "speed")
    assert time.perf_counter() - started < 15


def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    with pytest.raises(RegistryError, match="open the tracking store"):
        Registry(f"sqlite:///{blocked / 'mlflow.db'}", tmp_path / "artifacts")


def _open_store(uri: str, place: Path) -> None:
    Registry(uri, place)


def test_processes_that_open_a_fresh_store_at_once_all_succeed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    workers = [context.Process(target=_open_store, args=(uri, tmp_path / "artifacts")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
