"""What a body may be: at most 256 KiB, sent within ten seconds, JSON nested at most 32 deep.

The whole body is read and looked at before a parser sees it: a parser fails on what is nested too deep, and
text that no database can store is best refused here.
"""

import asyncio
import re

import orjson
from starlette.types import Message, Receive

from serving.errors import Refused

MAX_BODY_BYTES = 262_144
MAX_DEPTH = 32
BODY_SECONDS = 10.0

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_PAIR = re.compile(rb"\[\]|\{\}")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENING = frozenset(b"[{")


async def read_body(receive: Receive, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body; raises `Refused` if it is too large (413), too slow (408) or nested too deep (422)."""
    try:
        async with asyncio.timeout(seconds):
            body = await _read(receive)
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {seconds:g} seconds: send it again") from None
    check_form(body)
    return body


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    check_size(len(body))
    if not message.get("more_body") and message["type"] == "http.request":
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        part: bytes = message.get("body", b"")
        size += len(part)
        check_size(size)
        parts.append(part)
    if message["type"] == "http.disconnect":
        raise Refused(400, "the client left before its body was there")
    return b"".join(parts)


def check_size(size: int) -> None:
    """Raise `Refused` for more bytes than are read."""
    if size > MAX_BODY_BYTES:
        raise Refused(413, f"the body is larger than {MAX_BODY_BYTES} bytes: send fewer things a request")


def check_form(body: bytes) -> None:
    """Raise `Refused` for what would make a parser or a store fail instead of saying no."""
    if is_too_deep(body):
        raise Refused(422, f"the body is nested deeper than {MAX_DEPTH} levels: send it flatter")
    if (b"\\ud" in body or b"\\uD" in body) and _has_half_characters(body):
        raise Refused(
            422, "the body has half of a surrogate pair (\\ud800 to \\udfff): send whole characters"
        )


def is_too_deep(body: bytes) -> bool:
    """Whether brackets are open in one another deeper than allowed; brackets in strings do not count."""
    brackets = body.translate(None, _NOT_BRACKETS)
    if len(brackets) <= 2 * MAX_DEPTH:
        return False
    if not _vanishes(brackets):
        return _depth(_STRING.sub(b"", body)) > MAX_DEPTH
    return False


def _vanishes(brackets: bytes) -> bool:
    """Whether taking away innermost pairs leaves nothing after the allowed number of levels."""
    for _ in range(MAX_DEPTH):
        if not brackets:
            return True
        shorter = _PAIR.sub(b"", brackets)
        if len(shorter) == len(brackets):
            return False
        brackets = shorter
    return not brackets


def _depth(text: bytes) -> int:
    depth = deepest = 0
    for byte in text.translate(None, _NOT_BRACKETS):
        depth += 1 if byte in _OPENING else -1
        if depth > deepest:
            deepest = depth
            if deepest > MAX_DEPTH:
                break
    return deepest


def _has_half_characters(body: bytes) -> bool:
    """orjson refuses what other parsers let through."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return "surrogate" in str(error)
    return False


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body in one piece, then what comes after it."""
    is_given = False

    async def receive_again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
