"""What the simulator knows about its world reaches neither transforms, features, training nor serving."""

import ast
import re
from pathlib import Path

import pytest

from tests.contracts.repository import ROOT

SEES_NO_TRUTH = ("feature_repo", "training", "serving", "transforms")
# The layout and the list of stores name every place of a home, this one among them; they read nothing of it.
NAMES_THE_PLACE = {"feature_repo/layout.py", "feature_repo/erasure.py"}
# A place or a column of the truth; a variable `truth` for the labels of a data set is another thing.
TRUTH_WORDS = re.compile(r"\.truth\b|['\"/]truth\b|\bsimulator\b|\balive_until\b")


def code_without_docstrings(path: Path) -> str:
    """Names, attributes and texts of a module, or the SQL without comments: what runs, not what explains."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return re.sub(r"--[^\n]*|\{#.*?#\}|/\*.*?\*/", "", text, flags=re.DOTALL)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@pytest.mark.parametrize("folder", SEES_NO_TRUTH)
def test_no_code_of_this_folder_mentions_the_truth(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".sql"}]
    assert files, f"{folder} holds no code"
    readers = [
        name
        for path in files
        if (name := path.relative_to(ROOT).as_posix()) not in NAMES_THE_PLACE
        and "target" not in path.relative_to(ROOT).parts
        and TRUTH_WORDS.search(code_without_docstrings(path))
    ]
    assert readers == []


def test_the_layout_names_the_truth_and_reads_nothing() -> None:
    code = code_without_docstrings(ROOT / "feature_repo" / "layout.py")
    assert "truth" in code
    assert not re.search(r"\bopen\(|read_|\.exists\(", code)


def test_the_rule_sees_a_reader(tmp_path: Path) -> None:
    module = tmp_path / "peek.py"
    module.write_text('"""Reads the truth."""\nframe = read(home.truth)\n', encoding="utf-8")
    assert TRUTH_WORDS.search(code_without_docstrings(module))


def test_the_rule_lets_a_docstring_speak_of_it(tmp_path: Path) -> None:
    module = tmp_path / "innocent.py"
    module.write_text('"""Never reads the truth."""\nvalue = 1\n', encoding="utf-8")
    assert not TRUTH_WORDS.search(code_without_docstrings(module))
