"""What the service's commands say when they cannot go on, and the exit code that says what kind it is."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import serving.__main__
import serving.campaigns.__main__
from serving.campaigns.__main__ import answer
from serving.errors import (
    InvalidSetting,
    NoRelease,
    NotDeclared,
    NothingToSend,
    ServingError,
    StoreUnavailable,
    end_command,
)
from serving.settings import read_settings

CAMPAIGNS = "campaigns:\n  - {name: spring, start: 2026-03-01}\n  - {name: autumn, start: 2026-09-01}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidSetting("PORT", "x", "use a number"), 2),
        (NotDeclared("campaign", None, [], "campaigns.yaml"), 2),
        (NoRelease(["here"]), 5),
        (NothingToSend("no customers"), 5),
        (StoreUnavailable("gone"), 1),
    ],
)
def test_each_failure_is_one_line_and_the_documented_exit_code(
    error: ServingError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        end_command(error)
    assert ended.value.code == code
    assert capsys.readouterr().err == f"error: {error}\n"


@pytest.mark.parametrize("main", [serving.__main__.main, serving.campaigns.__main__.main])
def test_a_wrong_setting_ends_with_2(
    main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATTUNE_CONSENT", "maybe")
    monkeypatch.setattr(sys, "argv", ["command", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "ATTUNE_CONSENT='maybe' cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("action", "name", "text", "said"),
    [
        ("run", None, CAMPAIGNS, "the name of a campaign is missing; use one of spring, autumn"),
        ("run", "winter", CAMPAIGNS, "campaign='winter' is not declared; use one of spring, autumn"),
        ("run", None, "", "no campaign is declared; write campaigns.yaml in ATTUNE_HOME"),
        ("diagram", "welcome", "", "no journey is declared; write journeys.yaml in ATTUNE_HOME"),
    ],
)
def test_a_name_that_is_not_declared_is_answered_with_those_that_are(
    tmp_path: Path, action: str, name: str | None, text: str, said: str
) -> None:
    (tmp_path / "campaigns.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(NotDeclared) as refused:
        answer(read_settings({"ATTUNE_HOME": str(tmp_path)}), action, name, False)
    assert str(refused.value).startswith(said)
