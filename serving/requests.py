"""The one middleware around both faces: request id, metrics by route, body limit, no stack traces."""

import logging
import re
import time
from typing import Any
from uuid import uuid4

import orjson
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.logs import REQUEST_ID

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_048_576
UNMATCHED = "unmatched"
STATIC_ROUTE = "/static"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ACCEPTED_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class RequestMiddleware:
    """Observes every request. `state.runtime` is set at the start; before that nothing is counted."""

    def __init__(self, app: ASGIApp, state: Any) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        token = REQUEST_ID.set(request_id)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        bounded = _bounded(receive) if scope["method"] in ("POST", "PUT", "PATCH") else receive
        try:
            await self._app(scope, bounded, send_with_id)
        except HTTPException as error:
            if status:
                raise
            await _send_problem(send_with_id, error.status_code, str(error.detail))
        except Exception:
            route = route_template(scope)
            logger.exception("request failed", extra={"route": route, "method": scope["method"]})
            if not status:
                await _send_problem(send_with_id, 500, failure_text(request_id))
        finally:
            runtime = getattr(self._state, "runtime", None)
            if runtime is not None:
                seconds = time.perf_counter() - started
                method = scope["method"] if scope["method"] in METHODS else "OTHER"
                runtime.metrics.observe_request(method, route_template(scope), status or 499, seconds)
            REQUEST_ID.reset(token)


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


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and ACCEPTED_REQUEST_ID.fullmatch(value):
            return str(value.decode("ascii"))
    return uuid4().hex


def _bounded(receive: Receive) -> Receive:
    size = 0

    async def receive_bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            detail = f"the body is larger than {MAX_BODY_BYTES} bytes: send fewer customers a request"
            raise HTTPException(413, detail)
        return message

    return receive_bounded


async def _send_problem(send: Send, status: int, detail: str) -> None:
    body = orjson.dumps({"detail": detail})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
