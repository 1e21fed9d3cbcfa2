"""The one middleware around both faces: who may ask, the body's limits, request id, headers, metrics.

Everything is refused here before a route or BentoML sees it; what fails behind it becomes a short answer
without a stack trace.
"""

import asyncio
import logging
import re
import time
from typing import Any
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.bodies import check_size, read_body, replayed
from serving.access.security import CALLER_ROLE, Gate, problem_body
from serving.errors import Refused
from serving.logs import REQUEST_ID
from serving.turns import GIVE_BACK

logger = logging.getLogger(__name__)

UNMATCHED = "unmatched"
REFUSED = "refused"
STATIC_ROUTE = "/static"
FIGURES = ("/analytics/", "/dashboard/")
"""Paths of figures. One at a time is answered: they cost most, and pages of the shop go before them."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
ACCEPTED_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
Headers = list[tuple[bytes, bytes]]
# Answers are about people: nothing on the way keeps them, and no page of another site shows or reads them.
SECURITY_HEADERS: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class RequestMiddleware:
    """Guards and observes every request.

    `state.gate` knows the rules from the beginning; `state.runtime` is set at the start, and before that
    nothing is counted.
    """

    def __init__(self, app: ASGIApp, state: Any) -> None:
        self._app = app
        self._state = state
        self._figures = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":  # none is offered, so none is guarded
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id, authorization, length = _sent(scope)
        token = REQUEST_ID.set(request_id)
        status = 0
        is_refused = False

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = _secured(message.get("headers", ()))
                headers.append((b"x-request-id", request_id.encode()))
                message["headers"] = headers
            await send(message)

        try:
            receive = await self._guard(scope, receive, authorization, length)
            answer = self._in_turn if _is_of_figures(scope) else self._app
            await answer(scope, receive, send_on)
        except Refused as refusal:
            is_refused = refusal.status not in (404, 405)
            await _send_problem(send_on, refusal.status, str(refusal), refusal.headers)
        except HTTPException as error:
            if status:
                raise
            await _send_problem(send_on, error.status_code, str(error.detail), error.headers or {})
        except Exception:
            route = route_template(scope)
            logger.exception("request failed", extra={"route": route, "method": scope["method"]})
            if not status:
                await _send_problem(send_on, 500, failure_text(request_id), {})
        finally:
            runtime = getattr(self._state, "runtime", None)
            if runtime is not None:
                seconds = time.perf_counter() - started
                method = scope["method"] if scope["method"] in METHODS else "OTHER"
                route = REFUSED if is_refused else route_template(scope)
                runtime.metrics.observe_request(method, route, status or 499, seconds)
            REQUEST_ID.reset(token)

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Figures wait for each other until an answer begins, or has to wait: slow ones hold nobody up."""
        await self._figures.acquire()
        is_held = True

        def give_back() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._figures.release()

        async def send_on(message: Message) -> None:
            give_back()
            await send(message)

        token = GIVE_BACK.set(give_back)
        try:
            await self._app(scope, receive, send_on)
        finally:
            give_back()
            GIVE_BACK.reset(token)

    async def _guard(
        self, scope: Scope, receive: Receive, authorization: bytes | None, length: bytes
    ) -> Receive:
        """Let the request pass or raise `Refused`; what is to be read from it afterwards."""
        gate: Gate = self._state.gate
        admission = gate.admit(scope, authorization)
        scope[CALLER_ROLE] = admission.role
        if scope["method"] not in WITH_BODY:
            return receive
        if length.isdigit() and len(length) < 20:
            check_size(int(length))
        body = await read_body(receive)
        if admission.needs_body:
            admission.check_body(scope, body)
        return replayed(body, receive)


def _is_of_figures(scope: Scope) -> bool:
    """Whether somebody looks at figures, which may wait a moment; a page that a visitor waits for may not."""
    return bool(scope["method"] == "GET" and scope["path"].startswith(FIGURES))


def route_template(scope: Scope) -> str:
    """The template of the route, such as /api/v1/recommendations/{customer_id}; never the path."""
    route = scope.get("route")
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    if template:
        return str(template)
    endpoint = scope.get("endpoint")
    if endpoint is not None and not scope.get("path_params"):
        return STATIC_ROUTE if scope["path"].startswith(STATIC_ROUTE) else str(scope["path"])
    return UNMATCHED


def failure_text(request_id: str) -> str:
    """What a client is told about a failure of ours: where to look, nothing else."""
    return f"the service failed; its log has the reason under request id {request_id}"


def _sent(scope: Scope) -> tuple[str, bytes | None, bytes]:
    """The request's id (or a new one), its Authorization header, and its Content-Length."""
    request_id, authorization, length = "", None, b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            # Two of them would leave open which one counts.
            authorization = value if authorization is None else b""
        elif name == b"content-length":
            length = value
        elif name == b"x-request-id" and ACCEPTED_REQUEST_ID.fullmatch(value):
            request_id = value.decode("ascii")
    return request_id or uuid4().hex, authorization, length


def _secured(sent: Any) -> Headers:
    """The headers of an answer, with ours where it has none of that name."""
    headers: Headers = list(sent)
    names = {name for name, _ in headers}
    headers += [each for each in SECURITY_HEADERS if each[0] not in names]
    return headers


async def _send_problem(send: Send, status: int, problem: str, extra: Any) -> None:
    body = problem_body(problem)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in extra.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
