"""The pages that `make docs` writes are current."""

import runpy

import pytest

from feature_repo.events import EVENT_TYPES
from tests.contracts.repository import ROOT


def test_the_written_pages_are_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["write_pages.py", "--check"])
    runpy.run_path(str(ROOT / "docs" / "write_pages.py"), run_name="__main__")


def test_every_event_type_is_explained() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert [name for name in EVENT_TYPES if f"| `{name}` |" not in page] == []
