"""Reads what an operator declares in YAML: one list under one key, each problem with line and field."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from serving.errors import InvalidDeclarations, NotDeclared


class HasName(Protocol):
    """A definition with a name of its own."""

    name: str


Model = TypeVar("Model", bound=BaseModel)
Definition = TypeVar("Definition", bound=HasName)


def read_list(
    path: Path,
    key: str,
    model: type[Model],
    most: int,
    error_type: type[InvalidDeclarations] = InvalidDeclarations,
    name: str = "name",
    may_be_bare: bool = False,
) -> list[Model]:
    """The definitions below `key`, of which each `name` is one of its own; none if the file is not there.

    `may_be_bare`: the list may also stand without its key.

    Raises `error_type`, which names the file, the line, the field, its value and the remedy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error  # the rest would name the path
        raise error_type(path.name, None, f"the file cannot be read ({reason})") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "this is no YAML"
        raise error_type(path.name, mark.line + 1 if mark else None, problem) from error
    if content is None:
        return []
    above: list[object] = [key]
    if may_be_bare and isinstance(content, list):
        above, content = [], {key: content}
    if not isinstance(content, dict) or not isinstance(content.get(key), list) or len(content) != 1:
        raise error_type(path.name, 1, f"write one list under `{key}:` and nothing else")
    if len(content[key]) > most:
        raise error_type(path.name, 1, f"more than {most} {key}: take out ended ones")
    found: list[Model] = []
    for place, each in enumerate(content[key]):
        try:
            found.append(model.model_validate(each))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or key.removesuffix("s")
            problem = f"{field}={first.get('input')!r:.80} cannot be used: {first['msg']}"
            raise error_type(path.name, _line(root, [*above, place, *first["loc"]]), problem) from error
    names = [getattr(definition, name) for definition in found]
    for place, one in enumerate(names):
        if one in names[:place]:
            line = _line(root, [*above, place, name])
            raise error_type(path.name, line, f"{name}={one!r} cannot be used: it stands above already")
    return found


def named(declared: Sequence[Definition], kind: str, name: str | None, path: Path) -> Definition:
    """The definition of this name; raises `NotDeclared` with those that there are."""
    found = next((each for each in declared if each.name == name), None)
    if found is None:
        raise NotDeclared(kind, name, [each.name for each in declared], path.name)
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
