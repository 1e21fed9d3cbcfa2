"""The API's description: every route has its words, a tag, an example and an access rule; marks are right."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from serving.access.security import ACCESS, Role
from serving.api.application import create_application

DESCRIPTION = create_application().openapi()
VERBS = ("get", "post", "put", "patch", "delete")


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in DESCRIPTION["paths"].items():
        for verb in VERBS:
            if verb in item:
                yield f"{verb.upper()} {path}", item[verb]


OPERATIONS = dict(operations())
# Answers without a body to show: redirects, pages and Prometheus text.
NOT_JSON = {"GET /metrics"}


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a reference names."""
    while "$ref" in schema:
        schema = DESCRIPTION["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def shows(schema: Mapping[str, Any], keys: tuple[str, ...], depth: int = 0) -> bool:
    """Whether the schema, or one of its fields, has one of these keys."""
    schema = resolved(schema)
    if any(name in schema for name in keys):
        return True
    if depth == 3:
        return False
    below = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("allOf", ())]
    below += [schema["items"]] if isinstance(schema.get("items"), dict) else []
    return any(shows(each, keys, depth + 1) for each in below)


EXAMPLE = ("example", "examples")
VALUE = (*EXAMPLE, "default", "const", "enum")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_route_has_words_a_tag_and_a_rule(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation.get("summary"), "give it a summary"
    assert operation.get("description"), "give its function a docstring"
    assert operation.get("tags"), "give it a tag"
    rule = operation.get(ACCESS)
    assert rule and rule["role"] in {role.value for role in Role}, "declare **access(Role...)"
    assert operation["responses"], "say what it answers"


@pytest.mark.parametrize("name", [name for name in OPERATIONS if "requestBody" in OPERATIONS[name]])
def test_a_body_has_an_example(name: str) -> None:
    for media in OPERATIONS[name]["requestBody"]["content"].values():
        schema = media.get("schema", {})
        assert any(key in media for key in EXAMPLE) or shows(schema, EXAMPLE), (
            "give its model json_schema_extra={'examples': [...]}, or its fields examples"
        )


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_route_shows_an_example_of_what_it_takes_or_answers(name: str) -> None:
    operation = OPERATIONS[name]
    if "requestBody" in operation or name in NOT_JSON:
        return
    parameters = operation.get("parameters", ())
    shown = any(
        "example" in each or "examples" in each or shows(each["schema"], VALUE) for each in parameters
    )
    answers = [
        media for each in operation["responses"].values() for media in each.get("content", {}).values()
    ]
    shown = shown or any("example" in media or shows(media.get("schema", {}), VALUE) for media in answers)
    assert shown, "give a parameter examples=[...], or the answer's model json_schema_extra"


@pytest.mark.parametrize("name", OPERATIONS)
def test_canonical_and_compatible_spellings_are_marked(name: str) -> None:
    path, operation = name.split(" ")[1], OPERATIONS[name]
    is_compatible = "compatible" in operation["tags"]
    words = operation.get("description", "")
    if is_compatible:
        assert words.startswith("Compatible spelling of `"), words
        canonical = words.split("`")[1]
        assert canonical in OPERATIONS, f"{canonical} is no route"
        assert "compatible" not in OPERATIONS[canonical]["tags"], f"{canonical} is compatible too"
    elif path.startswith("/api/"):
        assert path.startswith("/api/v1/")


def test_every_operation_has_an_id_of_its_own() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(ids) == len(set(ids))
