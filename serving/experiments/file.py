"""Reads `experiments.yaml`: the same definitions as the API takes, each problem with its line and field.

experiments:
  - id: collaborative-or-hybrid
    variants:
      control: {algorithm: collaborative}
      variant_a: {algorithm: hybrid}
    layer: recommendations
    share: 0.5
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from serving.api.schemas.experiments import Definition
from serving.errors import InvalidExperiments

MAX_EXPERIMENTS = 200


def read_experiments(path: Path) -> list[Definition]:
    """The definitions of the file; none if it is not there. Raises `InvalidExperiments`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidExperiments(path.name, None, f"the file cannot be read ({error})") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "this is no YAML"
        raise InvalidExperiments(path.name, mark.line + 1 if mark else None, problem) from error
    if content is None:
        return []
    if not isinstance(content, dict) or not isinstance(content.get("experiments"), list) or len(content) != 1:
        raise InvalidExperiments(path.name, 1, "write one list under `experiments:` and nothing else")
    if len(content["experiments"]) > MAX_EXPERIMENTS:
        raise InvalidExperiments(
            path.name, 1, f"more than {MAX_EXPERIMENTS} experiments: take out ended ones"
        )
    found: list[Definition] = []
    for place, each in enumerate(content["experiments"]):
        try:
            found.append(Definition.model_validate(each))
        except ValidationError as error:
            first = error.errors()[0]
            location = ["experiments", place, *first["loc"]]
            field = ".".join(str(part) for part in first["loc"]) or "experiment"
            problem = f"{field}={first.get('input')!r:.80} cannot be used: {first['msg']}"
            raise InvalidExperiments(path.name, _line(root, location), problem) from error
    names = [definition.id for definition in found]
    for place, name in enumerate(names):
        if name in names[:place]:
            line = _line(root, ["experiments", place, "id"])
            raise InvalidExperiments(path.name, line, f"id={name!r} cannot be used: it stands above already")
    return found


def _line(node: Any, location: Sequence[object]) -> int:
    """The line of the innermost part of a location that the file has."""
    line = int(node.start_mark.line) + 1
    for part in location:
        below = _child(node, part)
        if below is None:
            break
        node = below
        line = int(node.start_mark.line) + 1
    return line


def _child(node: Any, part: object) -> Any:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    if isinstance(node, yaml.MappingNode):
        values = [value for key, value in node.value if key.value == str(part)]
        # Variants may be written as a mapping: the third variant is the value of its third key.
        if not values and isinstance(part, int) and part < len(node.value):
            values = [node.value[part][1]]
        return values[0] if values else None
    return None
