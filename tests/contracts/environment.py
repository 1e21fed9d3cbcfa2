"""Which environment variables the product reads, found in the code and files that read them."""

import ast
import re
from pathlib import Path

from orchestration.settings import VARIABLES
from tests.contracts.repository import ROOT

DOCUMENTED = re.compile(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", re.MULTILINE)


def documented_values() -> dict[str, str]:
    """Variable -> the value that .env.example states; the quotes that a shell needs are none of it."""
    stated = DOCUMENTED.findall((ROOT / ".env.example").read_text(encoding="utf-8"))
    return {name: re.sub(r"^'(.*)'$", r"\1", value) for name, value in stated}


def orchestration_defaults() -> dict[str, str]:
    """Variable -> default text, as `orchestration.settings` declares them."""
    return {variable.name: variable.default for variable in VARIABLES}


def serving_names() -> set[str]:
    """Every text in `serving/settings.py` that has the form of a variable's name."""
    return upper_case_texts(ROOT / "serving" / "settings.py")


def transforms_defaults() -> dict[str, str]:
    """Variable -> default, as the dbt profile reads them."""
    profile = (ROOT / "transforms" / "profiles.yml").read_text(encoding="utf-8")
    return dict(re.findall(r"env_var\('([A-Z0-9_]+)',\s*'([^']*)'\)", profile))


def feature_store_names() -> set[str]:
    """Variables that feature_store.yaml asks for, as ${NAME} or ${NAME:default}."""
    text = (ROOT / "feature_repo" / "feature_store.yaml").read_text(encoding="utf-8")
    return set(re.findall(r"\$\{([A-Z][A-Z0-9_]+)", text))


def known_names() -> set[str]:
    """Every variable of ours, whoever reads it."""
    names = orchestration_defaults().keys() | serving_names() | transforms_defaults().keys()
    return set(names) | feature_store_names()


def compose_names() -> set[str]:
    """Variables that docker-compose.yml takes from its own environment."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    return set(re.findall(r"\$\{([A-Z][A-Z0-9_]+)", text))


def upper_case_texts(module: Path) -> set[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"[A-Z][A-Z0-9_]{3,}", text)}
