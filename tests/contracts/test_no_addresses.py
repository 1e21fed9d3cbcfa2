"""No tracked file names a package index or a path of somebody's machine; the lock is versions and hashes."""

import re
import tomllib

import pytest

from tests.contracts.repository import ROOT, text_files

INDEX = re.compile(r"(--(extra-)?index-url|--find-links|--trusted-host|https?://[^\s\"')]*/simple\b)")
MACHINE = re.compile(r"(?<![\w./~-])/(home|Users|root|work|tmp)/[A-Za-z0-9_]")
# Where a temporary path is the subject: this rule itself.
EXEMPT = {"tests/contracts/test_no_addresses.py"}


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in text_files().items()
        if name not in EXEMPT and ".standalone." not in name and not name.endswith((".min.js", "-bundle.js"))
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_file_names_a_package_index() -> None:
    assert lines_with(INDEX) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINE) == []


@pytest.mark.parametrize("line", ["--index-url x", "see https://a.example/simple/numpy", "--find-links=x"])
def test_the_index_rule_sees_addresses(line: str) -> None:
    assert INDEX.search(line)


@pytest.mark.parametrize("line", ["open('/home/ann/x')", "cd /work/main", "/tmp/x"])
def test_the_machine_rule_sees_paths(line: str) -> None:
    assert MACHINE.search(line)


def locked_versions() -> dict[str, str]:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)", lock, re.MULTILINE))


def test_the_lock_is_pins_and_hashes_alone() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pin = r"[a-z0-9][a-z0-9._\-\[\]]*==\S+( ; [^\\]+)? \\"
    digest = r"    --hash=sha256:[0-9a-f]{64}( \\)?"
    strangers = [line for line in lock.splitlines() if not re.fullmatch(f"{pin}|{digest}|#.*|", line)]
    assert strangers == []
    assert "://" not in lock


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    names = {re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower().replace("_", "-") for line in declared}
    assert sorted(names - locked_versions().keys()) == []
