"""The command line: help, usage, one-line errors and exit codes. No pipeline runs here."""

import json
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest
from typer.testing import CliRunner

from feature_repo.erasure import read_erased
from feature_repo.event_log import operational_url
from feature_repo.layout import Home
from orchestration.cli import app, exit_code
from orchestration.errors import (
    AttuneError,
    GateRefused,
    HomeLocked,
    NothingToDo,
    SettingsError,
    SourceMissing,
)
from orchestration.landing import Keeping, land_days
from orchestration.processes import LOOPBACK, PortInUse, check_port, serving_environment
from orchestration.settings import QUIET, read_settings
from tests.factories import ListSource, view
from training.errors import BrokenRelease

COMMANDS = ("demo", "run", "serve", "erase", "ui", "status", "simulate", "promote", "rollback")
ROOT = Path(__file__).parents[3]


def attune(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *arguments],
        env={**os.environ, "ATTUNE_HOME": str(home), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_promote_names_every_kind_of_model() -> None:
    told = " ".join(CliRunner().invoke(app, ["promote", "--help"]).output.replace("│", " ").split())
    assert "collaborative, clv, churn or next_purchase" in told


def test_help_is_quick_for_nothing_heavy_is_imported() -> None:
    script = (
        "import sys, orchestration.cli as cli\n"
        "heavy = {'dagster', 'pandas', 'duckdb', 'feast', 'mlflow', 'bentoml'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    started = monotonic()
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    assert result.returncode == 0
    assert monotonic() - started < 10


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["fly"]).exit_code == 2


def test_days_the_wrong_way_round_are_a_usage_error() -> None:
    arguments = ["run", "--source", "simulator", "--path", ".", "--from", "2024-02-01", "--to", "2024-01-01"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "is after" in result.output


def test_the_event_log_takes_no_path_and_other_sources_need_one(tmp_path: Path) -> None:
    result = attune(tmp_path, "run", "--source", "event_log", "--path", "drops")
    assert (result.returncode, result.stderr.count("\n")) == (4, 1)
    assert "reads the operational store; leave it out" in result.stderr
    result = attune(tmp_path, "run", "--source", "tabular")
    assert (result.returncode, result.stderr.count("\n")) == (4, 1)
    assert "say where with --path" in result.stderr


def test_an_empty_event_log_in_an_empty_home_is_an_input_error(tmp_path: Path) -> None:
    result = attune(tmp_path, "run", "--source", "event_log")
    assert (result.returncode, result.stderr.count("\n")) == (4, 1)
    assert "the event log is empty and nothing else is landed" in result.stderr


def test_whoever_is_erased_before_anything_is_known_of_them_stays_out(tmp_path: Path) -> None:
    result = attune(tmp_path / "elsewhere", "erase", "u1", "--home", str(tmp_path / "home"))
    assert (result.returncode, result.stderr) == (0, "")
    assert "Erased: 0 rows of 1 ids" in result.stdout
    home = Home(tmp_path / "home")
    erased = read_erased(operational_url(home))
    assert "u1" in erased
    source = ListSource([view("a"), view("b", user_id="u2")], customer_rows=[{"user_id": "u1"}])
    report = land_days(home, source, keeping=Keeping(erased))
    assert (report.rows, report.erased, report.customers) == (1, 2, 0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("x"), 2),
        (HomeLocked("x"), 3),
        (SourceMissing(Path("x"), "y"), 4),
        (NothingToDo("x"), 5),
        (GateRefused("x"), 6),
        (BrokenRelease(Path("x"), "y"), 1),
        (OSError(28, "No space left on device"), 1),
        (ValueError("a bug"), None),
    ],
)
def test_each_expected_failure_has_its_exit_code(error: Exception, code: int | None) -> None:
    assert exit_code(error) == code


def assert_one_line(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert result.returncode == code, result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_a_wrong_environment_value_stops_the_start(tmp_path: Path) -> None:
    assert_one_line(attune(tmp_path, "status", PORT="eighty"), 2, "PORT='eighty'", "1 to 65535")


def test_serving_without_a_release_names_the_remedy(tmp_path: Path) -> None:
    assert_one_line(attune(tmp_path, "serve"), 5, "no release", "attune demo")


def test_the_page_on_troubles_quotes_why_nothing_is_served(tmp_path: Path) -> None:
    with pytest.raises(NothingToDo) as nothing:
        serving_environment(read_settings({"ATTUNE_HOME": str(tmp_path)}))
    with closing(socket.socket()) as taken, pytest.raises(PortInUse) as in_use:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        check_port(LOOPBACK, taken.getsockname()[1], "")
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    headings = [heading.strip(".").split(" ... ") for heading in re.findall(r"^\*\*(.+?)\*\*", page, re.M)]
    for printed in (str(nothing.value), str(in_use.value)):
        assert any(all(part.strip(". ") in printed for part in parts) for parts in headings), printed


def test_an_unknown_source_names_the_known_ones(tmp_path: Path) -> None:
    result = attune(tmp_path, "run", "--source", "shopify", "--path", ".")
    assert_one_line(result, 2, "'shopify'", "online_retail, tabular, simulator")


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    result = attune(tmp_path, "run", "--source", "online_retail", "--path", str(tmp_path / "nowhere"))
    assert_one_line(result, 4, "nowhere", "--path")
    assert not (tmp_path / "landing").exists()


def test_the_status_of_an_empty_home_says_what_to_do(tmp_path: Path) -> None:
    result = attune(tmp_path, "status")
    assert result.returncode == 0
    assert "nothing yet; `attune demo`" in result.stdout


def test_the_status_is_also_json(tmp_path: Path) -> None:
    result = attune(tmp_path, "status", "--json")
    found = json.loads(result.stdout)
    assert found["landed"]["rows"] == 0
    assert found["release"] is None
    assert found["champions"] == dict.fromkeys(("collaborative", "clv", "churn", "next_purchase"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("promote", "churn", "--by", "Ada", "--reason", "x"), "to overrule it add --force"),
        (("promote", "churn", "--by", " ", "--reason", "x", "--force"), "--by is empty"),
        (("promote", "magic", "--by", "Ada", "--reason", "x", "--force"), "KIND='magic' is no kind"),
        (("rollback", "--by", "Ada", "--reason", ""), "--reason is empty"),
        (("rollback", "--by", "Ada", "--reason", "x"), "no release is current"),
        (("rollback", "--by", "Ada", "--reason", "x", "--to", "nowhere"), "'nowhere' is not kept"),
    ],
)
def test_an_unsigned_or_impossible_decision_about_releases_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], problem: str
) -> None:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    for name in QUIET:
        monkeypatch.setenv(name, "x")  # what the command wires is undone after the test
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, AttuneError)
    assert problem in str(result.exception)
    assert exit_code(result.exception) in (2, 5)
