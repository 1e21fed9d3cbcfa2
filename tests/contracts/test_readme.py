"""Every command, path, link and table of the README and the guides is true of the product as it is."""

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest
import typer

from feature_repo.erasure import STORES
from orchestration.cli import app
from serving.api.application import create_application
from tests.contracts.repository import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:attune|make|docker compose) [^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMMANDS: dict[str, Any] = vars(typer.main.get_command(app))["commands"]


def shell_lines(page: Path) -> Iterator[str]:
    """Each command of the page's `sh` blocks, continued lines joined, and each command inside a sentence."""
    text = page.read_text(encoding="utf-8")
    for language, block in BLOCK.findall(text):
        if language == "sh":
            yield from (line for line in re.sub(r"\\\n\s*", "", block).splitlines() if line.strip())
    yield from INLINE.findall(BLOCK.sub("", text))


DOCUMENTED = sorted({(page.name, line) for page in PAGES for line in shell_lines(page)})


def attune_lines() -> list[list[str]]:
    """The words after `attune` of every documented command, wherever it stands in its line."""
    words = [shlex.split(line) for line in sorted({line for _, line in DOCUMENTED})]
    return [line[line.index("attune") + 1 :] for line in words if "attune" in line]


@pytest.mark.parametrize(("page", "line"), DOCUMENTED)
def test_every_documented_command_exists(page: str, line: str) -> None:
    words = list(dropwhile(lambda word: "=" in word, shlex.split(line)))
    program = words[0].removeprefix(".venv/bin/")
    if program == "make":
        assert MAKE_TARGETS.issuperset(word for word in words[1:] if "=" not in word), f"{page}: {line}"
    elif words[:2] == ["python", "-m"]:
        assert find_spec(words[2]) is not None, f"{page}: {line}"
    elif program == "python":
        assert (ROOT / words[1]).is_file(), f"{page}: {line}"
    else:
        known = {"attune", "curl", "docker", "cp", "cat", "ls", "source", "pre-commit", "dagster", "feast"}
        assert program in known, f"{page}: {line}"


@pytest.mark.parametrize("words", attune_lines(), ids=" ".join)
def test_every_documented_option_is_accepted(words: list[str]) -> None:
    subcommand = COMMANDS.get(words[0])
    assert subcommand is not None, f"attune has no command {words[0]!r}"
    options = {option for parameter in subcommand.params for option in parameter.opts}
    assert [word for word in words[1:] if word.startswith("--") and word not in options] == []


def test_every_attune_command_stands_in_the_table() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = {name for name, command in COMMANDS.items() if not command.hidden}
    assert set(re.findall(r"^\| `attune ([a-z-]+)`", readme, re.MULTILINE)) == shown


def test_every_make_target_stands_in_the_table() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    explained = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)) - {"help"}
    assert set(re.findall(r"^\| `make ([a-z]+)`", readme, re.MULTILINE)) == explained


def test_every_folder_of_the_table_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    folders = re.findall(r"^\| \[([a-z_]+)\]", readme, re.MULTILINE)
    assert len(folders) == 8
    assert [name for name in folders if not (ROOT / name).is_dir()] == []


def named_in_first_cells(page: str) -> set[str]:
    """Every `name` in the first cell of a row of the page's tables."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    cells = re.findall(r"^\|([^|]+)\|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_everything_below_the_home_stands_in_the_table_of_backups() -> None:
    kept = {store.pattern.split("/")[0] for store in STORES}
    assert sorted(kept - named_in_first_cells("operations.md")) == []


def test_every_mart_stands_in_the_table() -> None:
    marts = {path.stem for path in (ROOT / "transforms" / "models" / "marts").glob("*.sql")}
    assert sorted(marts - named_in_first_cells("data-engineers.md")) == []


def test_every_stage_of_the_assets_is_named() -> None:
    text = (ROOT / "docs" / "data-engineers.md").read_text(encoding="utf-8")
    stages = {path.stem for path in (ROOT / "orchestration" / "assets").glob("[a-z]*.py")}
    stages -= {"all", "experiments"}  # they bring the assets together; those of experiments are an analysis
    [told] = re.findall(r"by stage: (.+?)\.", text, re.DOTALL)
    assert sorted(stages - set(re.findall(r"`(\w+)`", told))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_blank_line_splits_a_table(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    assert re.findall(r"^\|.*\|\n\n(\|.*\|)\n(?!\| ?-)", text, re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def documented_paths() -> set[str]:
    """Every path of the service that a page names, without its query."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    called = re.findall(r"127\.0\.0\.1:8011(/[^\s\"?]*)", text)
    return {*called, *re.findall(r"`(?:GET|POST|PUT|DELETE) (/[^`\s?]*)[^`]*`", text)}


def test_every_documented_path_is_answered_by_the_service() -> None:
    # Native endpoints of BentoML are methods of the service: they stand in no route table of ours.
    native = {"/recommend", "/recommend_batch", "/profile"}
    patterns = [
        re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)) for path in create_application().openapi()["paths"]
    ]
    unknown = {
        path
        for path in documented_paths() - native
        if not any(pattern.fullmatch(path) for pattern in patterns)
    }
    assert unknown == set()


def test_native_endpoints_are_those_that_are_documented() -> None:
    from serving.service import Personalization

    assert set(Personalization.apis) == {"recommend", "recommend_batch", "profile"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_example_compiles(page: Path) -> None:
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            compile(block, str(page), "exec")


def test_the_readme_is_plain_text() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8").isascii()
