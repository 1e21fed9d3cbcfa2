"""Whom a request is about: the values at the places that its route declares. Pure.

A place is `path.NAME`, `query.NAME`, or `body.` and the way to a field, where `NAME[]` is every element of a
list: `body.user_id`, `body.customer_ids[]`, `body.events[].user_id`.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson


class NotJson(Exception):
    """The body cannot be read, so nobody knows whom it is about."""


def names_only(
    subject: str,
    places: Sequence[str],
    path_params: Mapping[str, str],
    query_string: bytes,
    body: bytes | None,
) -> bool:
    """Whether the request names this subject somewhere, and nobody else anywhere.

    Where a place goes through a list, every element must name the subject in one of the places of that list.
    """
    values = [path_params[place[5:]] for place in places if place.startswith("path.")]
    names = {place[6:] for place in places if place.startswith("query.")}
    if names:
        sent = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
        values += [value for name, value in sent if name in names]
    ways = [place[5:].split(".") for place in places if place.startswith("body.")]
    found: list[Any] = list(values)
    if ways and body:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise NotJson from None
        found += _named_in(document, ways)
    return bool(found) and all(_as_id(value) == subject for value in found)


# Stands for an element of a list that names nobody.
_NOBODY = object()


def _named_in(document: Any, ways: list[list[str]]) -> list[Any]:
    """The values at the ends of the ways; `_NOBODY` for an element of a list in which no way finds one."""
    if not isinstance(document, dict):
        return []
    found: list[Any] = []
    lists: dict[str, list[list[str]]] = {}
    for step, *rest in ways:
        if step.endswith("[]"):
            lists.setdefault(step[:-2], []).append(rest)
        elif step in document and not rest:
            if document[step] is not None:
                found.append(document[step])
        elif step in document:
            found += _named_in(document[step], [rest])
    for name, rests in lists.items():
        elements = document.get(name)
        if elements is None:
            continue
        for element in elements if isinstance(elements, list) else [elements]:
            named = [element] if rests == [[]] else _named_in(element, rests)
            found += named or [_NOBODY]
    return found


def _as_id(value: Any) -> Any:
    """Identifiers are strings; a whole number is its decimal string."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
