""".env.example and the settings say the same: every variable, its default, nothing else."""

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from orchestration.settings import DEFAULTS as ORCHESTRATION_DEFAULTS
from orchestration.settings import read_settings as read_run_settings
from serving.settings import read_settings as read_service_settings
from tests.contracts.environment import (
    DOCUMENTED,
    compose_names,
    documented_values,
    known_names,
    serving_names,
    transforms_defaults,
)
from tests.contracts.repository import ROOT

# For what docker-compose.yml itself needs: the server's password, the folder and the secrets that it mounts.
COMPOSE_ONLY = {"POSTGRES_PASSWORD", "SOURCE_DIR", "PROMETHEUS_KEY_FILE", "GRAFANA_SECRET_FILE"}


def test_every_setting_is_documented() -> None:
    assert sorted(known_names() - documented_values().keys()) == []


def test_every_documented_variable_is_read_by_something() -> None:
    assert sorted(documented_values().keys() - known_names() - compose_names()) == []


def test_a_shell_can_source_the_file(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z])", "", text, flags=re.MULTILINE), encoding="utf-8")
    script = "set -ae; . ./.env; env -0"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    seen = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    assert {name: seen.get(name) for name in documented_values()} == documented_values()


def test_modules_that_the_file_names_can_be_started() -> None:
    named = re.findall(r"python -m ([a-z_.]+)", (ROOT / ".env.example").read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if find_spec(name) is None] == []


def test_only_compose_reads_what_is_marked_so() -> None:
    assert documented_values().keys() - known_names() == COMPOSE_ONLY


def test_documented_values_are_the_defaults_of_a_run() -> None:
    stated = documented_values()
    assert {name: stated[name] for name in ORCHESTRATION_DEFAULTS} == dict(ORCHESTRATION_DEFAULTS)
    assert read_run_settings(stated) == read_run_settings({})


def test_documented_values_are_the_defaults_of_the_service() -> None:
    stated = {name: value for name, value in documented_values().items() if name in serving_names()}
    assert read_service_settings(stated) == read_service_settings({})


def test_documented_values_are_the_defaults_of_the_warehouse() -> None:
    stated = documented_values()
    assert {name: stated[name] for name in transforms_defaults()} == transforms_defaults()


def test_the_serving_and_the_run_agree_on_what_both_read() -> None:
    run, service = read_run_settings({}), read_service_settings({})
    assert (run.home, run.host, run.port) == (service.home, service.host, service.port)
    assert (run.workers, run.redis_url, run.log_level) == (
        service.workers,
        service.redis_url,
        service.log_level,
    )
    assert run.ab_test_sample_size == service.ab_test_sample_size


def test_every_documented_variable_is_explained_above_it() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    unexplained = [
        line
        for above, line in zip(lines, lines[1:], strict=False)
        if DOCUMENTED.match(line) and not (above.startswith("# ") and len(above) > 15)
    ]
    assert unexplained == []


def test_every_variable_that_a_page_names_is_documented() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"`((?:ATTUNE|REDIS|MLFLOW|DAGSTER|BENTOML|POSTGRES)_[A-Z_]+)`", text))
    assert sorted(named - documented_values().keys()) == []
