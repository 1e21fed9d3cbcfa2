"""Who may import whom: the contracts of pyproject.toml hold, and they still guard something."""

import tomllib
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"feature_repo", "training", "serving", "orchestration"}


def imports_are_linted(config: Path) -> bool:
    return lint_imports(config_filename=str(config), no_cache=True) == EXIT_STATUS_SUCCESS


def test_every_layer_contract_holds() -> None:
    assert imports_are_linted(ROOT / "pyproject.toml")


def test_a_broken_layer_contract_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, text in {"upstream_layer": "import downstream_layer\n", "downstream_layer": ""}.items():
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(text, encoding="utf-8")
    contracts = tmp_path / "contracts.toml"
    contracts.write_text(
        '[tool.importlinter]\nroot_packages = ["upstream_layer", "downstream_layer"]\n'
        '[[tool.importlinter.contracts]]\nname = "one direction"\ntype = "forbidden"\n'
        'source_modules = ["upstream_layer"]\nforbidden_modules = ["downstream_layer"]\n',
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert not imports_are_linted(contracts)


def test_every_package_is_linted_installed_and_type_checked() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    patterns = {name.removesuffix("*") for name in tool["setuptools"]["packages"]["find"]["include"]}
    assert set(tool["importlinter"]["root_packages"]) == PACKAGES
    assert set(tool["mypy"]["packages"]) == PACKAGES
    assert patterns == PACKAGES
    assert tool["mypy"]["strict"] is True


def test_nothing_of_the_product_imports_the_tests() -> None:
    importers = [
        path.relative_to(ROOT).as_posix()
        for package in sorted(PACKAGES)
        for path in (ROOT / package).rglob("*.py")
        if any(line.startswith(("import tests", "from tests")) for line in path.read_text().splitlines())
    ]
    assert importers == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for package in sorted(PACKAGES) for path in (ROOT / package).rglob("*.py")}
    missing = [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]
    assert sorted(missing) == []
