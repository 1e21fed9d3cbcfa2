"""Who reaches what: every route x every kind of caller, generated from the routes themselves."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from serving.access.route_rules import NATIVE
from serving.access.security import Access, Role
from serving.api.application import create_application
from serving.requests import RequestMiddleware
from tests.served import Served, served, write_keys

SUBJECT, OTHER = "anna", "somebody-else"
CALLERS: Mapping[str, tuple[str, str | None]] = {
    "reader": ("read", None),
    "writer": ("write", None),
    "operator": ("admin", None),
    "anna-reads": ("read", SUBJECT),
    "anna-writes": ("write", SUBJECT),
    "other-reads": ("read", OTHER),
    "other-writes": ("write", OTHER),
    "other-operates": ("admin", OTHER),
}
RANKS = ("public", "read", "write", "admin")
IDENTIFIERS = {"user_id", "customer_id", "customer_ids", "user_ids", "visitor_id"}


def expected(rule: Access, caller: str | None) -> set[int] | None:
    """The refusals that this caller must get; None if the request must reach its route.

    Written down again from the documentation, not from the code: public routes need nothing; a key needs the
    role; a bound key needs a route about one person, that person, and the role (or the one for its own).
    """
    if rule.role is Role.PUBLIC:
        return None
    if caller is None or caller == "wrong":
        return {401}
    role, subject = CALLERS[caller]
    needed = rule.role
    if subject is not None:
        if not rule.subject or subject != SUBJECT:
            return {403}
        needed = rule.own or rule.role
    return None if RANKS.index(role) >= RANKS.index(needed) else {403}


def place(body: dict[str, Any], steps: list[str]) -> None:
    """Put the subject at the place that a rule declares."""
    step, *rest = steps
    if step.endswith("[]"):
        elements = body.setdefault(step[:-2], [{}] if rest else [])
        if rest:
            place(elements[0], rest)
        else:
            elements.append(SUBJECT)
    elif rest:
        place(body.setdefault(step, {}), rest)
    else:
        body[step] = SUBJECT


def request_about_the_subject(template: str, rule: Access) -> tuple[str, dict[str, str], dict[str, Any]]:
    query: dict[str, str] = {}
    body: dict[str, Any] = {}
    for where in rule.subject:
        kind, _, rest = where.partition(".")
        if kind == "query":
            query[rest] = SUBJECT
        elif kind == "body":
            place(body, rest.split("."))
    path = re.sub(r"\{(\w+)\}", lambda found: _value(found[1], rule), template).replace("/*", "/swagger.html")
    return path, query, body


def _value(name: str, rule: Access) -> str:
    return SUBJECT if f"path.{name}" in rule.subject else "some-id"


def mounted(application: FastAPI) -> Iterator[tuple[str, str, Access]]:
    for (method, template), rule in application.state.gate.rules.declared.items():
        if (method.replace("HEAD", "GET"), template) not in NATIVE:
            yield method, template, rule


async def statuses(service: Served, method: str, template: str, rule: Access) -> dict[str | None, int]:
    path, query, body = request_about_the_subject(template, rule)
    found: dict[str | None, int] = {}
    for caller in (None, "wrong", *CALLERS):
        headers = {} if caller is None else {"authorization": f"Bearer {caller}"}
        sent = {"json": body} if method in ("POST", "PUT", "PATCH", "DELETE") else {}
        answer = await service.client.request(method, path, params=query, headers=headers, **sent)  # type: ignore[arg-type]
        found[caller] = answer.status_code
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
    return found


def test_no_caller_gets_what_is_not_theirs_and_everybody_what_is(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys.yaml", **CALLERS)

    async def scenario() -> None:
        async with served(tmp_path / "home", api_keys_file=keys) as service:
            wrong, asked = [], 0
            for method, template, rule in mounted(service.application):
                for caller, status in (await statuses(service, method, template, rule)).items():
                    refusals = expected(rule, caller)
                    asked += 1
                    is_right = status in refusals if refusals else status not in (401, 403)
                    if not is_right:
                        wrong.append((method, template, caller, status, refusals))
            assert wrong == []
            assert asked >= 500, "every route was asked by every caller"

    asyncio.run(scenario())


def test_a_bound_key_does_not_reach_another_person_by_a_second_name(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys.yaml", **CALLERS)
    headers = {"authorization": "Bearer anna-writes"}

    async def scenario() -> None:
        async with served(tmp_path / "home", api_keys_file=keys) as service:
            wrong = []
            for method, template, rule in mounted(service.application):
                if method not in ("POST", "PUT", "PATCH") or not rule.needs_body:
                    continue
                path, query, body = request_about_the_subject(template, rule)
                for where in rule.subject:
                    changed = _with_other_at(body, where)
                    answer = await service.client.request(
                        method, path, params=query, json=changed, headers=headers
                    )
                    if answer.status_code != 403:
                        wrong.append((method, template, where, answer.status_code))
            assert wrong == []

    asyncio.run(scenario())


def _with_other_at(body: dict[str, Any], where: str) -> dict[str, Any]:
    """The same body with somebody else at one of its places."""
    changed = dict(body)
    step, *rest = where.removeprefix("body.").split(".")
    if step.endswith("[]"):
        elements = changed[step[:-2]]
        other = _with_other_at(dict(elements[0]), ".".join(rest)) if rest else OTHER
        changed[step[:-2]] = [*elements, other]
    else:
        changed[step] = _with_other_at(dict(changed[step]), ".".join(rest)) if rest else OTHER
    return changed


def test_every_route_that_names_a_person_says_where() -> None:
    """A bound key is only as good as the places that routes declare: they must be complete."""
    application = create_application()
    description = application.openapi()
    missing = []
    for method, template, rule in mounted(application):
        operation = description["paths"].get(template, {}).get(method.lower())
        if operation is None or rule.role is Role.PUBLIC:
            continue
        places = {
            f"{each['in']}.{each['name']}"
            for each in operation.get("parameters", ())
            if each["name"] in IDENTIFIERS
        }
        places |= {f"body.{name}" for name in _body_fields(operation, description) & IDENTIFIERS}
        declared = {each.replace("[]", "") for each in rule.subject}
        missing += [(method, template, each) for each in sorted(places - declared) if rule.subject]
        if places and not rule.subject and rule.role is not Role.ADMIN:
            missing.append((method, template, "any"))
    assert missing == []


def _body_fields(operation: dict[str, Any], description: dict[str, Any]) -> set[str]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "")
    schema = description["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return set(schema.get("properties", ()))


def test_the_rule_that_is_found_is_that_of_the_route_that_answers(tmp_path: Path) -> None:
    """The table finds rules by itself: it must see a path as the router does."""

    async def scenario() -> None:
        async with served(tmp_path) as service:
            reached: list[str | None] = []

            async def watched(scope: Scope, receive: Receive, send: Send) -> None:
                await service.application(scope, receive, send)
                reached.append(getattr(scope.get("route"), "path_format", None))

            app = RequestMiddleware(watched, service.application.state)
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                for method, template, _ in mounted(service.application):
                    if template.endswith("/*") or template == "/openapi.json":
                        continue
                    reached.clear()
                    await client.request(method, re.sub(r"\{\w+\}", "some-id", template))
                    assert reached == [template], method

    asyncio.run(scenario())


def test_what_no_route_declares_is_not_reached(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys.yaml", **CALLERS)

    async def scenario() -> None:
        async with served(tmp_path / "home", api_keys_file=keys) as service:
            for path in ("/nowhere", "/docs/", "/api/v1/rules/", "//api/v1/rules", "/static_content/x"):
                assert (await service.client.get(path)).status_code == 401
                known = await service.client.get(path, headers={"authorization": "Bearer operator"})
                assert known.status_code == 404
            wrong_method = await service.client.put(
                "/api/v1/recommendations/anna", headers={"authorization": "Bearer operator"}
            )
            assert (wrong_method.status_code, wrong_method.headers["allow"]) == (405, "GET")

    asyncio.run(scenario())


def test_two_authorization_headers_are_none(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys.yaml", **CALLERS)

    async def scenario() -> None:
        async with served(tmp_path / "home", api_keys_file=keys) as service:
            headers = [("authorization", "Bearer reader"), ("authorization", "Bearer operator")]
            assert (await service.client.get("/api/v1/rules", headers=headers)).status_code == 401

    asyncio.run(scenario())


def test_without_keys_this_machine_may_do_everything_and_nobody_else_anything(tmp_path: Path) -> None:
    async def scenario() -> None:
        for address, status in (("127.0.0.1", 200), ("::1", 200), ("10.0.0.7", 403)):
            async with served(tmp_path / "home", client_address=address) as service:
                response = await service.client.get("/api/v1/preferences/anna")
                assert response.status_code == status
                health = await service.client.get("/health")
                assert (health.status_code, health.json()["access"]) == (200, "this machine only")

    asyncio.run(scenario())


def test_health_says_that_keys_are_asked_for(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys.yaml", reader=("read", None))

    async def scenario() -> None:
        async with served(tmp_path / "home", api_keys_file=keys, client_address="10.0.0.7") as service:
            assert (await service.client.get("/health")).json()["access"] == "keys"
            answer = await service.client.get("/metrics", headers={"authorization": "Bearer reader"})
            assert answer.status_code == 200

    asyncio.run(scenario())


def test_every_native_endpoint_has_a_rule() -> None:
    """BentoML's own routes pass the same middleware: what is not in the table is not reached."""
    from serving.service import Personalization

    apis: Any = Personalization.apis  # type: ignore[attr-defined]
    assert {("POST", api.route) for api in apis.values()} <= NATIVE.keys()


def test_before_the_start_only_public_routes_answer() -> None:
    async def scenario() -> None:
        application = create_application()
        app = RequestMiddleware(application, application.state)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 503
            refused = await client.get("/api/v1/recommendations/anna")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/health", "/api/v1/recommendations/anna", "/nowhere", "/docs", "/metrics"])
def test_every_answer_carries_the_security_headers_once(tmp_path: Path, path: str) -> None:
    async def scenario() -> None:
        async with served(tmp_path) as service:
            response = await service.client.get(path)
            names = [name for name, _ in response.headers.raw]
            for name in (
                b"x-content-type-options",
                b"content-security-policy",
                b"cache-control",
                b"x-frame-options",
                b"referrer-policy",
                b"x-request-id",
            ):
                assert names.count(name) == 1, name

    asyncio.run(scenario())


def test_a_rate_is_kept_and_health_is_outside_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with served(tmp_path, rate_limit=2.0) as service:
            codes = [(await service.client.get("/api/v1/preferences/anna")).status_code for _ in range(8)]
            assert codes[:4] == [200] * 4 and 429 in codes
            refused = await service.client.get("/api/v1/preferences/anna")
            assert refused.headers["retry-after"].isdigit()
            assert (await service.client.get("/health/live")).status_code == 200
            text = service.runtime.metrics.exposition().decode()
            assert 'route="refused",status="429"' in text

    asyncio.run(scenario())
