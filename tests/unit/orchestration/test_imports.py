"""Libraries of later stages are loaded meanwhile, not before."""

import subprocess
import sys

import pytest

from orchestration.imports import importing

LATER_LIBRARIES = ("bentoml", "feast", "matplotlib", "mlflow", "xgboost")


def test_the_modules_are_there_after_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with importing("colorsys"):
        pass
    assert "colorsys" in sys.modules


def test_a_missing_module_is_the_error_of_whoever_needs_it() -> None:
    with importing("no_such_module"):
        pass


def test_an_error_in_the_block_is_passed_on() -> None:
    with pytest.raises(ValueError, match="in the block"), importing("colorsys"):
        raise ValueError("in the block")


def test_loading_the_assets_imports_no_library_of_a_later_stage() -> None:
    code = f"import sys, orchestration.assets.all; print([m for m in {LATER_LIBRARIES} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
