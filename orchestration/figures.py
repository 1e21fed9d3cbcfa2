"""Figures: what the marts' numbers mean, read from the YAML that stands beside each mart's SQL.

A mart may say under `config.meta.figures` how a figure is worked out from its rows, in which unit, by which
of its dimensions, and what it means. Published with the marts, this is what the service computes and shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FIGURES = "figures.json"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_figures(project: Path) -> dict[str, dict[str, Any]]:
    """Figure -> mart, day (column that a period restricts, if any), unit, expression or ratio_of, dimensions,
    definition. Raises ValueError where two marts name one figure.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((project / "models" / "marts").glob("*.yml")):
        for model in yaml.load(path.read_text(encoding="utf-8"), LOADER).get("models", ()):
            meta = model.get("config", {}).get("meta", {})
            for name, figure in meta.get("figures", {}).items():
                if name in found:
                    raise ValueError(
                        f"figure {name!r} stands in {found[name]['mart']} and in {model['name']}: rename one"
                    )
                found[name] = {"mart": model["name"], "day": meta.get("day"), **figure}
    return found
